"""Files that claim, or expand to, far more than their size justifies: refused before the memory is taken."""

import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzz_limits import limits
from fuzz_readers import REFUSALS, pickle_of, with_pickle
from PIL import Image
from scene_files import cameras_sphere_npz, repacked
from scipy.io import savemat

from datasets.files import DataError
from datasets.formats import mat
from datasets.formats.arrays import read_neus, read_poses_bounds
from datasets.formats.images import read_depth_png, read_image, read_image_size
from datasets.formats.mat import read_mat
from datasets.formats.metashape import read_metashape
from datasets.formats.pfm import read_pfm
from datasets.formats.ply import read_ply
from datasets.io import read_dmb
from datasets.photos.folders import PhotoFolders
from models.checkpoint import read_checkpoint


def refusal(read, path: Path, content: bytes) -> str:
    """The message with which a file is refused within the limits that fuzzing has."""
    path.write_bytes(content)
    with pytest.raises(REFUSALS) as caught, limits(len(content)):
        read(path)
    return str(caught.value)


PLY = (
    b"ply\nformat %s 1.0\nelement vertex %d\nproperty float x\nproperty float y\nproperty float z\nend_header\n1 2 3\n"
)


@pytest.mark.parametrize(
    ("read", "content"),
    [
        (read_pfm, b"Pf\n99999 99999\n-1\n" + bytes(1000)),
        (read_dmb, struct.pack("<4i", 1, 99999, 99999, 3) + bytes(1000)),
        (read_ply, PLY % (b"binary_little_endian", 10**10)),
        (read_ply, PLY % (b"ascii", 10**10)),
    ],
)
def test_headers_that_claim_gigapixels(tmp_path, read, content):
    """They are held against the file's size."""
    assert refusal(read, tmp_path / "input", content).startswith(f"{tmp_path}/input: ")


def png_header(width: int, height: int, bits: int, colours: int) -> bytes:
    """A PNG that ends soon after a header that claims a size."""
    header = struct.pack(">2I5B", width, height, bits, colours, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(99))), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return content


@pytest.mark.parametrize(("width", "message"), [(17_000, "bytes cannot hold"), (60_000, "is too large")])
def test_images_that_claim_gigapixels(tmp_path, width, message):
    """Neither pixels nor the size are taken from them, in PNG and JPEG."""
    colour, depth = png_header(width, 10_000, 8, 2), png_header(width, 10_000, 16, 0)
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    start = buffer.getvalue().index(b"\xff\xc0") + 5
    jpeg = buffer.getvalue()[:start] + struct.pack(">2H", 10_000, width) + buffer.getvalue()[start + 4 :]
    for content in (colour, jpeg):
        assert message in refusal(read_image, tmp_path / "input", content)
        assert message in refusal(read_image_size, tmp_path / "input", content)
    assert message in refusal(read_depth_png, tmp_path / "input", depth)


def test_blank_images_are_no_bombs(tmp_path):
    """What deflate packs best is still justified: a black grey image of nine million pixels in nine thousand bytes."""
    Image.new("L", (3000, 3000)).save(tmp_path / "blank.png", compress_level=9)
    assert (tmp_path / "blank.png").stat().st_size < 10_000
    image = read_image(tmp_path / "blank.png")
    assert image.shape == (3000, 3000, 3) and image.max() == 0


def test_jpeg_of_very_many_scans(tmp_path):
    """Each scan of a progressive JPEG costs a pass over all pixels, so a small file could take hours."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    scan = content[content.rindex(b"\xff\xda") : -2]
    assert "more than 100 scans" in refusal(read_image, tmp_path / "input", content[:-2] + 200 * scan + content[-2:])


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "BMP", "PPM", "EPS", "WEBP", "PDF"])
def test_other_formats_under_the_name_of_an_image(tmp_path, kind):
    """They are told by their content and not handed to decoders nobody expects, of which one would start a program."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, kind)
    assert "neither JPEG nor PNG" in refusal(read_image, tmp_path / "input.png", buffer.getvalue())


def test_png_of_wrong_checksum(tmp_path):
    """A flipped bit that the decoder would not notice."""
    content = bytearray(png_header(3, 3, 8, 2))
    content[content.index(b"IDAT") - 5] ^= 1  # of the header's checksum
    assert "is not a readable image" in refusal(read_image, tmp_path / "input", bytes(content))


def test_compressed_matlab_variables(tmp_path, monkeypatch):
    """A variable is expanded up to a limit and no further; one below it is read however well it was packed."""
    path = tmp_path / "a.mat"
    savemat(path, {"mask": np.zeros((200, 200, 200), np.uint8)}, do_compression=True)
    assert path.stat().st_size < 10_000
    assert read_mat(path, ("mask",))["mask"].shape == (200, 200, 200)
    monkeypatch.setattr(mat, "_MOST_BYTES", 7_000_000)
    with pytest.raises(DataError, match="expands to more than 7000000 bytes"), limits(path.stat().st_size):
        read_mat(path, ("mask",))


def test_pieces_of_matlab_variables_that_claim_gigabytes(tmp_path):
    """Inside of a compressed variable, where a length may be anything, and outside."""
    path = tmp_path / "a.mat"
    savemat(path, {"mask": np.arange(9.0)})
    content = path.read_bytes()
    size = content.rindex(struct.pack("<2I", 9, 72)) + 4
    damaged = content[:size] + struct.pack("<I", 0xFFFFFF00) + content[size + 4 :]
    variable = zlib.compress(damaged[128:])
    packed = damaged[:128] + struct.pack("<2I", 15, len(variable)) + variable
    for file in (damaged, packed):
        assert "is not a readable MATLAB file: it breaks off" in refusal(
            lambda path: read_mat(path, ("mask",)), path, file
        )


def test_arrays_that_claim_gigabytes(tmp_path):
    """A header of NumPy is held against the file; an archive's entries are read up to a matrix's size."""
    header = {"descr": "<f8", "fortran_order": False, "shape": (1 << 30, 17)}
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, header)
    photos = PhotoFolders((tmp_path,))
    read = lambda path: read_poses_bounds(path, photos)  # noqa: E731
    assert "it claims" in refusal(read, tmp_path / "poses_bounds.npy", buffer.getvalue() + bytes(100))
    entry = cameras_sphere_npz()
    bomb = repacked(entry, "world_mat_1.npy", zipfile.ZIP_DEFLATED)(buffer.getvalue() + bytes(1 << 26))
    assert "it claims" in refusal(lambda path: read_neus(path, photos), tmp_path / "cameras_sphere.npz", bomb)


def test_entities_of_xml(tmp_path):
    """Nine levels of ten would be a billion laughs."""
    entities = "".join(f'<!ENTITY a{k + 1} "{f"&a{k};" * 10}">' for k in range(9))
    bomb = f'<?xml version="1.0"?><!DOCTYPE document [<!ENTITY a0 "ha">{entities}]><document>&a9;</document>'
    assert "declarations" in refusal(read_metashape, tmp_path / "cameras.xml", bomb.encode())


def test_records_of_a_ply_without_a_size(tmp_path):
    """Elements without properties take no byte, however many are claimed; lists are no longer than the file."""
    start = b"ply\nformat binary_little_endian 1.0\nelement a 999999999999999\n"
    vertex = b"element vertex 1\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    (tmp_path / "whole").write_bytes(start + vertex + bytes(12))
    assert len(read_ply(tmp_path / "whole")[0]) == 1
    lists = start + b"property list uint double n\n" + vertex + b"\xff\xff\xff\xff" + bytes(100)
    assert "incomplete" in refusal(read_ply, tmp_path / "lists", lists)
    lists = lists.replace(b"999999999999999", b"2")
    assert "incomplete" in refusal(read_ply, tmp_path / "lists", lists)


def test_deeply_nested_matlab_cells(tmp_path):
    """A hundred thousand cells in each other would overflow a recursive reader's stack; cells are not looked into."""
    tag = struct.Struct("<2I")
    flags = tag.pack(6, 8) + tag.pack(1, 0)  # a cell
    dimensions = tag.pack(5, 8) + tag.pack(1, 1)
    name = tag.pack(1, 4) + b"mask\0\0\0\0"
    depth = 100_000
    level = len(tag.pack(14, 0) + flags + dimensions + name)
    nested = b"".join(tag.pack(14, level * (depth - i) - 8) + flags + dimensions + name for i in range(depth))
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    message = refusal(lambda path: read_mat(path, ("mask",)), tmp_path / "a.mat", header + nested)
    assert "has no array of numbers named mask" in message


class Call:
    """Unpickles as the result of a call."""

    def __init__(self, function, *arguments) -> None:
        self._call = function, arguments

    def __reduce__(self):
        return self._call


@pytest.mark.parametrize("call", [Call(bytearray, 1 << 34), Call(torch.FloatTensor, 1 << 32)])
@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoints_that_ask_for_memory(tmp_path, call, zipped):
    """torch's safe loading allows these calls."""
    torch.save({"model": {}, "x": call}, tmp_path / "a", _use_new_zipfile_serialization=zipped)
    assert "not loaded for safety" in refusal(read_checkpoint, tmp_path / "b", (tmp_path / "a").read_bytes())


def test_checkpoint_with_compressed_members(tmp_path):
    """torch stores its members as they are; compressed ones could expand to any size."""
    archive = archive_of(torch.zeros(1 << 22), tmp_path)
    content = with_pickle(archive, zipfile.ZIP_DEFLATED)(pickle_of(archive))
    assert len(content) < len(archive) / 100
    assert "is damaged or not a checkpoint" in refusal(read_checkpoint, tmp_path / "input", content)


def test_checkpoint_whose_tensor_claims_more_than_is_stored(tmp_path):
    """A view that repeats one number, and a length beyond the member's."""
    content = archive_of(torch.zeros(1).expand(1 << 20, 1 << 20), tmp_path)
    assert "that are no weights" in refusal(read_checkpoint, tmp_path / "input", content)
    archive = archive_of(torch.zeros(77), tmp_path)
    claim = pickle_of(archive).replace(b"K\x4d", b"J\x00\x00\x00\x70")
    assert claim.count(b"J\x00\x00\x00\x70") == 2  # of the storage and of the shape
    content = with_pickle(archive)(claim)
    assert "is damaged or not a checkpoint" in refusal(read_checkpoint, tmp_path / "input", content)


def test_string_of_a_checkpoint_that_claims_gigabytes(tmp_path):
    """A length in a bare pickle is not allocated before it is read."""
    content = b"\x80\x02X" + struct.pack("<I", 0x7FFFFFF0) + b"model."
    assert "is damaged or not a checkpoint" in refusal(read_checkpoint, tmp_path / "input", content)


def archive_of(tensor: torch.Tensor, folder: Path) -> bytes:
    """A checkpoint file with one tensor."""
    torch.save({"model": {"a": tensor}}, folder / "model.ckpt")
    return (folder / "model.ckpt").read_bytes()
