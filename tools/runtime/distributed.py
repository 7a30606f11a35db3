"""One process or many: `torchrun` is detected from the environment, and everything here is a no-op without it."""

import datetime
import os
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numba
import torch
import torch.distributed as dist
from torch import nn

from datasets.files import DataError
from models.plane_sweep.definition import choose_implementation
from tools.runtime.devices import chosen_device
from tools.runtime.signals import heeded_while_blocked

Item = TypeVar("Item")


def rank() -> int:
    """This process's number among all, 0 without torchrun."""
    return int(os.environ.get("RANK", 0))


def world_size() -> int:
    """The number of processes, 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", 1))


def is_main() -> bool:
    """Whether this process is the one that logs and writes shared files."""
    return rank() == 0


def start(
    device_flag: str, patience: datetime.timedelta = datetime.timedelta(days=7), sweeps: bool = True
) -> torch.device:
    """Choose this process's device (`chosen_device`) and, under torchrun, join the process group.

    A process that waits longer than `patience` for another one gives up. One that has died is noticed at once: its
    connections break. So patience need only be short where all do the same work at the same time. `sweeps`: whether a
    plane sweep will run on the device, which the environment may forbid.
    """
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    device = chosen_device(device_flag)
    if world_size() > 1 and device.type not in ("cpu", "cuda"):
        raise DataError(f"--device {device_flag}: several processes work together on CPUs and CUDA devices only")
    try:
        if sweeps:
            choose_implementation(device.type)
    except ValueError as error:
        raise DataError(str(error)) from None
    if device.type == "cuda":
        if device.index is None:
            device = torch.device("cuda", local_rank)
        if device.index >= torch.cuda.device_count():
            raise DataError(f"--device {device}: this machine has {torch.cuda.device_count()} CUDA device(s)")
        torch.cuda.set_device(device)
    if world_size() > 1:
        local_size = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        numba.set_num_threads(max(1, numba.config.NUMBA_NUM_THREADS // local_size))
        # What the processes agree on lies on the CPU and goes through gloo; gradients on GPUs through NCCL.
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        with heeded_while_blocked():
            dist.init_process_group(backend, timeout=patience)
    return device


def barrier() -> None:
    """Wait for all processes."""
    agree([0.0])


def agree(values: Sequence[float]) -> list[float]:
    """The largest of each value over all processes, by one reduction; all must call it."""
    if not dist.is_initialized():
        return list(values)
    largest = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return largest.tolist()


def sum_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """Element-wise sum over all processes, on the CPU; all must call it."""
    values = values.cpu()
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


def broadcast(values: Iterable[torch.Tensor]) -> None:
    """Give the tensors the values that they have in the first process; all must call it."""
    if dist.is_initialized():
        for value in values:
            dist.broadcast(value, 0)


def is_lost_peer(error: RuntimeError) -> bool:
    """Whether an error means that another process of the group is gone, or did not answer in time."""
    if world_size() == 1:
        return False
    return isinstance(error, dist.DistError) or "gloo" in str(error).lower() or "NCCL" in str(error)


def share(items: Sequence[Item]) -> list[Item]:
    """This process's part of the items: every world_size-th."""
    return list(items[rank() :: world_size()])


def share_runs(items: Sequence[Item]) -> list[Item]:
    """This process's part of the items in one run, where neighbours share work; as large as the others' within one."""
    total, size = len(items), world_size()
    return list(items[rank() * total // size : (rank() + 1) * total // size])


def distribute(network: nn.Module, device: torch.device, sync_bn: bool) -> nn.Module:
    """The network with its gradients averaged over all processes; `sync_bn`: BatchNorm's statistics too, on GPUs."""
    if world_size() == 1:
        return network
    on_gpu = device.type == "cuda"
    if sync_bn and on_gpu:
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # in place, but for a network that is one BatchNorm
    elif sync_bn and is_main():
        print("note: --sync_bn: SyncBatchNorm exists for GPUs only; each process keeps its own statistics", flush=True)
    return nn.parallel.DistributedDataParallel(network, device_ids=[device.index] if on_gpu else None)


def finish() -> None:
    """Leave the process group."""
    if dist.is_initialized():
        dist.destroy_process_group()
