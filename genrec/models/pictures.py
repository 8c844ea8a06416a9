"""A picture file as the encoders want it: upright, 8-bit RGB, one frame."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


def open_rgb(path: Path) -> Image.Image:
    """Read `path`: first frame, EXIF rotation applied, transparency on white, 16-bit and float grey scaled to 8 bits.

    Raises OSError, ValueError or SyntaxError (Pillow's own) when it is not a whole picture.
    """
    try:
        with Image.open(path) as picture:
            picture.seek(0)
            picture.load()
            upright = ImageOps.exif_transpose(picture)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(str(error)) from error
    if upright.mode in _DEEP:
        return _scaled(upright).convert("RGB")
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(ground, layer).convert("RGB")
    return upright.convert("RGB")


def _scaled(picture: Image.Image) -> Image.Image:
    """Deep grey to 8 bits: 16-bit files by their full range, floats and 32-bit integers beyond it by their own."""
    values = np.nan_to_num(np.asarray(picture, dtype=np.float64), posinf=0.0, neginf=0.0)
    low, high = 0.0, 65535.0
    if picture.mode == "F" or values.min() < low or values.max() > high:
        low, high = float(values.min()), float(values.max())
    span = high - low or 1.0
    return Image.fromarray(np.round((values - low) / span * 255.0).astype(np.uint8))
