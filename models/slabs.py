"""Volumes in slabs: what need not exist as a whole at prediction is made a few rows at a time."""

SLAB_BYTES = 64 << 20
# Times as large on GPUs, which slabs of so few rows would leave waiting for their next launch.
_LARGER_ON_GPUS = 4


def slabs(row_bytes: int, rows: int, device_type: str, multiple: int = 1) -> list[slice]:
    """Consecutive ranges of `rows` rows, of about `SLAB_BYTES` each on a CPU; all begin at a multiple of `multiple`."""
    most = SLAB_BYTES if device_type == "cpu" else SLAB_BYTES * _LARGER_ON_GPUS
    height = max(multiple, most // row_bytes // multiple * multiple)
    return [slice(first, min(first + height, rows)) for first in range(0, rows, height)]


def with_neighbours(rows: slice, reach: int, height: int, multiple: int = 1) -> slice:
    """The rows that a slab's depend on, `reach` to either side within 0..height, widened to multiples of `multiple`."""
    low, high = max(0, rows.start - reach), min(height, rows.stop + reach)
    return slice(low // multiple * multiple, -(-high // multiple) * multiple)
