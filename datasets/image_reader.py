"""Reading JPEG and PNG images and depth maps (specs: formats).

What a header claims is held against the file's size before pixels are decoded, and no other format is tried, whatever
the file's name: some of Pillow's decoders start programs or take unbounded time.
"""

import io

import numpy as np
from PIL.Image import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from datasets.files import DataError, PathLike, read_bytes, reason

# Twice those of the largest cameras.
MAX_IMAGE_PIXELS = 300_000_000

# Pixels that any file may claim, and more for each byte: deflate makes at most 1032 bytes of one, JPEG less.
_FREE_PIXELS, _PIXELS_PER_BYTE = 1 << 22, 1100

# Each scan of a progressive JPEG goes over all its pixels. Encoders write about ten.
_MOST_SCANS = 100

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


def read_image(path: PathLike) -> np.ndarray:
    """Read a JPEG or PNG file as RGB uint8 [H, W, 3]."""
    image = _decoded(path)
    if image.mode.startswith("I"):  # Pillow would cut the values at 255
        raise DataError(f"{path}: has one channel of 16 bits, like a depth map; save images with 8 bits")
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def read_depth_png(path: PathLike) -> np.ndarray:
    """Read a depth map stored as a PNG of 16 bits as float32 [H, W]: whole units (mm, as a rule), 0 where unknown."""
    image = _decoded(path)
    if not image.mode.startswith("I"):
        raise DataError(f"{path}: is not a depth map of one channel and 16 bits; a preview cannot be read as depth")
    return np.asarray(image).astype(np.float32)


def _decoded(path: PathLike) -> Image:
    """The image with its pixels."""
    content = read_bytes(path)
    try:
        with _decoder(path, content) as image:
            image.verify()  # a PNG's checksums, which decoding ignores
        with _decoder(path, content) as image:
            image.load()
            return image
    except (DataError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise many kinds
        raise DataError(f"{path}: is not a readable image ({reason(error)})") from None


def read_image_size(path: PathLike) -> tuple[int, int]:
    """(width, height) of a JPEG or PNG file, from its header."""
    content = read_bytes(path)
    try:
        with _decoder(path, content) as image:
            return image.size
    except (DataError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise many kinds
        raise DataError(f"{path}: is not a readable image ({reason(error)})") from None


def _decoder(path: PathLike, content: bytes) -> JpegImageFile | PngImageFile:
    """Pillow's reader of a file, told by its first bytes; it has read the header. Not `Image.open`: see above.

    Raises DataError for another format, more pixels than the file can hold, and endless scans.
    """
    if content.startswith(_PNG):
        image = PngImageFile(io.BytesIO(content))
    elif content.startswith(_JPEG):
        image = JpegImageFile(io.BytesIO(content))
        if content.count(b"\xff\xda") > _MOST_SCANS:
            raise DataError(f"{path}: is a JPEG of more than {_MOST_SCANS} scans; save it again as an ordinary one")
    else:
        raise DataError(f"{path}: is not a readable image: neither JPEG nor PNG")
    width, height = image.size
    if width * height > MAX_IMAGE_PIXELS:
        raise DataError(f"{path}: {width}x{height} is too large; scale the image down")
    if width * height > _FREE_PIXELS + _PIXELS_PER_BYTE * len(content):
        raise DataError(f"{path}: is not a readable image: {len(content)} bytes cannot hold {width}x{height} pixels")
    return image
