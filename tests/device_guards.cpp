// What torch asks for before it touches a tensor on Apple's or Intel's GPUs, also where the tensor is a fake one: a guard
// that does nothing. Builds of torch for other machines have none (tests/places.py).
#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace c10::impl {
static NoOpDeviceGuardImpl<DeviceType::MPS> apple;
static NoOpDeviceGuardImpl<DeviceType::XPU> intel;
static DeviceGuardImplRegistrar registers_apple(DeviceType::MPS, &apple), registers_intel(DeviceType::XPU, &intel);
} // namespace c10::impl
