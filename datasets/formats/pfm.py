"""Reading and writing of PFM files, the depth maps of every result (docs/formats.md)."""

import re

import numpy as np

from datasets.files import DataError, PathLike, read_bytes, write_bytes


def read_pfm(path: PathLike) -> np.ndarray:
    """Read a PFM file as float32 [H, W] (`Pf`) or [H, W, 3] (`PF`), rows from top to bottom."""
    content = read_bytes(path)
    header = re.match(rb"(P[fF])\s+(\d{1,9})\s+(\d{1,9})\s+([-+]?\d*\.?\d*(?:[eE][-+]?\d+)?)[ \t\r]*\n", content)
    if header is None or not re.match(rb"[-+]?0*\.?0*[1-9]", header[4]):
        raise DataError(f"{path}: is not a PFM file (its header is damaged); make it again")
    kind, width, height, scale = header[1], int(header[2]), int(header[3]), header[4]
    channels = 3 if kind == b"PF" else 1
    expected = width * height * channels * 4
    found = len(content) - header.end()
    if width * height == 0 or found != expected:
        raise DataError(f"{path}: holds {found} bytes of data, {width}x{height} needs {expected}; make it again")
    order = "<" if scale.startswith(b"-") else ">"
    data = np.frombuffer(content, order + "f4", offset=header.end())
    data = data.reshape((height, width, 3) if channels == 3 else (height, width))
    return np.ascontiguousarray(data[::-1], dtype=np.float32)


def write_pfm(path: PathLike, data: np.ndarray) -> None:
    """Write float32 [H, W] or [H, W, 3] as a little-endian PFM file."""
    if data.ndim not in (2, 3) or (data.ndim == 3 and data.shape[2] != 3):
        raise ValueError(f"a PFM holds [H, W] or [H, W, 3], not {data.shape}")
    kind = "PF" if data.ndim == 3 else "Pf"
    header = f"{kind}\n{data.shape[1]} {data.shape[0]}\n-1.000000\n".encode()
    write_bytes(path, header, np.ascontiguousarray(data[::-1], dtype="<f4").tobytes())
