"""Several processes on one device: their gradient must be that of the samples together."""

import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import default_collate

from datasets.files import DataError
from datasets.mvs import Settings, open_dataset
from models.cascade import CascadeMVSNet, build_model
from models.settings import STAGES
from tools.gpu.scans import small_scan
from tools.gpu.settings import CheckSettings, Found
from tools.runtime import distributed
from tools.runtime.devices import move_to

_SIZE = (64, 64)
# Of the gradient's length. Layers compute in float64: in float32 another order of sums would choose other hypotheses at
# a few pixels, and the gradient would be several percent off.
_APART = 0.005
_PATIENCE = 50.0  # seconds


def check_ranks(settings: CheckSettings) -> Iterator[Found]:
    """Two ranks with gloo, with each rank's own statistics and with SyncBatchNorm, and one rank with NCCL."""
    device = torch.device(settings.device, 0) if settings.device == "cuda" else torch.device(settings.device)
    scans = small_scan(settings, _SIZE)
    singles = [_gradient(_network(device), _samples(scans, device, [index])) for index in (0, 1)]
    yield _compared("two ranks, gloo", _from_ranks("gloo", 2, False, scans, device), sum(singles) / 2)
    if device.type != "cuda":
        for name in ("two ranks, gloo, SyncBatchNorm", "one rank, NCCL, SyncBatchNorm"):
            yield Found("gradients", {"processes": name, "result": "not run: needs a GPU"})
        return
    together = _gradient(_network(device), _samples(scans, device, [0, 1]))
    yield _compared("two ranks, gloo, SyncBatchNorm", _from_ranks("gloo", 2, True, scans, device), together)
    yield _compared(
        "one rank, NCCL, SyncBatchNorm", _from_ranks("cpu:gloo,cuda:nccl", 1, True, scans, device), singles[0]
    )


def _compared(name: str, gradient: Tensor, expected: Tensor) -> Found:
    apart = float((gradient - expected).norm() / expected.norm())
    wrong = "" if apart <= _APART else f"{name}: the gradient is {apart:.2%} of its length off"
    return Found(
        "gradients",
        {"processes": name, "result": "as expected" if not wrong else "wrong", "apart": f"{apart:.1e}"},
        wrong,
    )


def _network(device: torch.device) -> CascadeMVSNet:
    torch.manual_seed(1)
    return build_model("student", ndepths=(8, 8, 8)).double().to(device).train()


def _samples(scans: Path, device: torch.device, indices: list[int]) -> dict:
    """A batch of the scan's samples."""
    dataset = open_dataset(
        "general_eval", scans, "all", Settings(views=3, numdepth=192, interval_scale=1.06, max_size=_SIZE)
    )
    return move_to(default_collate([dataset[index] for index in indices]), device)


def _gradient(network: nn.Module, batch: dict) -> Tensor:
    """All weights' gradient in one row, on the CPU, of a loss that every weight has a part in."""
    outputs = network(batch["imgs"].double(), batch["proj_matrices"], batch["depth_values"])
    sum((outputs[stage]["prob_volume"] ** 2).mean() for stage in STAGES).backward()
    return torch.cat([parameter.grad.flatten() for parameter in network.parameters()]).cpu()


def _from_ranks(backend: str, count: int, sync_bn: bool, scans: Path, device: torch.device) -> Tensor:
    """The gradient that so many processes agree on, each with a sample of its own."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        started = []
        for rank in range(count):
            receiver, sender = context.Pipe(duplex=False)
            arguments = (rank, count, backend, sync_bn, scans, device, Path(folder) / "meeting", sender)
            process = context.Process(target=_rank, args=arguments)
            process.start()
            sender.close()
            started.append((process, receiver))
        try:
            return _first_answer(started[0][1], backend)
        finally:
            for process, _ in started:
                process.join(_PATIENCE / 10)
                process.kill()


def _first_answer(receiver: Connection, backend: str) -> Tensor:
    if not receiver.poll(_PATIENCE):
        raise DataError(f"ranks with {backend}: no answer within {_PATIENCE:g} s")
    try:
        answer = receiver.recv()
    except EOFError:
        raise DataError(f"ranks with {backend}: a process has ended without an answer") from None
    if isinstance(answer, str):
        raise DataError(f"ranks with {backend}: {answer}")
    return torch.from_numpy(answer)


def _rank(
    rank: int,
    count: int,
    backend: str,
    sync_bn: bool,
    scans: Path,
    device: torch.device,
    meeting: Path,
    sender: Connection,
) -> None:
    """What one of the processes does; the first sends the gradient, all send what went wrong."""
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(count))
    try:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group(backend, init_method=f"file://{meeting}", rank=rank, world_size=count)
        network = _network(device)
        if count > 1:
            network = distributed.distribute(network, device, sync_bn)
        else:  # which would leave one process alone
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
            network = nn.parallel.DistributedDataParallel(network, device_ids=[device.index])
        gradient = _gradient(network, _samples(scans, device, [rank]))
        if rank == 0:  # all have the same; what nobody receives would block its sender
            sender.send(gradient.numpy())
        distributed.finish()
    except Exception as error:
        sender.send(str(error) or repr(error))
