"""Convolution blocks of the official networks: convolution, BatchNorm, ReLU."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# oneDNN's bf16 weight gradient of Conv3d on AMX processors crashes the process for few depths and large planes
# (D = 4 or 8 from 224x320 on; never seen up to 192x256 nor with D = 16 or more; specs: platform).
_SAFE_BF16_DEPTH = 16
_SAFE_BF16_PLANE = 192 * 256


class _Bf16Conv3d(torch.autograd.Function):
    """Conv3d for bf16 training on CPUs: channels-last inside, where oneDNN is 2 to 4 times faster, and contiguous
    outside, where BatchNorm is; the weight gradient in float32 where bf16 would crash.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last_3d)
        weight = weight.contiguous(memory_format=torch.channels_last_3d)
        ctx.save_for_backward(x, weight)
        ctx.geometry = ([stride] * 3, [padding] * 3, [1] * 3, False, [0] * 3, 1)
        return torch.conv3d(x, weight, None, stride, padding).contiguous()

    @staticmethod
    def backward(ctx, grad: Tensor):
        x, weight = ctx.saved_tensors
        wants_x, wants_weight = ctx.needs_input_grad[:2]
        grad = grad.contiguous(memory_format=torch.channels_last_3d)
        depth, height, width = x.shape[2:]
        safe = depth >= _SAFE_BF16_DEPTH or height * width <= _SAFE_BF16_PLANE
        grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(
            grad, x, weight, None, *ctx.geometry, [wants_x, wants_weight and safe, False]
        )
        if wants_weight and not safe:
            exact = (tensor.float() for tensor in (grad, x, weight))
            grad_weight = torch.ops.aten.convolution_backward(*exact, None, *ctx.geometry, [False, True, False])[1]
            grad_weight = grad_weight.to(weight.dtype)
        return grad_x.contiguous() if wants_x else None, grad_weight, None, None


class Conv3d(nn.Conv3d):
    """`nn.Conv3d` (no bias, cubic kernel) that is safe and fast to train in bf16 on CPUs."""

    def forward(self, x: Tensor) -> Tensor:
        training_in_bf16 = (
            x.device.type == "cpu"
            and torch.is_grad_enabled()
            and torch.is_autocast_enabled("cpu")
            and torch.get_autocast_dtype("cpu") == torch.bfloat16
        )
        if not training_in_bf16:
            return super().forward(x)
        return _Bf16Conv3d.apply(x.bfloat16(), self.weight.bfloat16(), self.stride[0], self.padding[0])


class ConvBnReLU2d(nn.Module):
    """2D convolution without bias, BatchNorm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, momentum=0.1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class ConvBnReLU3d(nn.Module):
    """3D convolution (3x3x3) without bias, BatchNorm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = Conv3d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn = nn.BatchNorm3d(out_channels, momentum=0.1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class DeconvBnReLU3d(nn.Module):
    """Transposed 3D convolution that doubles every side, BatchNorm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose3d(in_channels, out_channels, 3, 2, 1, output_padding=1, bias=False)
        self.bn = nn.BatchNorm3d(out_channels, momentum=0.1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)
