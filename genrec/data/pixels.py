"""What is a picture, and what Pillow does with one that is not whole; shared by ingest, the encoders and the LLM engines."""

import contextlib
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator

ENDINGS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif"}
"""Pillow's name of each format that is taken → the ending of its files."""
TAKEN = "JPEG, PNG, WebP, GIF, BMP or TIFF"

DAMAGED = (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError, MemoryError)
DAMAGED += (EOFError, struct.error, zlib.error)
"""What Pillow's decoders raise on damaged data, found by fuzzing and in its documentation."""

_OTHERS = (
    (b"%PDF", "a PDF document"),
    (b"8BPS", "a Photoshop file"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a compressed file"),
    (b"\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
)
_BRANDS = {b"avif": "an AVIF picture", b"avis": "an AVIF picture", b"heic": "a HEIC picture", b"heix": "a HEIC picture",
           b"mif1": "a HEIF picture", b"msf1": "a HEIF picture"}  # fmt: skip
_OURS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


def kind_of(data: bytes) -> str:
    """What bytes that Pillow did not open seem to be, in words."""
    for start, kind in _OTHERS:
        if data.startswith(start):
            return kind
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "a video")
    if data.startswith(_OURS) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
        return f"its header is damaged or of a rare kind (it begins with {data[:8]!r})"
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in head:
        return "an SVG drawing"
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in head:
        return "a web page"
    return f"it begins with {data[:8]!r}"


class _Silence:
    """Python's warning filters are one for the whole process: the first of all threads sets them, the last restores them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._filters = contextlib.ExitStack()

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._users == 0:
                self._filters.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._filters.close()


unwarned = _Silence()
"""`with unwarned():` Pillow decodes without warnings (odd EXIF, bombs that are refused anyway); safe in several threads."""
