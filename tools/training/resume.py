"""What lets a training go on exactly where it was: its checkpoint files, the order of its samples, random states."""

import random
import sys
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler

from datasets.files import write_bytes
from datasets.mvs import MVSDataset
from tools.runtime import distributed


class CheckpointFolder:
    """The checkpoints of one training, `model_%06d.ckpt` for each epoch.

    A checkpoint inside an epoch has the epoch's name too and is replaced until the epoch has ended, so the last name is
    always the newest state. `keep` files stay, 0 for all.
    """

    def __init__(self, folder: Path, keep: int = 0) -> None:
        self.folder, self.keep = folder, keep
        self._unfinished: Path | None = None

    def newest(self) -> Path | None:
        """The checkpoint to go on from."""
        return max(self.folder.glob("model_[0-9]*.ckpt"), default=None)

    @property
    def best(self) -> Path:
        """Where --select keeps the best checkpoint: never the newest, never removed."""
        return self.folder / "model_best.ckpt"

    def note_unfinished(self, path: Path) -> None:
        """Training goes on from this checkpoint inside an epoch: the next one takes its place."""
        self._unfinished = path

    def write(self, epoch: int, finished: bool, content: bytes) -> Path:
        """Write the epoch's checkpoint, then remove those that it makes superfluous."""
        path = self.folder / f"model_{epoch:06d}.ckpt"
        write_bytes(path, content)
        if self._unfinished not in (None, path):
            self._unfinished.unlink(missing_ok=True)
        self._unfinished = None if finished else path
        if self.keep:
            # Files with later names can only be another training's; they are left alone.
            written = [older for older in sorted(self.folder.glob("model_[0-9]*.ckpt")) if older <= path]
            for older in written[: -self.keep]:
                older.unlink(missing_ok=True)
        return path


class TrainingSampler(DistributedSampler):
    """The order of an epoch's samples, new in each epoch, and each process's part of it.

    `start` skips the samples that are finished. With each index comes the seed of the sample's random changes; so these
    depend neither on the samples before it nor on the process that loads it.

    kinds: of every sample, say its image size. Only samples of one kind can be in a batch of `batch_size`: where there
    are several, each batch has one, and the last of a kind is filled up with samples of it that were there already.
    """

    def __init__(self, dataset: Dataset, seed: int, batch_size: int = 1, kinds: Sequence[Hashable] = ()) -> None:
        super().__init__(dataset, distributed.world_size(), distributed.rank(), seed=seed)
        self._finished, self._batch_size, self._kinds = 0, batch_size, kinds
        if self._is_mixed():
            self.num_samples = batch_size * len(self._own_batches())
            self.total_size = self.num_samples * self.num_replicas

    def start(self, epoch: int, finished: int) -> None:
        """Choose the epoch, and how many of its samples are finished, over all processes."""
        self.set_epoch(epoch)
        self._finished = finished // self.num_replicas

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = chain.from_iterable(self._own_batches()) if self._is_mixed() else super().__iter__()
        for index in islice(order, self._finished, None):
            yield index, int(np.random.SeedSequence((self.seed, self.epoch, index)).generate_state(1)[0])

    def _is_mixed(self) -> bool:
        return self._batch_size > 1 and len(set(self._kinds)) > 1

    def _own_batches(self) -> list[list[int]]:
        """The epoch's batches of this process, of one kind each; all processes have as many."""
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        of_kind = defaultdict(list)
        for index in torch.randperm(len(self._kinds), generator=generator).tolist():
            of_kind[self._kinds[index]].append(index)
        batches = []
        for indices in of_kind.values():
            whole = list(islice(cycle(indices), -(-len(indices) // self._batch_size) * self._batch_size))
            batches += [whole[first : first + self._batch_size] for first in range(0, len(whole), self._batch_size)]
        batches = [batches[place] for place in torch.randperm(len(batches), generator=generator)]
        most = -(-len(batches) // self.num_replicas) * self.num_replicas
        return list(islice(cycle(batches), self.rank, most, self.num_replicas))


def kinds_of_samples(dataset: MVSDataset) -> list[Hashable]:
    """Of every sample what those of a batch must have in common: image size and number of views."""
    sizes: dict[tuple[str, int], tuple[int, int]] = {}
    kinds = []
    for index, entry in enumerate(dataset.entries):
        view = entry.scan, entry.reference
        if view not in sizes:  # in all lights alike
            sizes[view] = dataset.view_keys(index)[0].size
        kinds.append((sizes[view], len(entry.sources)))
    return kinds


class SeededSamples(Dataset):
    """The samples of a dataset for the pairs of index and seed that TrainingSampler gives."""

    def __init__(self, dataset: MVSDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        index, seed = key
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(seed)
            sample = self.dataset[index]
        # The memory layout decides how sums round; data-loading workers hand over this one.
        sample["imgs"] = torch.as_tensor(sample["imgs"]).contiguous()
        return sample


def interned(value: Any) -> Any:
    """What was read from a file, with the program's own string objects as keys.

    pickle writes an object that occurs twice only once; with these keys the next checkpoint has the very bytes, and so
    the digest, that it would have had without stopping.
    """
    if isinstance(value, dict):
        return {sys.intern(key) if isinstance(key, str) else key: interned(item) for key, item in value.items()}
    return [interned(item) for item in value] if isinstance(value, list) else value


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The states of all random number generators that a training may use, as tensors.

    The processes of a training are seeded alike and draw alike, so the first one's states are those of all.
    """
    _, keys, position, has_gauss, gauss = np.random.get_state()
    version, internal, gauss_next = random.getstate()
    state = {
        "torch": torch.get_rng_state(),
        "numpy_keys": torch.from_numpy(keys.astype(np.int64)),
        "numpy_rest": torch.tensor([position, has_gauss, gauss], dtype=torch.float64),
        "python": torch.tensor([version, *internal]),
        "python_rest": torch.tensor([] if gauss_next is None else [gauss_next], dtype=torch.float64),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Set the generators to a state of random_state."""
    torch.set_rng_state(state["torch"])
    position, has_gauss, gauss = state["numpy_rest"].tolist()
    np.random.set_state(
        ("MT19937", state["numpy_keys"].numpy().astype(np.uint32), int(position), int(has_gauss), gauss)
    )
    version, *internal = state["python"].tolist()
    random.setstate((version, tuple(internal), next(iter(state["python_rest"].tolist()), None)))
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
