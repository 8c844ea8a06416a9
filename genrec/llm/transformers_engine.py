"""The `transformers` engine: any full-attention causal LM of the hub, in this process, on CPU or GPU."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from genrec.errors import AdapterError, EngineError, WeightsError
from genrec.llm.adapters import unknown
from genrec.llm.background import Batcher, Job
from genrec.llm.constrained import Grammars
from genrec.llm.decoding import Text, apart, write, write_shown
from genrec.llm.forward import Forward, LoraSwitch
from genrec.llm.packing import Row, pack, prompt_of
from genrec.llm.protocol import Likelihood, ScoreRequest, Scores, WriteRequest, blind
from genrec.models.encoders import Device, model_id, pick_device
from genrec.models.pictures import shown
from genrec.models.sources import Weights, quiet

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


BATCH_TOKENS = {"cpu": 1024, "cuda": 16_384}

PROOF_NATS = 0.3
"""By so much may a log-probability differ from the model's own, in bf16."""
_SERVE = 'Serve it by vLLM: llm.engine = "openai", see docs/serving.md.'
_TAKE = "Take a full-attention causal LM (Llama, Qwen, SmolLM …)."


class TransformersLLM:
    """`LLM` on transformers. Safe to call from several tasks and threads: calls that meet are computed as one batch.

    The engine reads hidden states of packed rows (tree attention) and applies the output head itself. At load it proves on a
    short text that this gives the model's own log-probabilities; a model where it does not (state-space layers, ALiBi, scaled
    logits) is refused with an EngineError. A model with sliding windows is used up to the length of its window.

    An adapter's weights are loaded when the first request asks for it. What arrives together is computed adapter by adapter.

    A model that sees (`AutoModelForImageTextToText`) ranks and writes as any other; texts of requests that show pictures are
    decoded one by one, through its chat template. That, too, is proved at load, by the model's own `generate`.
    """

    def __init__(
        self,
        weights: Weights,
        adapters: Mapping[str, Path] | None = None,
        *,
        device: Device = "auto",
        dtype: Literal["bfloat16", "float32"] = "bfloat16",
        batch_tokens: int = 0,
        image_pixels: int = 262_144,
    ) -> None:
        """Load `weights`. `adapters`: name → folder of the LoRA adapters that requests may ask for. `batch_tokens`: most tokens
        in one forward pass (0: by device). `image_pixels`: of a picture that is shown, at most. Raises WeightsError, AdapterError
        or EngineError.
        """
        self.id = model_id(weights)
        where = pick_device(device)
        self._tokenizer, model = _load(weights.path, where, getattr(torch, dtype))
        self._shower = Shower(weights.path, image_pixels) if hasattr(model.config, VISION) else None
        lora = LoraSwitch(model, adapters or {})
        self.adapters = lora.names
        self._forward = Forward(model, lora, batch_tokens=batch_tokens or BATCH_TOKENS[where])
        self.max_tokens = longest_prompt(model.config.get_text_config())
        ends = model.generation_config.eos_token_id if model.generation_config else None
        ends = [*(ends if isinstance(ends, list) else [ends]), self._tokenizer.eos_token_id]
        self._ends = frozenset(int(end) for end in ends if end is not None)
        self._encoded: dict[str, list[int]] = {}
        self._batcher: Batcher[Row | Text] = Batcher(self._run, "genrec-llm")
        self._prove()
        if self._shower is not None:
            self._prove_shown()

    @property
    def sees(self) -> bool:
        return self._shower is not None

    def count_tokens(self, text: str) -> int:
        return len(self._encode(text))

    async def block(self) -> int:
        return 1

    async def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        # packed here, not in the batch: a request that does not fit must not fail the others
        futures = self._batcher.submit([self._row(request) for request in requests])
        return list(await asyncio.gather(*(asyncio.wrap_future(future) for future in futures)))

    async def write(self, requests: Sequence[WriteRequest]) -> list[str]:
        texts = await self._texts(requests, lambda piece: None)
        await asyncio.sleep(0)  # calls of other tasks make their grammars first: the first text would be decoded alone
        futures = self._batcher.submit(texts)
        return list(await asyncio.gather(*(asyncio.wrap_future(future) for future in futures)))

    async def stream(self, request: WriteRequest) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        send = pieces.put_nowait
        (future,) = self._batcher.submit(await self._texts([request], lambda piece: _call(loop, send, piece)))
        future.add_done_callback(lambda _: _call(loop, send, None))  # the end of the pieces
        while (piece := await pieces.get()) is not None:
            yield piece
        await asyncio.wrap_future(future)

    def close(self) -> None:
        self._batcher.close()

    def _run(self, jobs: list[Job[Any]]) -> None:
        """One batch: scores first, they are short and a list waits for them; then the texts."""
        for group in _grouped([job for job in jobs if isinstance(job.request, Row)], lambda job: job.request.request.adapter):
            if self._switch(group):
                for job, scores in zip(group, self._forward.score([job.request for job in group]), strict=True):
                    job.done.set_result(scores)
        writing = [job for job in jobs if isinstance(job.request, Text)]
        for job in [job for job in writing if job.request.shown is not None]:
            if self._switch([job]):
                job.request.on_end, job.request.on_fault = job.done.set_result, job.done.set_exception
                write_shown(self._forward, job.request, self._decode, self._ends)
        writing = [job for job in writing if job.request.shown is None]
        for group in _grouped(writing, lambda job: _start_of(job.request.request)):
            if self._switch(group):
                texts = []
                for job in group:
                    job.request.on_end, job.request.on_fault = job.done.set_result, job.done.set_exception
                    texts.append(job.request)
                write(self._forward, self._encode(texts[0].request.prefix), texts, self._decode, self._ends)

    def _switch(self, group: list[Job[Any]]) -> bool:
        """Put the adapter of a group of jobs in use; when it cannot be, only these jobs fail."""
        try:
            self._forward.use(group[0].request.request.adapter)
        except AdapterError as error:
            for job in group:
                job.done.set_exception(error)
            return False
        return True

    def _row(self, request: ScoreRequest) -> Row:
        self._check_adapter(request)
        return pack(request, self._encode, self.max_tokens)

    def _check_adapter(self, request: ScoreRequest | WriteRequest) -> None:
        if request.adapter and request.adapter not in self.adapters:
            raise unknown(request.adapter, self.adapters)

    async def _texts(self, requests: Sequence[WriteRequest], on_piece: Any) -> list[Text]:
        """Pictures are read on another thread."""
        if any(request.images for request in requests):
            return await asyncio.to_thread(lambda: [self._text(request, on_piece) for request in requests])
        return [self._text(request, on_piece) for request in requests]

    def _text(self, request: WriteRequest, on_piece: Any) -> Text:
        self._check_adapter(request)
        if request.images and self._shower is None:
            raise blind(self.id)
        prompt = prompt_of(request, self._encode, self.max_tokens)
        shown = self._shower.inputs(request, self.max_tokens) if request.images and self._shower else None
        constraint = self._grammars.constraint(request.schema) if request.schema else None
        return Text(
            request=request,
            prompt=prompt,
            on_piece=on_piece,
            on_end=lambda text: None,
            on_fault=lambda error: None,
            constraint=constraint,
            shown=shown,
        )

    @cached_property
    def _grammars(self) -> Grammars:
        return Grammars(self._tokenizer, self._ends)

    def _encode(self, text: str) -> list[int]:
        tokens = self._encoded.get(text)
        if tokens is None:
            tokens = list(self._tokenizer(text, add_special_tokens=False)["input_ids"])
            if len(self._encoded) > 20_000:  # titles and instructions come again and again
                self._encoded.clear()
            self._encoded[text] = tokens
        return tokens

    def _decode(self, tokens: list[int]) -> str:
        return self._tokenizer.decode(tokens, skip_special_tokens=True)

    @torch.inference_mode()
    def _prove(self) -> None:
        """Compare packed scoring with the model's own logits on a short text of two branches."""
        request = Likelihood(prefix="A list of films:\n", context="- Alien\n- ", continuations=("Aliens\n", "The Thing\n"))
        row = pack(request, self._encode, self.max_tokens)
        try:
            fast = self._forward.score([row])[0].logp
            plain = [self._plain(row.shared, self._encode(text)) for text in request.continuations]
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
            raise EngineError(f"{self.id} cannot score packed rows: {type(error).__name__}: {error}", hint=_TAKE) from error
        for got, own in zip(fast, plain, strict=True):
            if not np.isclose(got, own, rtol=0.05, atol=PROOF_NATS):
                raise EngineError(
                    f"{self.id} scores {got:.3f} where its own logits give {own:.3f}: it is not a plain full-attention model",
                    hint=_TAKE,
                )

    def _prove_shown(self) -> None:
        """Compare decoding behind a picture, token by token, with the model's whole forward pass."""
        try:
            difference = apart(self._forward, self._shower.sample() if self._shower else {})
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
            raise EngineError(f"{self.id} cannot be shown a picture: {type(error).__name__}: {error}", hint=_SERVE) from error
        if not difference < PROOF_NATS:
            raise EngineError(f"{self.id} decodes {difference:.3f} nats off its own pass behind a picture", hint=_SERVE)

    def _plain(self, shared: list[int], target: list[int]) -> float:
        """log p(target | shared) by the model's own logits, nothing packed."""
        ids = torch.tensor([shared + target], device=self._forward.device)
        logp = self._forward.model(input_ids=ids).logits[0].float().log_softmax(-1)
        return float(logp[range(len(shared) - 1, ids.shape[1] - 1), target].sum())


def _load(folder: Path, device: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """Tokenizer and model, in eval mode. Raises WeightsError."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer

    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
            config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
            kind: Any = AutoModelForImageTextToText if hasattr(config, VISION) else AutoModelForCausalLM
            return tokenizer, kind.from_pretrained(str(folder), dtype=dtype, device_map=device, local_files_only=True).eval()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise WeightsError(f"{folder}: {error}", hint="The folder must hold a transformers causal LM.") from error


def longest_prompt(config: Any) -> int:
    """Tokens up to which every layer of a model of this configuration sees the whole prompt."""
    longest = int(getattr(config, "max_position_embeddings", None) or 2048)
    kinds = getattr(config, "layer_types", None)
    if kinds is None or any(kind != "full_attention" for kind in kinds):
        windows = (getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size"))
        longest = min([longest, *(int(window) for window in windows if window)])
    return longest


def _start_of(request: WriteRequest) -> tuple[str, str, str]:
    """Texts for which this is equal are decoded side by side."""
    return request.adapter, request.salt, request.prefix


def _grouped(jobs: list[Job[Any]], key: Callable[[Job[Any]], Any]) -> Iterator[list[Job[Any]]]:
    for _, group in itertools.groupby(sorted(jobs, key=key), key=key):
        yield list(group)


def _call(loop: asyncio.AbstractEventLoop, function: Any, value: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for this text any more
        loop.call_soon_threadsafe(function, value)
