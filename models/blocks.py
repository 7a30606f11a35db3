"""Convolution blocks of the official networks: convolution, BatchNorm, ReLU; and their folded form for prediction."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from models.cpu.threads import pieces, run_on

# oneDNN's bf16 weight gradient of Conv3d on AMX processors writes beyond its memory for few depths and large planes
# (D = 4 from 96x128 on, D = 8 from 224x320; never seen with D = 16 or more; docs/method.md, section 10).
_SAFE_BF16_DEPTH = 16
# With or without AMX it returns what the memory held before for the kernel's rows that touch the border only: seen with
# two depths, and with sides of one at stride 2; never with sides of three or more.
_SAFE_BF16_SIDE = 4
# With AMX its bf16 output at stride 2 is what the memory held before where rows of the input have one or two values.
_SAFE_BF16_ROW = 3


def predicts(network: nn.Module) -> bool:
    """Whether a pass through the network is prediction, which may work in slabs and overwrite what it no longer needs.

    A network in training never predicts, with gradients or without: BatchNorm then takes the whole volume's statistics.
    """
    return not (network.training or torch.is_grad_enabled())


def bf16_weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, geometry: tuple) -> Tensor:
    """A cubic 3D convolution's weight gradient, in bf16 where oneDNN's can be trusted, else in float32.

    The three sides of a volume are alike to it, so the longest one stands for the depths where these are few.
    """
    if min(x.shape[2:]) < _SAFE_BF16_SIDE:
        grad, x, weight = grad.float(), x.float(), weight.float()
    longest = 2 if x.shape[2] >= _SAFE_BF16_DEPTH else max((2, 3, 4), key=lambda side: x.shape[side])
    swapped = (
        tensor.transpose(2, longest).contiguous(memory_format=torch.channels_last_3d) for tensor in (grad, x, weight)
    )
    gradient = torch.ops.aten.convolution_backward(*swapped, None, *geometry, [False, True, False])[1]
    return gradient.transpose(2, longest)


def _in_sound_type(x: Tensor, stride: int) -> Tensor:
    """The input of a 3D convolution, in float32 where oneDNN's bf16 output cannot be trusted."""
    unsound = x.device.type == "cpu" and x.dtype == torch.bfloat16 and stride > 1 and x.shape[-1] < _SAFE_BF16_ROW
    return x.float() if unsound else x


class _Bf16Conv3d(torch.autograd.Function):
    """Conv3d for bf16 training on CPUs: channels-last inside, where oneDNN is 2 to 4 times faster, and contiguous
    outside, where BatchNorm is.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last_3d)
        weight = weight.contiguous(memory_format=torch.channels_last_3d)
        ctx.save_for_backward(x, weight)
        ctx.geometry = ([stride] * 3, [padding] * 3, [1] * 3, False, [0] * 3, 1)
        sound = _in_sound_type(x, stride)
        with torch.autocast("cpu", enabled=False):
            output = torch.conv3d(sound, weight.to(sound.dtype), None, stride, padding)
        return output.to(x.dtype).contiguous()

    @staticmethod
    def backward(ctx, grad: Tensor):
        x, weight = ctx.saved_tensors
        wants_x, wants_weight = ctx.needs_input_grad[:2]
        grad = grad.contiguous(memory_format=torch.channels_last_3d)
        grad_x = grad_weight = None
        if wants_x:
            wanted = [True, False, False]
            grad_x = torch.ops.aten.convolution_backward(grad, x, weight, None, *ctx.geometry, wanted)[0].contiguous()
        if wants_weight:
            grad_weight = bf16_weight_gradient(grad, x, weight, ctx.geometry).to(weight.dtype)
        return grad_x, grad_weight, None, None


class _Bf16DoublingConv3d(torch.autograd.Function):
    """The convolution of `DoublingConv3d` for bf16 training on CPUs."""

    # Of the convolution that this one is the transpose of.
    _GEOMETRY = ([2] * 3, [1] * 3, [1] * 3, False, [0] * 3, 1)

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        with torch.autocast("cpu", enabled=False):
            return F.conv_transpose3d(x, weight, None, 2, 1, 1)

    @staticmethod
    def backward(ctx, grad: Tensor):
        x, weight = ctx.saved_tensors
        stride, padding = _Bf16DoublingConv3d._GEOMETRY[:2]
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = torch.conv3d(grad, weight, None, stride, padding)
        if ctx.needs_input_grad[1]:
            grad_weight = bf16_weight_gradient(x, grad, weight, _Bf16DoublingConv3d._GEOMETRY).to(weight.dtype)
        return grad_x, grad_weight


def _trains_in_bf16(network: nn.Module, x: Tensor) -> bool:
    """Whether this is a pass of a training in bf16 on a CPU."""
    if x.device.type != "cpu" or predicts(network):
        return False
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16


class Conv3d(nn.Conv3d):
    """`nn.Conv3d` (no bias, cubic kernel) that is safe and fast to train in bf16 on CPUs."""

    def forward(self, x: Tensor) -> Tensor:
        if not _trains_in_bf16(self, x):
            return super().forward(x)
        return _Bf16Conv3d.apply(x.bfloat16(), self.weight.bfloat16(), self.stride[0], self.padding[0])


class DoublingConv3d(nn.ConvTranspose3d):
    """The transpose of a 3x3x3 convolution at stride 2, which doubles every side; safe to train in bf16 on CPUs."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, 2, 1, output_padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if not _trains_in_bf16(self, x):
            return super().forward(x)
        return _Bf16DoublingConv3d.apply(x.bfloat16(), self.weight.bfloat16())


class ConvBnReLU2d(nn.Module):
    """2D convolution without bias, BatchNorm, ReLU, for maps [B, C, H, W] or views [B, N, C, H, W].

    The convolution takes all views at once; BatchNorm's statistics are each view's own, as if it passed alone.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, momentum=0.1)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 4:
            return F.relu(self.bn(self.conv(x)), inplace=True)
        return F.relu(_normalize_views(self.bn, over_views(self.conv, x)), inplace=True)


def batch_norms(network: nn.Module) -> list[nn.Module]:
    """All BatchNorm layers of a network, synchronised ones too."""
    return [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


def over_views(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a layer of maps [B, C, H, W] to them, or to all views [B, N, C, H, W] at once."""
    return layer(x) if x.ndim == 4 else layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def _normalize_views(bn: nn.Module, x: Tensor) -> Tensor:
    """BatchNorm of views [B, N, C, H, W] with statistics per view; the running ones see the views one after another."""
    if not bn.training:
        return over_views(bn, x)
    if type(bn) is not nn.BatchNorm2d:  # SyncBatchNorm has its own way
        return torch.stack([bn(view) for view in x.unbind(1)], dim=1)
    batch, views, channels, height, width = x.shape
    # Each channel of each view is a channel of its own.
    weight, bias = bn.weight.repeat(views), bn.bias.repeat(views)
    y, mean, inverse_std = torch.native_batch_norm(x.flatten(1, 2), weight, bias, None, None, True, 0.0, bn.eps)
    with torch.no_grad():
        count = batch * height * width
        variance = (inverse_std.square().reciprocal() - bn.eps) * (count / max(count - 1, 1))
        for view in range(views):
            part = slice(view * channels, (view + 1) * channels)
            bn.running_mean.lerp_(mean[part], bn.momentum)
            bn.running_var.lerp_(variance[part], bn.momentum)
        bn.num_batches_tracked += views
    return y.unflatten(1, (views, channels))


class BatchNorm3d(nn.BatchNorm3d):
    """`nn.BatchNorm3d` that is fast on CUDA devices.

    Torch's own kernels for volumes give each channel one multiprocessor; here 8 channels would occupy 8 of over a
    hundred. Those for maps whose channels lie side by side share a channel out, and a volume in that order is such a
    map.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 5:
            raise ValueError(f"a volume [B, C, D, H, W] has five dimensions, not {x.ndim}")
        if x.device.type != "cuda":
            return super().forward(x)
        flat = x.contiguous(memory_format=torch.channels_last_3d).flatten(2, 3)
        return super().forward(flat).unflatten(2, x.shape[2:4])

    def _check_input_dim(self, x: Tensor) -> None:
        """Torch's own check would not let the map pass; `forward` has looked at the volume."""


class ConvBnReLU3d(nn.Module):
    """3D convolution (3x3x3) without bias, BatchNorm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = Conv3d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn = BatchNorm3d(out_channels, momentum=0.1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class DeconvBnReLU3d(nn.Module):
    """Transposed 3D convolution that doubles every side, BatchNorm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = DoublingConv3d(in_channels, out_channels)
        self.bn = BatchNorm3d(out_channels, momentum=0.1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class FoldedConv(nn.Module):
    """A convolution, its BatchNorm folded into the weights, and its ReLU as one operation, for prediction only.

    On CPUs oneDNN is called by name: torch's own choice falls back to a convolution that is up to 15 times slower where
    a batch of one has few rows. Tensors in channels-last order pass without a copy.
    """

    def __init__(self, conv: nn.Module, bn: nn.Module | None, relu: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.geometry = (list(conv.padding), list(conv.stride), list(conv.dilation))
        self.output_padding = list(conv.output_padding)
        self.transposed, self.relu = conv.transposed, relu
        weight, bias = conv.weight, conv.bias
        if bn is not None:
            weight, bias = fuse_conv_bn_weights(
                weight, bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, self.transposed
            )
        layout = torch.channels_last_3d if weight.ndim == 5 else torch.channels_last
        self.register_buffer("weight", weight.detach().to(dtype, memory_format=layout))
        self.register_buffer("bias", None if bias is None else bias.detach().to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.weight.dtype)
        padding, stride, dilation = self.geometry
        if self.weight.ndim == 5 and not self.transposed and _in_sound_type(x, stride[0]).dtype != x.dtype:
            bias = None if self.bias is None else self.bias.float()
            y = torch.conv3d(x.float(), self.weight.float(), bias, stride, padding, dilation).to(x.dtype)
            return F.relu_(y) if self.relu else y
        if _onednn_takes(x):
            after = ("relu" if self.relu else "none", [], "")
            if self.transposed:
                return torch.ops.mkldnn._convolution_transpose_pointwise(
                    x, self.weight, self.bias, padding, self.output_padding, stride, dilation, 1, *after
                )
            return torch.ops.mkldnn._convolution_pointwise(
                x, self.weight, self.bias, padding, stride, dilation, 1, *after
            )
        y = torch.convolution(
            x, self.weight, self.bias, stride, padding, dilation, self.transposed, self.output_padding, 1
        )
        return F.relu_(y) if self.relu else y


class FoldedScoreConv(FoldedConv):
    """A 3x3x3 convolution to one channel, without bias: on CPUs a kernel of its own (models.cpu.score_kernels)."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.weight.dtype)
        if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.bfloat16):
            return super().forward(x)
        from models.cpu.score_kernels import score_rows

        batch, channels, depths, height, width = x.shape
        volume = x.permute(0, 2, 3, 4, 1).contiguous()  # no copy of a channels-last tensor
        weights = self.weight[0].permute(1, 2, 3, 0).float().contiguous()
        scores = torch.empty(batch, 1, depths, height, width)
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            for sample in range(batch):
                target = scores[sample, 0].numpy()
                given = (volume[sample].data_ptr(), x.dtype == torch.bfloat16, weights.data_ptr())
                calls = [(*rows, *given, target, (None,) * channels) for rows in pieces(0, depths * height)]
                run_on(pool, score_rows, calls)
        return scores


def _onednn_takes(x: Tensor) -> bool:
    """Whether oneDNN computes this tensor's type on its device."""
    if x.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def fold(network: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Replace every block of convolution, BatchNorm and ReLU, and every bare convolution, by its `FoldedConv`.

    In place, for a network in evaluation mode; returns it. Its convolutions compute in `dtype`.
    """
    for name, child in network.named_children():
        if isinstance(child, (ConvBnReLU2d, ConvBnReLU3d, DeconvBnReLU3d)):
            setattr(network, name, FoldedConv(child.conv, child.bn, True, dtype))
        elif isinstance(child, nn.Conv3d) and child.out_channels == 1 and child.kernel_size == (3, 3, 3):
            setattr(network, name, FoldedScoreConv(child, None, False, dtype))
        elif isinstance(child, (nn.Conv2d, nn.Conv3d)):
            setattr(network, name, FoldedConv(child, None, False, dtype))
        else:
            fold(child, dtype)
    return network
