"""The `vllm` engine: vLLM in this process. To serve several processes, take `genrec llm serve` and the `openai` engine."""

import asyncio
import contextlib
import importlib
import itertools
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np

from genrec.errors import AdapterError, ConfigError, EngineError
from genrec.llm.adapters import check_weights, unknown
from genrec.llm.background import Background, Send
from genrec.llm.constrained import parse_schema
from genrec.llm.packing import Tokens
from genrec.llm.protocol import Likelihood, ScoreRequest, Scores, WriteRequest, blind, check_whole
from genrec.llm.tokens import Tokenizer
from genrec.llm.vllm_options import engine_flags
from genrec.llm.vllm_prompts import AGREE, Answer, Call, Plan, Rows, conversation, plan, score, together, written
from genrec.models.encoders import model_id
from genrec.models.sources import Weights
from genrec.settings.sections import LlmSettings

_QUIET = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING", "VLLM_WORKER_MULTIPROC_METHOD": "spawn"}
"""Variables of vLLM that are set unless they are: no reports to its makers, no log of good news, no fork where threads run."""

_LOG = "vLLM's own log above says more; set VLLM_LOGGING_LEVEL=INFO for all of it."
_INSTALL = "pip install 'genrec[vllm]' for a GPU; docs/serving.md has the recipe for a CPU, and for an environment of its own."

Rendered = dict[str, Any]
"""A prompt that vLLM has rendered: token ids and pictures."""


class VLLMEngine:
    """`LLM` on vLLM. Safe to call from several tasks, threads and event loops; vLLM batches what arrives together.

    vLLM's engine core runs in a process of its own, which `close` ends (and which ends with this process). A program that opens
    one must guard its main part by `if __name__ == "__main__":`, as the core is spawned. All adapters are loaded at the start. At
    load the engine proves on a short text that scores read from the prompt are those of its next-token distribution.
    """

    def __init__(
        self,
        weights: Weights,
        adapters: Mapping[str, Path] | None = None,
        *,
        settings: LlmSettings,
        dtype: Literal["bfloat16", "float32"] = "bfloat16",
    ) -> None:
        """Load `weights`. `adapters`: name → folder. Raises EngineError when vLLM is not there or does not start, AdapterError
        for an adapter that it does not take, ConfigError for llm.options.
        """
        self._loras = dict(adapters or {})
        for folder in self._loras.values():
            check_weights(folder)
        self.id = model_id(weights)
        self._settings = settings
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        self._vllm = _module("vllm")
        self._cpu: bool = _module("vllm.platforms").current_platform.is_cpu()
        self._tokens = Tokenizer(weights.path, _no_server)
        flags = engine_flags(settings, dtype=dtype, adapters=self._loras, cpu=self._cpu)
        args = _engine_args(["--model", str(weights.path), "--disable-log-stats", *flags])
        self._number = itertools.count()
        self._background = Background("genrec-vllm")
        try:
            self._background.wait(self._start(args))
        except BaseException:
            self._background.close(self._end())
            raise

    @property
    def adapters(self) -> Sequence[str]:
        return tuple(self._loras)

    def count_tokens(self, text: str) -> int:
        return len(self._tokens.encode(text))

    async def block(self) -> int:
        return self._block or 1

    async def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        return await self._background.run(self._score(requests))

    async def write(self, requests: Sequence[WriteRequest]) -> list[str]:
        return await self._background.run(self._write(requests))

    def stream(self, request: WriteRequest) -> AsyncIterator[str]:
        return self._background.pieces(lambda send: self._stream(request, send))

    def close(self) -> None:
        """End the engine's processes; calls under way and later ones raise EngineError."""
        self._background.close(self._end())

    _engine: Any = None

    async def _start(self, args: Any) -> None:
        """vLLM's engine, its adapters loaded, proved."""
        try:
            with _refusals():
                self._engine = self._vllm.AsyncLLMEngine.from_engine_args(args)
        except (RuntimeError, ValueError, OSError, NotImplementedError, ImportError, AssertionError, TypeError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise EngineError(f"vLLM does not start with {self.id}: {first}", hint=_LOG) from error
        config = self._engine.vllm_config
        self.max_tokens = int(config.model_config.max_model_len)
        self._kind: Rows = "ids" if config.use_v2_model_runner else "own"
        shows = self._engine.renderer.mm_processor
        self.sees = shows is not None and shows.info.allowed_mm_limits.get("image", 0) > 0
        self._block = int(config.cache_config.block_size or 0)
        self._room = asyncio.Semaphore(2 * self._settings.max_num_seqs)
        request = _module("vllm.lora.request").LoRARequest
        self._lora_requests = {
            name: request(lora_name=name, lora_int_id=number, lora_path=str(folder))
            for number, (name, folder) in enumerate(self._loras.items(), 1)
        }
        for name, lora in self._lora_requests.items():
            (outcome,) = await asyncio.gather(
                self._engine.add_lora(lora), return_exceptions=True
            )  # vLLM raises a plain Exception
            if isinstance(outcome, BaseException) or not outcome:
                raise AdapterError(f"vLLM does not take adapter {name} ({lora.lora_path}): {outcome}", hint=_LOG)
        await self._prove()

    async def _end(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.shutdown()

    async def _prove(self) -> None:
        """Compare scores out of the prompt with next-token scores, the first time and from the cache."""
        request = Likelihood(
            prefix="A list of films:\n" * 4,
            context="- Alien\n- ",
            continuations=("Aliens\n", "Blade Runner, The Thing, The Fly\n"),
        )
        for _ in range(2):
            mine, plain = (plan(request, self._tokens.encode, self.max_tokens) for _ in range(2))
            await self._scored(mine)
            for call in plain.calls(1, self._kind):
                plain.take(call, await self._told(request, call))
            if not np.allclose(mine.values, plain.values, rtol=0, atol=AGREE):
                found = f"{mine.values.round(3).tolist()} out of the prompt and {plain.values.round(3).tolist()} one by one"
                raise EngineError(f"vLLM scores {found}", hint="Take a full-attention causal LM (Llama, Qwen, SmolLM …).")

    async def _score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        plans = [self._plan(request) for request in requests]
        return await together(self._scored(one) for one in plans)

    def _plan(self, request: ScoreRequest) -> Plan:
        self._check_adapter(request)
        return plan(request, self._tokens.encode, self.max_tokens)

    async def _scored(self, one: Plan) -> Scores:
        async def send(calls: Sequence[Call]) -> list[Answer]:
            return await together(self._told(one.request, call) for call in calls)

        return await score(one, send, self._kind, self._block)

    async def _told(self, request: ScoreRequest, call: Call) -> Answer:
        output = await self._last(request, call.tokens, call.sampling(self._kind))
        cached, rows = output.num_cached_tokens or 0, None
        if len(call.reads) > 1 and self._kind == "ids":
            rows = output.prompt_token_id_logprobs
        elif len(call.reads) > 1 and cached <= call.start:
            rows = call.own_rows([one and {token: said.logprob for token, said in one.items()} for one in output.prompt_logprobs])
        following = output.outputs[0].logprobs
        told = {token: said.logprob for token, said in following[0].items()} if following else {}
        return Answer(rows=rows, next=told, cached_tokens=cached)

    async def _write(self, requests: Sequence[WriteRequest]) -> list[str]:
        prompts = [await self._input(request) for request in requests]  # all fit before the first is written
        return await together(self._text(request, *prompt) for request, prompt in zip(requests, prompts, strict=True))

    async def _text(self, request: WriteRequest, tokens: Tokens | Rendered, params: Mapping[str, Any]) -> str:
        text = str((await self._last(request, tokens, params)).outputs[0].text)
        check_whole(request, text)
        return text

    async def _stream(self, request: WriteRequest, send: Send) -> None:
        tokens, params = await self._input(request)
        whole = ""
        async for output in self._outputs(request, tokens, params, "DELTA"):
            whole += (piece := output.outputs[0].text)
            if piece:
                send(piece)
        check_whole(request, whole)

    async def _input(self, request: WriteRequest) -> tuple[Tokens | Rendered, dict[str, Any]]:
        tokens, params = self._prompt(request)
        return (await self._shown(request) if request.images else tokens), params

    async def _shown(self, request: WriteRequest) -> Rendered:
        """A prompt with pictures as the model's chat template has it, ready for vLLM."""
        if not self.sees:
            raise blind(self.id)
        messages = await asyncio.to_thread(conversation, request, self._settings.image_pixels)
        renderer = self._engine.renderer
        given = {"add_generation_prompt": True, "continue_final_message": False, "tokenize": False}
        how = _module("vllm.renderers.params").ChatParams(chat_template_kwargs=given)
        extras = {"cache_salt": request.salt} if request.salt else {}
        try:
            with _refusals():
                _, (shown,) = await renderer.render_chat_async(
                    [messages],
                    how,
                    renderer.default_chat_tok_params.with_kwargs(add_special_tokens=False),
                    prompt_extras=extras,
                    skip_mm_cache=True,  # it believes that the core has a picture though its request was given up, and kills it
                )
        except ValueError as error:  # no chat template, or one that fails
            raise EngineError(f"{self.id} cannot be shown a picture: {error}", hint=_LOG) from error
        return shown

    def _prompt(self, request: WriteRequest) -> tuple[Tokens, dict[str, Any]]:
        self._check_adapter(request)
        if request.schema:
            parse_schema(request.schema)
        return written(request, self._tokens.encode, self.max_tokens)

    def _check_adapter(self, request: ScoreRequest | WriteRequest) -> None:
        if request.adapter and request.adapter not in self._loras:
            raise unknown(request.adapter, self._loras)

    async def _last(self, request: ScoreRequest | WriteRequest, tokens: Tokens | Rendered, params: Mapping[str, Any]) -> Any:
        """vLLM's final output for one prompt."""
        outputs = [output async for output in self._outputs(request, tokens, params, "FINAL_ONLY")]
        if not outputs:
            raise EngineError("vLLM gave no answer", hint=_LOG, retryable=True)
        return outputs[-1]

    async def _outputs(
        self, request: ScoreRequest | WriteRequest, tokens: Tokens | Rendered, params: Mapping[str, Any], kind: str
    ) -> AsyncIterator[Any]:
        sampling = _module("vllm.sampling_params")
        values = dict(params, output_kind=sampling.RequestOutputKind[kind])
        if "structured_outputs" in values:
            values["structured_outputs"] = sampling.StructuredOutputsParams(**values["structured_outputs"])
        prompt = tokens
        if isinstance(tokens, list):
            prompt = _module("vllm.inputs").tokens_input(tokens, cache_salt=request.salt or None)
        try:
            with _refusals():
                async with self._room, asyncio.timeout(self._settings.timeout_s):
                    outputs = self._engine.generate(
                        prompt,
                        sampling.SamplingParams(**values),
                        f"genrec-{next(self._number)}",
                        lora_request=self._lora_requests.get(request.adapter),
                    )
                    async with contextlib.aclosing(outputs):
                        async for output in outputs:
                            if output.outputs[0].finish_reason not in (None, "stop", "length"):
                                raise EngineError(f"vLLM ended by {output.outputs[0].finish_reason}", hint=_LOG, retryable=True)
                            yield output
        except TimeoutError as error:
            raise EngineError(
                f"vLLM gave no answer to a prompt within {self._settings.timeout_s:g} s",
                hint="Raise llm.timeout_s.",
                retryable=True,
            ) from error


def _module(name: str) -> Any:
    """A module of vLLM, which is not among what genrec needs. Raises EngineError when it is not installed or cannot be loaded."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "vllm"
        what = "vLLM is not installed" if missing else f"vLLM cannot be loaded: {error}"
        raise EngineError(what, hint=_INSTALL) from error


def _engine_args(flags: Sequence[str]) -> Any:
    """vLLM's engine arguments. Raises ConfigError for one that it does not know, which can only be among llm.options."""
    args = _module("vllm.engine.arg_utils").AsyncEngineArgs
    parent = _module("vllm.utils.argparse_utils").FlexibleArgumentParser

    class Parser(parent):
        def error(self, message: str) -> NoReturn:
            raise ConfigError(f"llm.options: {message}", hint="`vllm serve --help=all` lists what vLLM takes.")

    parser = args.add_cli_args(Parser())
    return args.from_cli_args(parser.parse_args(list(flags)))


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Turn vLLM's errors into EngineError."""
    dead = _module("vllm.v1.engine.exceptions").EngineDeadError
    errors = _module("vllm.exceptions")
    try:
        yield
    except dead as error:
        raise EngineError("vLLM's engine has died", hint=f"Open the recommender again. {_LOG}") from error
    except errors.VLLMClientError as error:
        raise EngineError(f"vLLM refused: {error}", hint="See docs/serving.md for what it takes.") from error
    except errors.VLLMError as error:
        raise EngineError(f"vLLM failed: {error.__cause__ or error}", hint=_LOG, retryable=True) from error


async def _no_server(text: str) -> Tokens:
    raise EngineError(f"no tokens of {text!r:.60}", hint="The weights' folder must hold their tokenizer.")
