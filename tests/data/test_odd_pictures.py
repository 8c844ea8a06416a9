"""Pictures as the world has them, from a table to the pixels that reach the encoder: taken right, or refused by row."""

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from genrec.data.images import MediaFolder
from genrec.data.ingest_report import Report
from genrec.data.table_readers import read_items
from genrec.models.encoders import ImageEncoder
from genrec.models.pictures import open_rgb
from genrec.models.sources import resolve
from tests.llm import tiny

SIZE = (64, 48)
PIXELS = np.zeros((48, 64, 3), np.uint8)
PIXELS[:24] = (220, 30, 30)
PIXELS[:, :32, 2] = 200
UPRIGHT = Image.fromarray(PIXELS)
OTHER = Image.new("RGB", SIZE, "green")
SHARP: dict[str, dict[str, Any]] = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
ORIENTATIONS = {  # EXIF orientation → how an upright picture is stored under it
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def saved(picture: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, format=form, **SHARP.get(form, {}), **options)
    return out.getvalue()


def turned(orientation: int, form: str) -> bytes:
    exif, turn = Image.Exif(), ORIENTATIONS[orientation]
    exif[0x0112] = orientation
    return saved(UPRIGHT if turn is None else UPRIGHT.transpose(turn), form, exif=exif)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, depth: int, kind: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def deep(channels: int) -> bytes:
    """A 16-bit PNG of the upright picture: red alone, red and alpha, RGB, or RGB and alpha."""
    values = PIXELS.astype(np.uint16) * 257
    values = values[..., :1] if channels < 3 else values
    if channels in (2, 4):
        values = np.concatenate([values, np.full((48, 64, 1), 65535, np.uint16)], axis=2)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(64, 48, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], rows)


def half_clear() -> bytes:
    """A palette picture whose every colour is half transparent."""
    palette = UPRIGHT.convert("P", palette=Image.Palette.ADAPTIVE)
    return saved(palette, "PNG", transparency=bytes([128] * 256))


def claims(form: str, where: Callable[[bytearray], int], values: bytes) -> bytes:
    """A picture whose header says another size."""
    data = bytearray(saved(UPRIGHT, form))
    data[where(data) : where(data) + len(values)] = values
    return bytes(data)


GREY = np.repeat(PIXELS[..., :1], 3, axis=2)
HALF = (PIXELS.astype(float) * 128 / 255 + 127).round().astype(np.uint8)
TAKEN: dict[str, tuple[bytes, np.ndarray]] = {
    **{f"{form} turned {n}": (turned(n, form), PIXELS) for form in ("JPEG", "PNG", "WEBP", "TIFF") for n in ORIENTATIONS},
    **{
        f"animated {form}": (saved(UPRIGHT, form, save_all=True, append_images=[OTHER]), PIXELS)
        for form in ("GIF", "WEBP", "PNG")
    },
    "JPEG with a second picture": (
        saved(UPRIGHT, "MPO", save_all=True, append_images=[OTHER], quality=100, subsampling=0),
        PIXELS,
    ),
    "CMYK JPEG": (saved(UPRIGHT.convert("CMYK"), "JPEG"), PIXELS),
    "CMYK TIFF": (saved(UPRIGHT.convert("CMYK"), "TIFF"), PIXELS),
    "progressive JPEG": (saved(UPRIGHT, "JPEG", progressive=True), PIXELS),
    "JPEG with broken EXIF": (saved(UPRIGHT, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff?"), PIXELS),
    "JPEG with more behind it": (saved(UPRIGHT, "JPEG") + b"more", PIXELS),
    "16-bit grey": (deep(1), GREY),
    "16-bit grey and alpha": (deep(2), GREY),
    "16-bit RGB": (deep(3), PIXELS),
    "16-bit RGBA": (deep(4), PIXELS),
    "palette half clear": (half_clear(), HALF),
    "4 × 4": (saved(Image.new("RGB", (4, 4), (9, 90, 200)), "PNG"), np.full((4, 4, 3), (9, 90, 200), np.uint8)),
}
HUGE = struct.pack("<HH", 65535, 65535)
REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty"),
    "web page.jpg": (b"\n<!DOCTYPE html><html>404</html>", "a web page"),
    "SVG": (b'\xef\xbb\xbf<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
    "HEIC": (b"\0\0\0\x18ftypheic" + bytes(50), "a HEIC picture"),
    "video": (b"\0\0\0\x18ftypmp42" + bytes(50), "a video"),
    "PDF": (b"%PDF-1.7 ", "a PDF document"),
    "words": (b"no picture", "it begins with b'no pictu'"),
    "half a header": (b"\x89PNG\r\n\x1a\n", "header is damaged"),
    **{f"half a {form}": (saved(UPRIGHT, form)[: len(saved(UPRIGHT, form)) // 2], "damaged")
       for form in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")},
    "1 × 1": (saved(Image.new("RGB", (1, 1)), "PNG"), "1 × 1 pixels: it shows nothing"),
    "100 megapixels": (saved(Image.new("1", (10_000, 10_000)), "PNG"), "too many pixels (10000 × 10000"),
    "PNG bomb": (png(2**31 - 1, 2**31 - 1, 8, 2, bytes(100)), "too many pixels"),
    "GIF bomb": (claims("GIF", lambda data: 6, HUGE), "too many pixels"),
    "JPEG bomb": (claims("JPEG", lambda data: data.index(b"\xff\xc0") + 5, HUGE), "too many pixels"),
    "BMP bomb": (claims("BMP", lambda data: 18, struct.pack("<ii", 2**31 - 1, 2**31 - 1)), "too many pixels"),
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
def test_the_pixels_that_reach_the_encoder(name: str, tmp_path: Path) -> None:
    data, expected = TAKEN[name]
    media = MediaFolder(tmp_path)
    picture = open_rgb(tmp_path / media.take(data, base=tmp_path))
    assert picture.mode == "RGB"
    np.testing.assert_allclose(np.asarray(picture).astype(int), expected, atol=2)


def test_a_table_of_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be taken is told by row and reason; every item is kept; what is taken is encoded; nobody is warned."""
    monkeypatch.setenv("GENREC_CACHE", str(tmp_path / "cache"))
    names = [name for pair in zip(TAKEN, [*REFUSED, *[""] * len(TAKEN)], strict=False) for name in pair if name]
    lines = ["item_id,image"]
    for number, name in enumerate(names):
        (tmp_path / f"{number}.jpg").write_bytes(TAKEN[name][0] if name in TAKEN else REFUSED[name][0])
        lines.append(f"{name},{number}.jpg")
    (tmp_path / "items.csv").write_text("\n".join(lines), encoding="utf-8")
    media, report = MediaFolder(tmp_path / "w"), Report()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        items = [one for batch in read_items(tmp_path / "items.csv", media=media, report=report) for one in batch]
        assert [item.item_id for item in items] == names
        told = {fault.row: fault for fault in report.faults}
        assert sorted(told) == [row for row, name in enumerate(names, 1) if name in REFUSED]
        for row, fault in told.items():
            assert REFUSED[names[row - 1]][1] in fault.message
            assert (fault.kind, fault.column) == ("bad picture", "image")
        encoder = ImageEncoder(resolve(str(tiny.save_image_model(tmp_path / "model")), "image"), device="cpu", batch=8)
        rows, ok = encoder.encode_images([media.root / item.image if item.image else None for item in items])
    assert ok.tolist() == [name in TAKEN for name in names]
    upright = rows[names.index("PNG turned 1")]
    for name, row in zip(names, rows, strict=True):
        if name in TAKEN and TAKEN[name][1] is PIXELS:
            np.testing.assert_allclose(row, upright, atol=0.02, err_msg=name)
