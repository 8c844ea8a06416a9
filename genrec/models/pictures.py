"""A picture file as the models want it: upright, 8-bit RGB, one frame."""

import base64
import contextlib
import io
import math
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from genrec.errors import MediaError

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


MOST_PIXELS = 89_000_000
"""The bound of `ingest.max_image_pixels`; Pillow warns from 89,478,485 on."""

MOST_RATIO = 50
"""Longest side over shortest. Encoders scale the shortest side to theirs: a strip of 1 × 20,000 would become gigabytes."""

_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation → what makes it upright."""


def open_rgb(path: Path) -> Image.Image:
    """Read `path`: first frame, EXIF rotation applied, transparency on white, 16-bit and float grey scaled to 8 bits.

    A strip longer than `MOST_RATIO` times its width is cut to its middle. Raises MediaError when it is not a whole picture, or
    larger than `MOST_PIXELS`.
    """
    with unwarned():
        try:
            with Image.open(path, formats=tuple(ENDINGS)) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    raise MediaError(f"it has too many pixels: {picture.width} × {picture.height}")
                picture.seek(0)
                picture.load()
                return _rgb(_middle(_upright(picture)))
        except Image.DecompressionBombError as error:
            raise MediaError(f"it has too many pixels: {error}") from error
        except FileNotFoundError as error:
            raise MediaError("there is no such file") from error
        except DAMAGED as error:
            raise MediaError(f"it is damaged: {error or type(error).__name__}") from error


def open_named(path: Path) -> Image.Image:
    """`open_rgb`, with the path in the message of its MediaError."""
    try:
        return open_rgb(path)
    except MediaError as error:
        raise MediaError(f"{path}: {error}", hint="Leave the picture out, or put a whole one in its place.") from error


def shown(path: Path, pixels: int) -> Image.Image:
    """`open_named`, scaled down to at most `pixels` pixels. Raises MediaError."""
    picture = open_named(path)
    shrink = math.sqrt(pixels / (picture.width * picture.height))
    if shrink >= 1:
        return picture
    size = (max(1, int(picture.width * shrink)), max(1, int(picture.height * shrink)))
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def data_url(path: Path, pixels: int) -> str:
    """The picture as a `data:` URL of a JPEG of at most `pixels` pixels. Raises MediaError."""
    out = io.BytesIO()
    shown(path, pixels).save(out, format="JPEG", quality=90)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode('ascii')}"


def _upright(picture: Image.Image) -> Image.Image:
    """Turned as its EXIF says. `ImageOps.exif_transpose` writes the EXIF anew, which fails where any of its entries is odd."""
    try:
        turn = _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except DAMAGED:
        return picture  # what cannot be read turns nothing, as in every viewer
    return picture if turn is None else picture.transpose(turn)


def _middle(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    wide, high = min(width, MOST_RATIO * height), min(height, MOST_RATIO * width)
    if (wide, high) == (width, height):
        return picture
    left, top = (width - wide) // 2, (height - high) // 2
    return picture.crop((left, top, left + wide, top + high))


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in _DEEP:
        return _scaled(picture).convert("RGB")
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(ground, layer).convert("RGB")
    return picture.convert("RGB")


def _scaled(picture: Image.Image) -> Image.Image:
    """Deep grey to 8 bits: 16-bit files by their full range, floats and 32-bit integers beyond it by their own."""
    values = np.nan_to_num(np.asarray(picture, dtype=np.float64), posinf=0.0, neginf=0.0)
    low, high = 0.0, 65535.0
    if picture.mode == "F" or values.min() < low or values.max() > high:
        low, high = float(values.min()), float(values.max())
    span = high - low or 1.0
    return Image.fromarray(np.round((values - low) / span * 255.0).astype(np.uint8))
