"""Every reader against damaged files: a sane result or the project's own error, within limits of time and memory.

The inputs are the same on every run. KDMVS_FUZZ_INPUTS sets how many there are in all, KDMVS_FUZZ_SEED makes others:

    KDMVS_FUZZ_INPUTS=1000000 KDMVS_FUZZ_SEED=2 python -m pytest tests/fuzz
"""

import os
import random
import warnings

import pytest
from fuzz_limits import limits
from fuzz_mutate import mutated
from fuzz_readers import READERS, REFUSALS, Reader

INPUTS = int(os.environ.get("KDMVS_FUZZ_INPUTS", 20_480))
SEED = os.environ.get("KDMVS_FUZZ_SEED", "1")


@pytest.fixture(params=READERS, ids=lambda reader: reader.name)
def reader(request) -> Reader:
    """Each reader of the table."""
    return request.param


def test_valid_files(reader, tmp_path):
    """Seeds reach the readers: most are read as they are (some are valid files of a kind that is refused)."""
    path = tmp_path / "input"
    accepted = 0
    for seed in reader.seeds():
        path.write_bytes(seed.pack(seed.content))
        try:
            reader.judge(path)
            accepted += 1
        except REFUSALS:
            continue
    assert accepted >= 1


def test_damaged_files(reader, tmp_path):
    """Each input is made from the seed and its number alone; the failing one stays in the file that is named."""
    seeds = reader.seeds()
    contents = [seed.content for seed in seeds]
    path = tmp_path / "input"
    count = -(-INPUTS * reader.share // sum(reader.share for reader in READERS))
    read = 0
    for number in range(count):
        rng = random.Random(f"{SEED} {reader.name} {number}")
        seed = rng.choice(seeds)
        path.unlink(missing_ok=True)  # a new file each time: some file systems flush one that is written over
        path.write_bytes(seed.pack(mutated(rng, seed.content, contents)))
        read += _is_read(reader, path, number)
    assert 0 < read < count  # the damage is neither always fatal nor always without effect


def _is_read(reader: Reader, path, number: int) -> bool:
    """Whether the file was read, or else refused in one short line that names it."""
    try:
        with limits(path.stat().st_size, reader.bytes_per_byte), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", RuntimeWarning)  # numpy's, of overflows that a check missed
            reader.judge(path)
    except REFUSALS as error:
        message = str(error)
        assert message.startswith(str(path)) and len(message.splitlines()) == 1, message
        assert len(message) < 1000 and message.isprintable(), f"input {number}: {message!r}"
        return False
    except BaseException as error:
        raise AssertionError(f"input {number} of {reader.name}, {path}: {error!r}") from error
    return True
