"""Pictures of items: fetched or read, checked by decoding them, stored in the workspace under the digest of their bytes."""

import base64
import binascii
import hashlib
import io
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

from PIL import Image

from genrec.data.image_download import fetch
from genrec.errors import MediaError, WorkspaceError
from genrec.files import write_whole
from genrec.models.pictures import DAMAGED, ENDINGS, TAKEN, kind_of, unwarned
from genrec.settings.sections import IngestSettings

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,", re.IGNORECASE)
_DEFAULTS = IngestSettings()
LEAST_PIXELS = 16
"""Spacers and tracking pixels of web pages are smaller; an encoder would make a vector of them nevertheless."""


class MediaFolder:
    """The pictures of a workspace: `root/media/ab/<sha256>.<ending>`.

    `allowed_roots` are folders besides the table's own in which relative paths may lie (`--media-root`). Safe to use from
    several threads.
    """

    def __init__(self, root: Path, allowed_roots: Iterable[Path] = (), *, limits: IngestSettings = _DEFAULTS) -> None:
        self.root = Path(root)
        self._roots = tuple(Path(folder) for folder in allowed_roots)
        self._limits = limits

    def take(self, value: str | bytes, *, base: Path) -> str:
        """Check a picture and store it; returns its path below `root`.

        `value`  bytes, an http(s) URL, a `data:image/…;base64,` URL, or a path relative to `base` (the table's folder) or
                 to an allowed root
        Raises MediaError if it is missing, too large, no picture or not allowed; WorkspaceError if it cannot be stored.
        """
        data = self._bytes_of(value, base)
        if len(data) > self._limits.max_image_bytes:
            raise MediaError(f"the picture is larger than {self._limits.max_image_bytes:,} bytes", hint=_LARGER)
        ending = self._check(data)
        return self._store(data, ending)

    def _bytes_of(self, value: str | bytes, base: Path) -> bytes:
        if isinstance(value, bytes):
            return value
        if _DATA_URL.match(value):
            try:
                return base64.b64decode(value.partition(",")[2], validate=True)
            except (binascii.Error, ValueError) as error:
                raise MediaError(f"the data URL is not base64: {error}") from error
        if value.lower().startswith(("http://", "https://")):
            limits = self._limits
            return fetch(
                value,
                max_bytes=limits.max_image_bytes,
                timeout_s=limits.image_timeout_s,
                allow_private=limits.allow_private_addresses,
            )
        if _SCHEME.match(value):
            raise MediaError(f"{value[:200]}: only http and https are taken", hint="Write a path relative to the table.")
        return self._read(value, base)

    def _read(self, value: str, base: Path) -> bytes:
        shown = value[:200]
        if PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute() or value.startswith(("\\", "~")):
            raise MediaError(f"{shown}: an absolute path is not allowed", hint=_RELATIVE)
        if ".." in re.split(r"[/\\]", value):
            raise MediaError(f"{shown}: a path with .. is not allowed", hint=_RELATIVE)
        for folder in (base, *self._roots):
            try:
                top = folder.resolve(strict=True)
                path = (top / value).resolve(strict=True)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, ValueError, RuntimeError) as error:
                raise MediaError(f"{shown!r}: {error}") from error
            if not path.is_relative_to(top):
                raise MediaError(f"{shown}: a link that leads out of {folder} is not allowed", hint=_RELATIVE)
            return self._read_file(path, shown)
        raise MediaError(f"{shown}: there is no such file", hint=_RELATIVE)

    def _read_file(self, path: Path, shown: str) -> bytes:
        try:
            # Neither a pipe nor a link put there meanwhile may hold or mislead the reader.
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
            with os.fdopen(handle, "rb") as file:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise MediaError(f"{shown}: not a regular file")
                return file.read(self._limits.max_image_bytes + 1)
        except OSError as error:
            raise MediaError(f"{shown}: {error.strerror or error}") from error

    def _check(self, data: bytes) -> str:
        """The ending for a picture that decodes. Its size is read from the header, before any pixel is."""
        if not data:
            raise MediaError("the picture is empty")
        with unwarned():
            try:
                with Image.open(io.BytesIO(data), formats=tuple(ENDINGS)) as image:
                    width, height = image.width, image.height
                    # a JPEG with further pictures behind it (a phone's depth or gain map) calls itself MPO
                    form = "JPEG" if image.format == "MPO" else str(image.format)
                    if width * height > self._limits.max_image_pixels:
                        raise self._too_large(f"{width} × {height} pixels")
                    if width * height < LEAST_PIXELS:
                        raise MediaError(f"the picture has {width} × {height} pixels: it shows nothing")
                    image.verify()
                with Image.open(io.BytesIO(data), formats=(form,)) as image:
                    image.load()
            except Image.UnidentifiedImageError as error:
                raise MediaError(f"not a {TAKEN} picture: {kind_of(data)}", hint=_CONVERT) from error
            except Image.DecompressionBombError as error:
                raise self._too_large(str(error)) from error
            except DAMAGED as error:
                raise MediaError(f"the picture is damaged: {error or type(error).__name__}") from error
        return ENDINGS[form]

    def _too_large(self, what: str) -> MediaError:
        return MediaError(
            f"the picture has too many pixels ({what}); the limit is {self._limits.max_image_pixels:,}", hint=_LARGER
        )

    def _store(self, data: bytes, ending: str) -> str:
        digest = hashlib.sha256(data).hexdigest()
        relative = f"media/{digest[:2]}/{digest}.{ending}"
        target = self.root / relative
        try:
            if target.exists() and target.stat().st_size == len(data):
                return relative
            target.parent.mkdir(parents=True, exist_ok=True)
            write_whole(target, data)
        except OSError as error:
            hint = "Check the free space and the permissions of the workspace; nothing that was stored is lost."
            raise WorkspaceError(f"{target} cannot be written: {error.strerror or error}", hint=hint, retryable=True) from error
        return relative


_CONVERT = "Save it as PNG or JPEG."
_LARGER = "Make the picture smaller, or raise ingest.max_image_bytes or ingest.max_image_pixels as far as they go."
_RELATIVE = "Write a path relative to the table's folder, or name the folder of the pictures with --media-root."
