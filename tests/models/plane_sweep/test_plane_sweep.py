"""The plane sweep: the official samples, and geometry that can be checked by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from helpers import GOLDEN, run_process, succeed
from plane_sweep_inputs import FUSED, HEIGHT, WIDTH, Inputs, fixed_weights, here, random_inputs

from models.plane_sweep import numba_cpu
from models.plane_sweep.definition import (
    choose_implementation,
    full_projection,
    project_pixels,
    relative_projection,
    source_transforms,
    variance_volume,
    warp_to_hypotheses,
)

FOCAL = 64.0


def proj_matrix(x: float = 0.0, z: float = 0.0, turned: bool = False) -> torch.Tensor:
    """[2, 4, 4] of a camera at (x, 0, z) that looks along +z, or along -z when turned."""
    matrix = torch.zeros(2, 4, 4)
    matrix[0] = torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0] if turned else [1.0, 1.0, 1.0, 1.0]))
    matrix[0, :3, 3] = -matrix[0, :3, :3] @ torch.tensor([x, 0.0, z])
    matrix[1, :3, :3] = torch.tensor([[FOCAL, 0.0, WIDTH / 2], [0.0, FOCAL, HEIGHT / 2], [0.0, 0.0, 1.0]])
    return matrix


def sweep(source: torch.Tensor, reference: torch.Tensor, feature: torch.Tensor, depths: list[float]) -> torch.Tensor:
    """A feature [C, H, W] of the source sampled on planes parallel to the reference: [C, D, H, W], where it is."""
    hypotheses = torch.tensor(depths)[None, :, None, None].expand(1, -1, HEIGHT, WIDTH)
    src_T_ref = relative_projection(full_projection(source[None]), full_projection(reference[None]))
    return warp_to_hypotheses(feature[None], src_T_ref.to(feature.device), hypotheses.to(feature.device))[0]


@pytest.fixture
def feature(place) -> torch.Tensor:
    """Random positive features [3, H, W], so that no sample is zero by chance."""
    return place.put(torch.rand(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1)) + 0.5)


def test_golden_samples(place):
    """Every sample of the official warp."""
    golden = {key: torch.from_numpy(value) for key, value in np.load(GOLDEN / "plane_sweep.npz").items()}
    src_proj, ref_proj, features, depth = place.put([golden[k] for k in ("src_proj", "ref_proj", "feature", "depth")])
    warped = warp_to_hypotheses(features, relative_projection(src_proj, ref_proj), depth)
    place.assert_same("golden samples", warped, golden["warped"])


def test_a_plane_shifts_by_its_disparity(place, feature):
    """A camera 2 to the right sees depth d shifted left by 64 * 2 / d pixels: 2 at depth 64, 4 at depth 32."""
    near, far = sweep(proj_matrix(x=2), proj_matrix(), feature, [32.0, 64.0]).unbind(1)
    for warped, shift in ((near, 4), (far, 2)):
        place.assert_same("samples", warped[:, :, shift:], feature[:, :, :-shift])
        assert warped[:, :, :shift].abs().max() < 1e-5  # outside the source image


def test_half_a_pixel_is_interpolated(place, feature):
    """A disparity of half a pixel takes the mean of two neighbours."""
    warped = sweep(proj_matrix(x=1), proj_matrix(), feature, [128.0])[:, 0]
    place.assert_same("samples", warped[:, :, 1:], (feature[:, :, 1:] + feature[:, :, :-1]) / 2)


def test_points_behind_the_source_are_zero(feature):
    """Points at depth 5 lie behind a source at z = 10, though its image lines would meet them; at 15 before it."""
    behind, before = sweep(proj_matrix(z=10), proj_matrix(), feature, [5.0, 15.0]).unbind(1)
    assert (behind == 0).all()
    assert before[:, HEIGHT // 2, WIDTH // 2].all()
    assert (sweep(proj_matrix(turned=True), proj_matrix(), feature, [50.0]) == 0).all()


def test_points_in_the_plane_of_the_source_centre_are_zero(feature):
    """Where z is exactly 0 the position is infinite; the sample is zero and finite."""
    assert (sweep(proj_matrix(x=3, z=10), proj_matrix(), feature, [10.0]) == 0).all()


def test_points_far_outside_are_zero(feature):
    """A source a million units away, and depths of any size, sample nothing and stay finite."""
    assert (sweep(proj_matrix(x=1e6), proj_matrix(), feature, [1e-3, 1.0, 1e3]) == 0).all()
    assert sweep(proj_matrix(x=1), proj_matrix(), feature, [-1e30, 0.0, 1e30]).isfinite().all()


def test_one_hypothesis(feature):
    """A single depth gives the same samples as among others."""
    source, reference = proj_matrix(x=2), proj_matrix(x=0.3, z=1)
    alone = sweep(source, reference, feature, [50.0])
    among = sweep(source, reference, feature, [40.0, 50.0, 60.0])
    assert alone.shape == (3, 1, HEIGHT, WIDTH)
    torch.testing.assert_close(alone[:, 0], among[:, 1], rtol=0, atol=0)


def test_hypotheses_may_differ_per_pixel(place, feature):
    """Two halves of the image with depths of their own are sampled as in two sweeps."""
    source, reference = proj_matrix(x=2), proj_matrix()
    src_T_ref = relative_projection(full_projection(source[None]), full_projection(reference[None]))
    hypotheses = torch.full((1, 1, HEIGHT, WIDTH), 32.0)
    hypotheses[..., WIDTH // 2 :] = 64.0
    mixed = warp_to_hypotheses(feature[None], *place.put([src_T_ref, hypotheses]))[0, :, 0]
    near, far = sweep(source, reference, feature, [32.0, 64.0]).unbind(1)
    place.assert_same("samples", mixed, torch.cat([near[..., : WIDTH // 2], far[..., WIDTH // 2 :]], dim=-1))


def test_no_gradient_through_the_positions(place):
    """Gradient reaches the features, not the hypotheses."""
    features = place.put(torch.rand(1, 2, 3, HEIGHT, WIDTH)).requires_grad_()
    hypotheses = place.put(torch.full((1, 4, HEIGHT, WIDTH), 50.0)).requires_grad_()
    proj_matrices = place.put(torch.stack([proj_matrix(), proj_matrix(x=1)])[None])
    variance_volume(features, proj_matrices, hypotheses).sum().backward()
    assert features.grad.abs().sum() > 0 and hypotheses.grad is None


def test_variance_is_zero_where_the_views_agree(place, feature):
    """Two views of one fronto-parallel plane: the variance vanishes at its depth and nowhere else."""
    shifted = torch.roll(feature, -2, dims=2)  # what the camera 2 to the right sees of the plane at depth 64
    features = torch.stack([feature, shifted])[None]
    proj_matrices = torch.stack([proj_matrix(), proj_matrix(x=2)])[None]
    hypotheses = torch.tensor([32.0, 64.0, 128.0])[None, :, None, None].expand(1, -1, HEIGHT, WIDTH)
    volume = variance_volume(features, *place.put([proj_matrices, hypotheses]))[0, :, :, :, 4:-4]
    assert volume.shape[:2] == (3, 3)
    assert volume[:, 1].abs().max() < 1e-5
    assert volume[:, [0, 2]].mean() > 1e-2


def test_variance_of_three_views_is_the_population_variance(place, feature):
    """With coinciding cameras nothing moves, and the volume is the variance over the views."""
    features = torch.stack([feature, 2 * feature, feature - 1])[None]
    proj_matrices = place.put(proj_matrix().expand(1, 3, 2, 4, 4))
    volume = variance_volume(features, proj_matrices, place.put(torch.full((1, 1, HEIGHT, WIDTH), 50.0)))
    place.assert_same("known variance", volume, features.var(dim=1, correction=0)[:, :, None])


# ---------------------------------------------------------------- implementations


@pytest.fixture(params=["streamed", *FUSED])
def implementation(request, place) -> str:
    """Each implementation but the plain definition, which is what they are compared with."""
    return here(request.param, place)


@pytest.fixture(params=["plain", "streamed", *FUSED])
def any_implementation(request, place) -> str:
    """Each implementation."""
    return here(request.param, place)


@pytest.fixture(params=FUSED)
def fused(request, place) -> str:
    """Each implementation with kernels of its own."""
    return here(request.param, place)


@pytest.fixture
def assert_same_as_plain(place, implementation) -> Callable[[Inputs], None]:
    """A function that compares volume and gradient with those of the definition, by which the sums' order differs."""

    def compare(inputs: Inputs) -> None:
        inputs = place.put(inputs)
        volume, gradient = inputs.volume_and_gradient(implementation)
        expected_volume, expected_gradient = inputs.volume_and_gradient("plain")
        place.assert_same("volume", volume, expected_volume)
        place.assert_same("volume's gradient", gradient, expected_gradient)

    return compare


def test_random_cameras_see_all_cases():
    """The inputs of the tests below: some points seen by a source, some outside it, some behind it."""
    inputs = random_inputs()
    for src_T_ref in source_transforms(inputs.proj_matrices):
        u, v, z = project_pixels(src_T_ref, inputs.hypotheses)
        seen = (z > 0) & (u > 0) & (u < WIDTH - 1) & (v > 0) & (v < HEIGHT - 1)
        assert seen.any() and ((z > 0) & ~seen).any()
    assert (z < 0).any()


@pytest.mark.parametrize("views", [2, 5])
def test_same_as_plain_for_any_number_of_views(assert_same_as_plain, views):
    """Volume and gradient are those of the definition."""
    assert_same_as_plain(random_inputs(views=views, depths=3))


@pytest.mark.parametrize("channels", [1, 3, 8, 32])
def test_same_as_plain_for_any_number_of_channels(assert_same_as_plain, channels):
    """Also where the channels fill no SIMD register, or several."""
    assert_same_as_plain(random_inputs(channels=channels, batch=1, depths=3))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 1), (7, 13), (2, 300)])
def test_same_as_plain_for_any_size(assert_same_as_plain, size):
    """Images of one pixel, one row, one column, odd sides, and rows longer than a kernel's tile; D = 1."""
    assert_same_as_plain(random_inputs(size=size, depths=1))


@pytest.mark.parametrize(("first_row", "last_row"), [(0, 1), (2, 5), (HEIGHT - 3, HEIGHT)])
def test_rows_of_a_volume_are_the_whole_ones(place, any_implementation, first_row, last_row):
    """Volumes can be made in slabs: on CPUs bit by bit the rows of the whole, and the same gradient of what depends on
    them. A GPU may compute the rays of fewer pixels in another order."""
    inputs = place.put(random_inputs(depths=3))
    inputs.features.requires_grad_()
    rows = slice(first_row, last_row)
    whole = inputs.volume(any_implementation)[..., rows, :]
    part = inputs._replace(hypotheses=inputs.hypotheses[..., rows, :])
    slab = part.volume(any_implementation, first_row=first_row)
    assert torch.equal(slab, whole) or place.device.type != "cpu"
    place.assert_same("volume of other rays", slab, whole)
    gradients = [torch.autograd.grad((volume**2).sum(), inputs.features)[0] for volume in (slab, whole)]
    place.assert_same("volume's gradient" if place.device.type == "cpu" else "gradient of other rays", *gradients)


def test_batch_of_two_equals_two_singles(place, implementation):
    """Samples do not disturb each other."""
    inputs = place.put(random_inputs(depths=3))
    alone = Inputs(*(tensor[1:] for tensor in inputs))
    place.assert_same("volume", inputs.volume(implementation)[1:], alone.volume(implementation))


def test_repeated_runs_are_identical(place, fused):
    """Volume and gradient bit by bit, though threads finish in any order."""
    inputs = place.put(random_inputs(channels=8, depths=3, size=(40, 60) if fused == "numba" else (HEIGHT, WIDTH)))
    first, *others = (inputs.volume_and_gradient(fused) for _ in range(3))
    for other in others:
        assert torch.equal(other[0], first[0]) and torch.equal(other[1], first[1])


def test_results_do_not_depend_on_the_number_of_threads():
    """One thread, two, and more than there are sources, among which the channels are shared out."""
    inputs = random_inputs(channels=8, size=(40, 60))
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            results.append(inputs.volume_and_gradient("numba"))
    finally:
        torch.set_num_threads(threads)
    for volume, gradient in results[1:]:
        assert torch.equal(volume, results[0][0]) and torch.equal(gradient, results[0][1])


IMPOSSIBLE = (float("nan"), float("inf"), -float("inf"), 0.0, -1e30, 1e30)


def test_impossible_hypotheses_sample_nothing(place, implementation):
    """As with the definition: no crash, and at such a point only the reference counts, or what is seen at infinity."""
    inputs = random_inputs(depths=2 * len(IMPOSSIBLE))
    for k, value in enumerate(IMPOSSIBLE):
        inputs.hypotheses[:, 2 * k] = value
    inputs = place.put(inputs)
    volume = inputs.volume(implementation)
    assert place.fake or volume.isfinite().all()
    place.assert_same("volume", volume, inputs.volume("plain"))


HALVES = (torch.bfloat16, torch.float16)


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_volume_is_the_rounded_one(place, implementation, dtype):
    """Half a unit in the last place; Triton's interpreter cuts bfloat16 off instead."""
    inputs = place.put(random_inputs(channels=8, depths=3))
    volume, exact = inputs.volume(implementation, dtype=dtype), inputs.volume(implementation)
    assert volume.dtype == dtype and volume.shape == exact.shape
    if implementation == "triton" and place.device.type == "cpu":
        torch.testing.assert_close(volume.float(), exact, rtol=2**-7, atol=1e-6)
    else:
        assert torch.equal(volume, exact.to(dtype))


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_volume_passes_its_gradient_on(place, fused, dtype):
    """A gradient in half precision, laid out in any way, is that of the rounded weights."""
    inputs = place.put(random_inputs(channels=8, depths=3))
    inputs.features.requires_grad_()
    volume = inputs.volume(fused, dtype=dtype)
    weights = fixed_weights(volume).to(dtype)
    exact = torch.autograd.grad(inputs.volume("plain"), inputs.features, weights.float())[0]
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        grad = weights.contiguous(memory_format=layout)
        gradient = torch.autograd.grad(volume, inputs.features, grad, retain_graph=True)[0]
        place.assert_same("volume's gradient", gradient, exact)


def test_layout_of_the_inputs_does_not_matter(place, implementation):
    """Channels last, strided, expanded, or a list of views: the same volume."""
    inputs = place.put(random_inputs(batch=1, depths=3))
    features, proj_matrices, hypotheses = inputs
    hypotheses[:] = hypotheses[:, :, :1, :1].clone()
    expected = inputs.volume(implementation)
    channels_last = features.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    strided = torch.stack([features, features], dim=-1)[..., 0]
    expanded = hypotheses[:, :, :1, :1].expand_as(hypotheses)
    for variant in (channels_last, strided):
        assert torch.equal(Inputs(variant, proj_matrices, expanded).volume(implementation), expected)
    views = list(features.unbind(1))
    assert torch.equal(variance_volume(views, proj_matrices, hypotheses, implementation=implementation), expected)


def test_channels_last_features_are_not_copied(monkeypatch):
    """The kernel reads them where they are, and the volume is laid out as 3D convolutions like it on CPUs."""
    inputs = random_inputs(batch=1, channels=8)
    views = [view.contiguous(memory_format=torch.channels_last) for view in inputs.features.unbind(1)]
    read = []
    monkeypatch.setattr(numba_cpu, "variance_rows", lambda *arguments: read.append(arguments[2].tolist()))
    volume = variance_volume(views, *inputs[1:], implementation="numba")
    assert read[0] == [view.data_ptr() for view in views]
    assert volume.is_contiguous(memory_format=torch.channels_last_3d)


def test_non_finite_gradients_stay_visible(place, fused):
    """Training skips a step by them."""
    inputs = place.put(random_inputs(depths=3))
    inputs.features.requires_grad_()
    volume = inputs.volume(fused)
    grad = torch.ones_like(volume)
    grad[0, 0, 0, 0, 0] = float("inf")
    assert not torch.autograd.grad(volume, inputs.features, grad)[0].isfinite().all()


def test_geometry_stays_in_float32_under_autocast(place, implementation):
    """Half precision would move the samples by pixels."""
    inputs = place.put(random_inputs(depths=3))
    exact = inputs.volume(implementation)
    with torch.autocast(place.device.type, torch.bfloat16):
        volume = inputs.volume(implementation)
    assert volume.dtype == torch.float32
    assert torch.equal(volume, exact)


def test_the_device_chooses_unless_told(monkeypatch):
    """The environment variable overrides the device, an argument overrides both, and what cannot work is refused."""
    monkeypatch.delenv("KDMVS_PLANE_SWEEP", raising=False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert choose_implementation("cpu") == "numba"
    assert choose_implementation("cuda") in ("triton", "streamed")
    assert choose_implementation("mps") == "streamed"
    monkeypatch.setenv("KDMVS_PLANE_SWEEP", "streamed")
    assert choose_implementation("cpu") == "streamed"
    assert choose_implementation("cpu", "plain") == "plain"
    for name, message in (("fast", "use one of auto"), ("triton", "runs on cuda, not on cpu")):
        monkeypatch.setenv("KDMVS_PLANE_SWEEP", name)
        with pytest.raises(ValueError, match=message):
            choose_implementation("cpu")


def test_shapes_that_do_not_fit_are_refused(place, implementation):
    """Kernels would read beyond the maps."""
    features, proj_matrices, hypotheses = place.put(random_inputs())
    wrong = [
        Inputs(features[..., :-1], proj_matrices, hypotheses),
        Inputs(features[:, :-1], proj_matrices, hypotheses),
        Inputs(features, proj_matrices, hypotheses[:1]),
        Inputs(features, proj_matrices, hypotheses[..., :-1]),
    ]
    for inputs in wrong:
        with pytest.raises(ValueError, match="do not go together"):
            inputs.volume(implementation)
    for first_row in (-1, 1):
        with pytest.raises(ValueError, match="do not go together"):
            Inputs(features, proj_matrices, hypotheses).volume(implementation, first_row=first_row)


COMPILE_FOR_A_GPU = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from models.plane_sweep import triton_gpu as kernels

sizes = ("height", "width", "plane", "depths", "channels")
for weighed in (False, True):
    constants = {"SOURCES": 2, "VIEWS": 4, "PIXELS": 256, "LANES": 8}
    constants |= {} if weighed else {"view_weights": None, "differences": None}
    kinds = {"grad_sources": "*i64", "half_width": "fp32", "half_height": "fp32"}
    kinds |= dict.fromkeys(sizes, "i32") | dict.fromkeys(constants, "constexpr")
    for kernel in (kernels._variance_kernel, kernels._gradient_kernel):
        signature = {name: kinds.get(name, "*fp32") for name in kernel.arg_names}
        values = {(kernel.arg_names.index(k),): v for k, v in constants.items() if k in kernel.arg_names}
        source = ASTSource(kernel, signature, constexprs=values)
        assert triton.compile(source, target=GPUTarget("cuda", 80, 32)).asm["cubin"]
"""


@pytest.mark.slow
def test_triton_kernels_compile_for_a_gpu(monkeypatch, tmp_path):
    """Down to machine code, which needs no GPU; the interpreter accepts more than the compiler does."""
    pytest.importorskip("triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    succeed(run_process("-c", COMPILE_FOR_A_GPU))
