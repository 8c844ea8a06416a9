"""Pictures for a model of transformers that sees: its processor and chat template."""

from pathlib import Path
from typing import Any

from PIL import Image

from genrec.errors import EngineError, WeightsError
from genrec.models.llm import WriteRequest
from genrec.models.loading import quiet
from genrec.models.pictures import shown

VISION = "vision_config"
"""What the configuration of a model that sees has."""


class Shower:
    """Puts a request with pictures into the model's own words: one message of a user, what is constant first."""

    def __init__(self, folder: Path, pixels: int) -> None:
        """`pixels`: of a picture, at most. Raises WeightsError where the folder has no processor with a chat template."""
        from transformers import AutoProcessor

        try:
            with quiet():
                self._processor: Any = AutoProcessor.from_pretrained(str(folder), local_files_only=True)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise WeightsError(f"{folder}: the model sees, but has no processor: {error}", hint=_WHOLE) from error
        if not getattr(self._processor, "chat_template", None):
            raise WeightsError(f"{folder}: the model sees, but its processor has no chat template", hint=_WHOLE)
        self._pixels = pixels

    def inputs(self, request: WriteRequest, longest: int) -> dict[str, Any]:
        """What the model's forward pass takes: `input_ids` (1, L), `attention_mask` (1, L), `pixel_values` and what else it
        needs. Raises MediaError for a picture that cannot be read, EngineError when L and what is to be written exceed `longest`.
        """
        made = self._made(request.prefix, request.prompt, [shown(path, self._pixels) for path in request.images])
        length = int(made["input_ids"].shape[1])
        if length + request.max_tokens > longest:
            raise EngineError(
                f"a prompt of {length} tokens with its pictures, {request.max_tokens} to write: the model takes {longest}",
                hint="Show fewer or smaller pictures (llm.image_pixels) or shorten the prompt.",
            )
        return made

    def sample(self) -> dict[str, Any]:
        """The same of a small picture, to try the model on."""
        return self._made("", "The picture shows", [Image.new("RGB", (32, 32), "red")])

    def _made(self, prefix: str, prompt: str, pictures: list[Image.Image]) -> dict[str, Any]:
        texts = [[{"type": "text", "text": text}] if text else [] for text in (prefix, prompt)]
        parts = [*texts[0], *({"type": "image"} for _ in pictures), *texts[1]]
        asked = self._processor.apply_chat_template([{"role": "user", "content": parts}], add_generation_prompt=True)
        return dict(self._processor(text=asked, images=[pictures], return_tensors="pt", add_special_tokens=False))


_WHOLE = "The folder must hold the model's processor and chat template beside its weights."
