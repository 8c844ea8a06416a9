"""Encoders: texts and pictures to unit vectors. Weights come from `genrec.models.sources`; nothing here touches the network."""

import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from genrec.errors import EngineError, MediaError, WeightsError
from genrec.models.pictures import open_rgb
from genrec.models.sources import Weights, digest, quiet
from genrec.progress import SILENT, Progress

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda"]
Role = Literal["document", "query"]
Vectors = np.ndarray[tuple[int, int], np.dtype[np.float32]]
Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]

_LOG = logging.getLogger(__name__)
_DECODERS = 4
"""Threads that decode pictures; Pillow leaves the interpreter lock while it does."""


def pick_device(device: Device) -> str:
    """`auto` is CUDA where there is one. Raises EngineError when CUDA is asked for and absent."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise EngineError("models.device is `cuda`, but torch sees no CUDA device", hint="Set models.device to `auto` or `cpu`.")
    return device


def model_id(weights: Weights) -> str:
    """`name@digest`: changes when the name or any byte of the weights does."""
    return f"{weights.name}@{digest(weights.path)[:12]}"


class TextEncoder:
    """Any sentence-transformers model. Safe to call from several threads; calls go one after the other."""

    def __init__(self, weights: Weights, *, device: Device = "auto", batch: int = 32) -> None:
        """Load `weights`. `batch`: texts in one forward pass. Raises WeightsError when the folder cannot be loaded."""
        from sentence_transformers import SentenceTransformer

        if batch < 1:
            raise ValueError(f"batch must be at least 1, not {batch}")
        self.id = model_id(weights)
        self._batch = batch
        self._lock = threading.Lock()
        where = pick_device(device)
        try:
            with quiet():
                self._model = SentenceTransformer(str(weights.path), device=where, local_files_only=True)
        except (OSError, ValueError, KeyError, RuntimeError, TypeError, ImportError) as error:
            raise _cannot_load(weights, error) from error
        self._model.eval()
        dim = self._model.get_embedding_dimension()
        if dim is None:
            dim = int(np.asarray(self._model.encode(["x"], show_progress_bar=False)).shape[1])
        self.dim: int = dim

    def encode(self, texts: Sequence[str], *, role: Role = "document", progress: Progress = SILENT) -> Vectors:
        """(n, dim) float32 unit rows, in the order given.

        `role` chooses the model's own prompt for documents or queries, where it has one. A text longer than the model's window
        is cut by the model. Raises EngineError when a vector is not finite.
        """
        out: Vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        encode = self._model.encode_query if role == "query" else self._model.encode_document
        progress.start("encoding texts", len(texts))
        try:
            for rows in _batches_by_length(texts, self._batch):
                with self._lock:
                    vectors = encode(
                        [texts[row] for row in rows],
                        batch_size=self._batch,
                        show_progress_bar=False,
                        convert_to_numpy=True,
                        normalize_embeddings=True,
                    )
                out[rows] = np.asarray(vectors, dtype=np.float32)
                progress.advance(len(rows))
        finally:
            progress.finish()
        return _unit(out, self.id)

    def tokens(self, texts: Sequence[str]) -> int:
        """How many tokens the model reads of these texts, those it adds included; a longer text is cut at its window."""
        if not texts:
            return 0
        window = self._model.max_seq_length
        read = self._model.tokenizer(list(texts), truncation=window is not None, max_length=window)["input_ids"]
        return sum(map(len, read))


class ImageEncoder:
    """Any open_clip model saved with its configuration. Pictures and texts share one space."""

    def __init__(self, weights: Weights, *, device: Device = "auto", batch: int = 32) -> None:
        """Load `weights` (a folder with open_clip_config.json). Raises WeightsError when it cannot be loaded."""
        import open_clip

        if batch < 1:
            raise ValueError(f"batch must be at least 1, not {batch}")
        self.id = model_id(weights)
        self._batch = batch
        self._device = pick_device(device)
        self._lock = threading.Lock()
        where = f"local-dir:{weights.path}"
        try:
            with quiet():
                model, preprocess = cast(Any, open_clip.create_model_from_pretrained(where, device=self._device))
                self._tokenizer: Any = open_clip.get_tokenizer(where)
            self._model: Any = model.eval()
            self._preprocess: Any = preprocess
        except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, ImportError) as error:
            raise _cannot_load(weights, error) from error
        self.dim: int = self._texts(["x"]).shape[1]

    def encode_images(self, paths: Sequence[Path | None], *, progress: Progress = SILENT) -> tuple[Vectors, Mask]:
        """(n, dim) float32 unit rows and (n,) whether each picture could be read; the rows of the others are zero.

        Pictures are read by `open_rgb`: upright, 8-bit RGB, transparency on white, the first frame of an animation.
        A path of None is a picture that is not there. What cannot be read is logged with its reason.
        """
        vectors: Vectors = np.zeros((len(paths), self.dim), dtype=np.float32)
        ok: Mask = np.zeros(len(paths), dtype=np.bool_)
        progress.start("encoding pictures", len(paths))
        try:
            with ThreadPoolExecutor(_DECODERS) as pool:
                for start in range(0, len(paths), self._batch):
                    tensors = list(pool.map(self._read, paths[start : start + self._batch]))
                    rows = [start + place for place, tensor in enumerate(tensors) if tensor is not None]
                    if rows:
                        vectors[rows] = self._images([tensor for tensor in tensors if tensor is not None])
                        ok[rows] = True
                    progress.advance(len(tensors))
        finally:
            progress.finish()
        vectors[ok] = _unit(vectors[ok], self.id)
        return vectors, ok

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """(n, dim) float32 unit rows in the space of the pictures; a text beyond the model's window is cut."""
        out: Vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        for start in range(0, len(texts), self._batch):
            out[start : start + self._batch] = self._texts(texts[start : start + self._batch])
        return _unit(out, self.id)

    def _read(self, path: Path | None) -> "torch.Tensor | None":
        if path is None:
            return None
        try:
            return self._preprocess(open_rgb(path))
        except MediaError as error:
            _LOG.warning("picture left out: %s: %s", path, error)
            return None

    def _images(self, tensors: "list[torch.Tensor]") -> Vectors:
        import torch

        with self._lock, torch.inference_mode():
            return self._model.encode_image(torch.stack(tensors).to(self._device)).float().cpu().numpy()

    def _texts(self, texts: Sequence[str]) -> Vectors:
        import torch

        with self._lock, torch.inference_mode():
            return self._model.encode_text(self._tokenizer(list(texts)).to(self._device)).float().cpu().numpy()


def _batches_by_length(texts: Sequence[str], size: int) -> Iterator[list[int]]:
    """Row numbers in batches, longest texts first: little padding, and a batch that is too large fails at once."""
    order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _unit(vectors: Vectors, model: str) -> Vectors:
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise EngineError(
            f"{model}: the vector of input {row} is not finite",
            hint="The weights are damaged, or their precision is too low.",
        )
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(norms, np.float32(1e-12))


def _cannot_load(weights: Weights, error: Exception) -> WeightsError:
    first = (str(error).splitlines() or [""])[0]
    return WeightsError(
        f"{weights.path} cannot be loaded as {weights.kind} model: {type(error).__name__}: {first}",
        hint=f"Check models.{weights.kind}; delete the folder to fetch it again, or name another model.",
    )
