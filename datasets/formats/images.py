"""Reading JPEG and PNG images and depth maps, HEIC photos where pillow-heif is installed (docs/formats.md).

What a header claims is held against the file's size before pixels are decoded, and no other format is tried, whatever
the file's name: some of Pillow's decoders start programs or take unbounded time.
"""

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import PIL.Image
from PIL import ImageOps
from PIL.Image import Image

from datasets.files import DataError, PathLike, read_bytes, reason, write_bytes
from datasets.formats.kinds import is_heic, kind_of

# Beyond twice its own mark Pillow refuses to open an image. The largest cameras have 151 million pixels.
MAX_IMAGE_PIXELS = 178_956_970

# Pixels that any file may claim, and more for each byte: deflate makes at most 1032 bytes of one, JPEG less.
_FREE_PIXELS, _PIXELS_PER_BYTE = 1 << 22, 1100

# Each scan of a progressive JPEG goes over all its pixels. Encoders write about ten.
_MOST_SCANS = 100

_FORMATS = ("JPEG", "PNG")
_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
_OF_16_BITS = 257  # to 8 bits: 65535 becomes 255

# EXIF's tags (CIPA DC-008), and the length of a unit of resolution in mm.
_EXIF_IFD = 0x8769
_MAKE, _MODEL = 0x010F, 0x0110
_FOCAL, _FOCAL_35MM, _WIDTH, _RESOLUTION, _UNIT = 0x920A, 0xA405, 0xA002, 0xA20E, 0xA210
_UNITS = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
_DIAGONAL_35MM = math.hypot(36, 24)


class PhotoInfo(NamedTuple):
    """What a photo's EXIF data tells: the camera's make and model ("" when unknown), and the focal length as a share of
    the image's longer side (None when unknown)."""

    camera: str
    focal: float | None


def read_image(path: PathLike, grey16: bool = False) -> np.ndarray:
    """Read an image file as RGB uint8 [H, W, 3]; grey ones of 16 bits, which may be depth maps, only if `grey16`."""
    return _colours(path, _decoded(path), grey16)


def read_photo(path: PathLike) -> tuple[np.ndarray, PhotoInfo]:
    """Read a photo as RGB uint8 [H, W, 3], turned upright as its EXIF data says, and what else that tells.

    EXIF data that is damaged or missing is no error.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of damaged EXIF data
        image = _decoded(path)
        exif, size = _exif(image), image.size
        upright = _upright(image)
    camera = " ".join(text for tag in (_MAKE, _MODEL) if (text := str(exif.get(tag, "")).strip(" \0")))
    info = PhotoInfo(camera[:200], _focal_share(exif, *size))
    return np.ascontiguousarray(_colours(path, upright, grey16=True)), info


def _upright(image: Image) -> Image:
    """The image turned as its EXIF data says, or as it is where that is damaged."""
    try:
        return ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:  # Pillow's parser raises many kinds
        return image


def _colours(path: PathLike, image: Image, grey16: bool = False) -> np.ndarray:
    if image.mode.startswith("I"):  # Pillow would cut the values at 255
        if not grey16:
            raise DataError(f"{path}: has one channel of 16 bits, like a depth map; save images with 8 bits")
        grey = np.clip(np.asarray(image).astype(np.int32) // _OF_16_BITS, 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:  # of what colour a transparent pixel is in the file is chance
        image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "black"), image.convert("RGBA"))
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _exif(image: Image) -> Mapping[int, Any]:
    """The tags of a photo's EXIF data, as far as they can be read."""
    try:
        exif = image.getexif()
        return {**exif, **exif.get_ifd(_EXIF_IFD)}
    except MemoryError:
        raise
    except Exception:  # Pillow's parser raises many kinds
        return {}


def _focal_share(exif: Mapping[int, Any], width: int, height: int) -> float | None:
    """The focal length as a share of the longer side: from its equivalent on 35 mm film, or the sensor's resolution."""
    try:
        equivalent = float(exif.get(_FOCAL_35MM, 0))
        share = equivalent / _DIAGONAL_35MM * math.hypot(width, height) / max(width, height)
        if not equivalent:
            # Pixels of the image as it was taken: it may have been scaled since.
            pixels_per_mm = float(exif[_RESOLUTION]) / _UNITS[exif.get(_UNIT, 2)]
            share = float(exif[_FOCAL]) * pixels_per_mm / float(exif[_WIDTH]) * width / max(width, height)
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None
    return share if 0.1 < share < 50 else None


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
    """(width, height) of an image file, from its header."""
    content = read_bytes(path)
    try:
        with _decoder(path, content) as image:
            return image.size
    except (DataError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise many kinds
        raise DataError(f"{path}: is not a readable image ({reason(error)})") from None


def _decoder(path: PathLike, content: bytes) -> Image:
    """The image of a file, told by its first bytes, of which only the header has been read.

    Raises DataError for another format, more pixels than the file can hold, and endless scans.
    """
    if content.startswith(_STARTS):
        if content.startswith(_STARTS[1]) and content.count(b"\xff\xda") > _MOST_SCANS:
            raise DataError(f"{path}: is a JPEG of more than {_MOST_SCANS} scans; save it again as an ordinary one")
        image = _opened(path, content)
    elif is_heic(content):
        image = _heic(path, content)
    else:
        kind, advice = kind_of(content)
        raise DataError(
            f"{path}: is not a readable image: neither JPEG nor PNG" + (f", but {kind}; {advice}" if kind else "")
        )
    width, height = image.size
    if width * height > MAX_IMAGE_PIXELS:
        raise DataError(f"{path}: {width}x{height} is too large; scale the image down")
    if width * height > _FREE_PIXELS + _PIXELS_PER_BYTE * len(content):
        raise DataError(f"{path}: is not a readable image: {len(content)} bytes cannot hold {width}x{height} pixels")
    return image


def _opened(path: PathLike, content: bytes) -> Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)  # our own limits follow
        try:
            return PIL.Image.open(io.BytesIO(content), formats=_FORMATS)
        except PIL.Image.DecompressionBombError:
            raise DataError(f"{path}: is too large: over {MAX_IMAGE_PIXELS} pixels; scale the image down") from None


def _heic(path: PathLike, content: bytes) -> Image:
    """The image of a HEIC file, by pillow-heif if it is installed."""
    try:
        import pillow_heif  # few have it
    except ImportError:
        kind, advice = kind_of(content)
        raise DataError(f"{path}: is not a readable image: neither JPEG nor PNG, but {kind}; {advice}") from None
    return pillow_heif.HeifImageFile(io.BytesIO(content))


def write_image(path: PathLike, image: np.ndarray, quality: int = 95) -> None:
    """Write uint8 [H, W] or RGB [H, W, 3] as .png or .jpg."""
    suffix = str(path).rsplit(".", 1)[-1].lower()
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix in ("jpg", "jpeg") else []
    encoded = encode_image(image, suffix, options)
    if encoded is None:
        raise DataError(f"{path}: the image cannot be encoded")
    write_bytes(path, encoded)


def encode_image(image: np.ndarray, suffix: str, options: Sequence[int] = ()) -> bytes | None:
    """The content of a file of a format of OpenCV with uint8 [H, W] or RGB [H, W, 3]; None where it cannot be made."""
    pixels = image[..., ::-1] if image.ndim == 3 else image
    ok, encoded = cv2.imencode(f".{suffix}", np.ascontiguousarray(pixels), list(options))
    return encoded.tobytes() if ok else None


def colour_map(
    data: np.ndarray, low: float | None = None, high: float | None = None, colours: int = cv2.COLORMAP_TURBO
) -> np.ndarray:
    """RGB uint8 picture of a map [H, W] from low to high, by default robust limits; not positive or finite is black.

    `colours` is one of OpenCV's colour maps.
    """
    valid = np.isfinite(data) & (data > 0)
    if low is None or high is None:
        low, high = np.percentile(data[valid], (2, 98)) if valid.any() else (0.0, 1.0)
    scaled = np.clip((np.nan_to_num(data) - low) / max(high - low, 1e-12), 0, 1)
    coloured = cv2.applyColorMap((scaled * 255).astype(np.uint8), colours)[..., ::-1]
    return np.where(valid[..., None], coloured, 0).astype(np.uint8)
