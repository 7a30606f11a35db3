"""Damage done to files, at random but repeatable: what transfers, disks, editors and attackers do to them."""

import random
import re
from collections.abc import Callable, Sequence

# Numbers that programs trip over: signs, the ends of integer types, what is no number.
_WORDS = [
    b"0", b"-0", b"-1", b"1", b"2", b"255", b"256", b"65536", b"2147483647", b"2147483648", b"-2147483649",
    b"4294967296", b"9223372036854775808", b"1e308", b"-1e308", b"1e999", b"1e-320", b"nan", b"inf", b"-inf", b"0x10",
    b"1_0", b"1,5", b"9" * 400, b"9" * 5000, b"0" * 300 + b"7", "٣".encode(), b"", b"-", b"\x00", b"../x",
]  # fmt: skip
_INTEGERS = [
    0,
    1,
    2,
    0x7F,
    0xFF,
    0x100,
    0x7FFF,
    0xFFFF,
    0x10000,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    0x40000000,
    0x10000001,
]
_TOKENS = [b"\x00", b"\n", b"\r", b" ", b"\t", b"\xff", b"\xef\xbb\xbf", b"\n\n\n", b"#", b'"', b"\xff" * 64, bytes(64)]

Mutation = Callable[[random.Random, bytes, bytes], bytes]


def mutated(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """The content after one to four kinds of damage; `others` are files whose parts may be spliced in."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        content = rng.choice(_MUTATIONS)(rng, content, rng.choice(others))
    return content


def _place(rng: random.Random, content: bytes) -> int:
    """A position, half of the time near the start, where headers are."""
    return rng.randrange(min(len(content), 200) + 1 if rng.random() < 0.5 else len(content) + 1)


def _flip_bits(rng: random.Random, content: bytes, _: bytes) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if data:
            data[_place(rng, content) % len(data)] ^= 1 << rng.randrange(8)
    return bytes(data)


def _set_bytes(rng: random.Random, content: bytes, _: bytes) -> bytes:
    start = _place(rng, content)
    count = rng.choice((1, 1, 4, 16))
    return content[:start] + rng.randbytes(count) + content[start + count :]


def _truncate(rng: random.Random, content: bytes, _: bytes) -> bytes:
    return content[: _place(rng, content)]


def _insert(rng: random.Random, content: bytes, _: bytes) -> bytes:
    start = _place(rng, content)
    return content[:start] + rng.choice(_TOKENS) + content[start:]


def _delete(rng: random.Random, content: bytes, _: bytes) -> bytes:
    start = _place(rng, content)
    return content[:start] + content[start + rng.choice((1, 2, 4, 30)) :]


def _splice(rng: random.Random, content: bytes, other: bytes) -> bytes:
    return content[: _place(rng, content)] + other[_place(rng, other) :]


def _repeat(rng: random.Random, content: bytes, _: bytes) -> bytes:
    start = _place(rng, content)
    return content[:start] + content[start : start + rng.choice((1, 8, 100))] * rng.choice((2, 3, 50)) + content[start:]


def _replace_number(rng: random.Random, content: bytes, _: bytes) -> bytes:
    numbers = list(re.finditer(rb"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", content[:20_000]))
    if not numbers:
        return _set_integer(rng, content, _)
    found = numbers[rng.randrange(min(len(numbers), 12) if rng.random() < 0.5 else len(numbers))]
    return content[: found.start()] + rng.choice(_WORDS) + content[found.end() :]


def _set_integer(rng: random.Random, content: bytes, _: bytes) -> bytes:
    start, size = _place(rng, content), rng.choice((1, 2, 4, 4))
    value = (rng.choice(_INTEGERS) & (1 << 8 * size) - 1).to_bytes(size, rng.choice(("little", "big")))
    return content[:start] + value + content[start + size :]


def _change_lines(rng: random.Random, content: bytes, _: bytes) -> bytes:
    lines = content.split(b"\n")
    i, j = (rng.randrange(min(len(lines), 40)) for _ in range(2))
    kind = rng.randrange(4)
    if kind == 0:
        lines.insert(i, lines[j])
    elif kind == 1:
        del lines[i]
    elif kind == 2:
        lines[i], lines[j] = lines[j], lines[i]
    else:
        lines[i] = b" ".join(reversed(lines[i].split()))
    return b"\n".join(lines)


_MUTATIONS: list[Mutation] = [
    _flip_bits, _set_bytes, _truncate, _insert, _delete, _splice, _repeat, _replace_number, _replace_number,
    _set_integer, _change_lines,
]  # fmt: skip
