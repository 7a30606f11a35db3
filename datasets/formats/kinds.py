"""What a file is, by its first bytes: for messages about files that are not what their names say (docs/formats.md)."""

import os

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".3gp", ".insv")
VIDEO_ADVICE = "take photos from it first: ffmpeg -i VIDEO -vf fps=2 -q:v 2 PHOTOS/%04d.jpg"

_HEIC_ADVICE = "install pillow-heif (pip install pillow-heif), or save it as JPEG"
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

# First bytes, name, and what to do where that is not plain.
_STARTS = (
    (b"GIF8", "GIF", ""),
    (b"II*\0", "TIFF or a camera's raw photo", ""),
    (b"MM\0*", "TIFF or a camera's raw photo", ""),
    (b"BM", "BMP", ""),
    (b"8BPS", "a file of Photoshop", ""),
    (b"%PDF", "PDF", ""),
    (b"%!PS", "PostScript", ""),
    (b"\xff\x0a", "JPEG XL", ""),
    (b"\0\0\0\x0cJXL ", "JPEG XL", ""),
    (b"\0\0\0\x0cjP  ", "JPEG 2000", ""),
    (b"\x76\x2f\x31\x01", "OpenEXR", ""),
    (b"\x1aE\xdf\xa3", "a video", VIDEO_ADVICE),
    (b"\0\0\1\xba", "a video", VIDEO_ADVICE),
    (b"\0\0\1\xb3", "a video", VIDEO_ADVICE),
    (b"<!DOCTYPE", "a page of the web", ""),
    (b"<html", "a page of the web", ""),
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file itself: git lfs pull"),
)


def is_heic(content: bytes) -> bool:
    """Whether a file's content is HEIC (HEIF with HEVC), as iPhones write photos."""
    return content[4:8] == b"ftyp" and content[8:12] in _HEIC_BRANDS


def is_video(path: str | os.PathLike) -> bool:
    """Whether a file is a video, by its name or its first bytes; False where it cannot be read."""
    if os.fspath(path).lower().endswith(VIDEO_SUFFIXES):
        return True
    try:
        with open(path, "rb") as file:
            return kind_of(file.read(64))[0] == "a video"
    except OSError:
        return False


def kind_of(content: bytes) -> tuple[str, str]:
    """The name of a format, and what to do about it; "" where it is not known, and where a photo has nothing to add."""
    if not content:
        return "an empty file", "copy it again"
    if is_heic(content):
        return "HEIC, as iPhones write it", _HEIC_ADVICE
    if content[4:8] == b"ftyp":
        if content[8:11] == b"avi":
            return "AVIF", "save it as JPEG"
        return ("a camera's raw photo", "save it as JPEG") if content[8:11] == b"crx" else ("a video", VIDEO_ADVICE)
    if content[:4] == b"RIFF":
        return ("a video", VIDEO_ADVICE) if content[8:12] == b"AVI " else ("WebP", "save it as JPEG")
    for start, name, advice in _STARTS:
        if content.startswith(start):
            return name, advice or "save it as JPEG"
    return "", ""
