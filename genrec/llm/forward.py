"""The sums behind the `transformers` engine: packed scoring and batched decoding, on one thread, without gradients."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig
from peft.functional import delete_adapter, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import DynamicCache

from genrec.errors import AdapterError, EngineError
from genrec.llm.adapters import WEIGHTS, check_weights, unknown
from genrec.llm.packing import Row, batches
from genrec.llm.protocol import Labels, Likelihood, Scores

KEEP = 24
"""Prefixes kept; one of 300 tokens is 7 MB for SmolLM2-135M in bf16."""

Scope = tuple[str, str]
"""(adapter, salt)"""


@dataclass(frozen=True, slots=True)
class Prefix:
    """`tokens` and, for each layer, (keys, values) of shape (1, heads, len(tokens), head_dim)."""

    tokens: np.ndarray  # (length,) int64
    layers: tuple[tuple[Any, Any], ...]
    scope: Scope = ("", "")


EMPTY = Prefix(np.zeros(0, dtype=np.int64), ())


class PrefixCache:
    """The most recently used prefixes, found by longest common start (as the radix cache of SGLang, Zheng et al. 2024)."""

    def __init__(self, keep: int = KEEP) -> None:
        self._keep = keep
        self._entries: OrderedDict[tuple[Scope, bytes], Prefix] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, tokens: np.ndarray, scope: Scope = ("", "")) -> tuple[Prefix, int]:
        """The kept prefix of `scope` that shares most leading tokens with `tokens`, and how many; (EMPTY, 0) for none."""
        best, length, best_key = EMPTY, 0, None
        for key, entry in self._entries.items():
            if entry.scope != scope:
                continue
            n = min(len(entry.tokens), len(tokens))
            same = entry.tokens[:n] == tokens[:n]
            common = n if same.all() else int(same.argmin())
            if common > length or (common == length and length and len(entry.tokens) < len(best.tokens)):
                best, length, best_key = entry, common, key
        if best_key is not None:
            self._entries.move_to_end(best_key)
        return best, length

    def put(self, prefix: Prefix) -> None:
        key = (prefix.scope, prefix.tokens.tobytes())
        self._entries[key] = prefix
        self._entries.move_to_end(key)
        while len(self._entries) > self._keep:
            self._entries.popitem(last=False)

    def has(self, tokens: np.ndarray, scope: Scope = ("", "")) -> bool:
        return (scope, tokens.tobytes()) in self._entries


class LoraSwitch:
    """Switches a model between its adapters. The model is left as it is until the first adapter is asked for.

    The adapters' weights are held in the dtype of the layers that they sit on. Nothing is merged: the base weights stay as
    they are, so that requests for the base and for several adapters can follow one another.
    """

    def __init__(self, model: Any, adapters: Mapping[str, Path]) -> None:
        """`adapters`: name → folder in PEFT's layout. Raises AdapterError for a folder that cannot be served."""
        self._model = model
        self._paths = dict(adapters)
        self._inner: dict[str, str] = {}  # name → PEFT's name; a module's name may hold no dot
        self._layers: list[BaseTunerLayer] = []
        self.current = ""
        for path in self._paths.values():
            check_weights(path)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._paths)

    def use(self, name: str) -> None:
        """Make `name` active; empty: the base model. Raises AdapterError; the base model is then in use."""
        if name == self.current:
            return
        try:
            if name and name not in self._inner:
                self._load(name)
        except AdapterError:
            self._activate("")
            raise
        self._activate(name)

    def _activate(self, name: str) -> None:
        for layer in self._layers:
            layer.enable_adapters(bool(name))
            if name:
                layer.set_adapter(self._inner[name], inference_mode=True)
        self.current = name

    @torch.inference_mode(False)  # the parameters outlive the call that needs them first
    def _load(self, name: str) -> None:
        if name not in self._paths:
            raise unknown(name, self._paths)
        path, inner = self._paths[name], f"adapter{len(self._inner)}"
        check_weights(path)
        hint = "Is it an adapter of another base model? `genrec adapters list` shows what each was trained on."
        try:
            config = LoraConfig.from_pretrained(str(path))
            config.inference_mode = True
            weights = load_file(path / WEIGHTS, device=str(self._model.device))
            inject_adapter_in_model(config, self._model, adapter_name=inner)
            result = set_peft_model_state_dict(self._model, weights, adapter_name=inner)
            lacking = [key for key in result.missing_keys if f".{inner}." in key]
            if result.unexpected_keys or lacking:
                raise ValueError(f"weights for other layers: {(result.unexpected_keys or lacking)[0]}")
        except (OSError, SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:
            self._remove(inner)
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise AdapterError(f"adapter {name} ({path}) does not fit the model: {first}", hint=hint) from error
        finally:
            self._model.__dict__.pop("peft_config", None)  # PEFT warns when a model that has one gets a second adapter
            self._layers = self._tuned()
        self._inner[name] = inner

    def _remove(self, inner: str) -> None:
        """Take out what was put in before a fault showed."""
        for layer in self._tuned():
            layer.set_adapter([], inference_mode=True)  # PEFT warns when it deletes an active one
        delete_adapter(self._model, inner, prefix="lora_")

    def _tuned(self) -> list[BaseTunerLayer]:
        return [module for module in self._model.modules() if isinstance(module, BaseTunerLayer)]


HEAD_ROWS = 256  # positions of the output head at once: 256 x 49,152 float32 = 50 MB
INTERACTIVE_ROWS = 4  # calls of at most this many rows keep their context's keys and values for the next call


class Forward:
    """Model, cache and budget of one engine. What it computes is with the adapter last given to `use`."""

    def __init__(self, model: Any, lora: LoraSwitch, *, batch_tokens: int) -> None:
        self.model = model
        self.use = lora.use
        self._lora = lora
        self.device = model.device
        self.batch_tokens = batch_tokens
        self.cache = PrefixCache()
        # float32 logits: a bf16 logit near 16 is rounded to 1/16, more than two candidates often differ by
        self.head = model.get_output_embeddings().weight.detach().float()  # (V, d)

    @torch.inference_mode()
    def score(self, rows: Sequence[Row]) -> list[Scores]:
        """Scores of packed rows, in their order, with the adapter in use: the rows' own adapter must be that one."""
        for salt, prefix in {(row.request.salt, tuple(row.prefix)) for row in rows if len(row.prefix) > 1}:
            self.keep(np.asarray(prefix, dtype=np.int64), salt)
        shared = [np.asarray(row.shared, dtype=np.int64) for row in rows]
        # at least the last shared token is computed: the first token of every continuation is read from it
        scopes = [self._scope(row.request.salt) for row in rows]
        found = [self.cache.find(tokens[:-1], scope) for tokens, scope in zip(shared, scopes, strict=True)]
        results: list[Scores | None] = [None] * len(rows)
        by_entry: dict[int, list[int]] = {}
        for index, (entry, _) in enumerate(found):
            by_entry.setdefault(id(entry), []).append(index)
        for members in by_entry.values():
            entry = found[members[0]][0]
            lengths = [len(rows[i].tokens) - found[i][1] for i in members]
            for group in batches(lengths, self.batch_tokens):
                chosen = [members[position] for position in group]
                skips = [found[i][1] for i in chosen]
                hidden, cache = self._run(entry, [rows[i] for i in chosen], skips)
                for place, i in enumerate(chosen):
                    results[i] = self._read(rows[i], hidden[place], skips[place])
                    if len(rows) <= INTERACTIVE_ROWS:
                        self._keep_shared(shared[i], scopes[i], entry, skips[place], cache, place)
        return [result for result in results if result is not None]

    @torch.inference_mode()
    def keep(self, tokens: np.ndarray, salt: str = "") -> Prefix:
        """Compute and keep the keys and values of `tokens`, unless they are there."""
        scope = self._scope(salt)
        entry, length = self.cache.find(tokens, scope)
        if length == len(tokens) == len(entry.tokens):
            return entry
        cache: Any = DynamicCache()
        self.model.base_model(input_ids=torch.as_tensor(tokens, device=self.device)[None], past_key_values=cache, use_cache=True)
        entry = Prefix(tokens, tuple((layer.keys, layer.values) for layer in cache.layers), scope)
        self.cache.put(entry)
        return entry

    def _scope(self, salt: str) -> Scope:
        return self._lora.current, salt

    def past(self, entry: Prefix, rows: int) -> DynamicCache:
        """The cache of a batch of `rows` that all start from `entry`."""
        return DynamicCache([(k.expand(rows, -1, -1, -1), v.expand(rows, -1, -1, -1)) for k, v in entry.layers])

    def _run(self, entry: Prefix, rows: list[Row], skips: list[int]) -> tuple[torch.Tensor, DynamicCache]:
        """Hidden states (B, L, d) of the tokens after each row's skip, and the cache they left."""
        length = max(len(row.tokens) - skip for row, skip in zip(rows, skips, strict=True))
        past = len(entry.tokens)
        tokens = np.zeros((len(rows), length), dtype=np.int64)
        positions = np.zeros_like(tokens)
        branches = np.full_like(tokens, -1)  # padding is nobody's branch
        for b, (row, skip) in enumerate(zip(rows, skips, strict=True)):
            n = len(row.tokens) - skip
            tokens[b, :n], positions[b, :n], branches[b, :n] = row.tokens[skip:], row.positions[skip:], row.branches[skip:]
        same = branches[:, :, None] == branches[:, None, :]
        visible = np.tril(np.ones((length, length), dtype=bool)) & (same | (branches[:, None, :] == 0))
        if past:
            reach = np.arange(past)[None, None, :] < np.asarray(skips)[:, None, None]
            visible = np.concatenate([np.broadcast_to(reach, (len(rows), length, past)), visible], axis=2)
        cache = self.past(entry, len(rows)) if past else DynamicCache()
        output = self.model.base_model(
            input_ids=torch.from_numpy(tokens).to(self.device),
            position_ids=torch.from_numpy(positions).to(self.device),
            attention_mask=torch.from_numpy(visible)[:, None].to(self.device),
            past_key_values=cache,
            use_cache=True,
        )
        return output.last_hidden_state, cache

    def _read(self, row: Row, hidden: torch.Tensor, skip: int) -> Scores:
        at, inverse = np.unique(np.asarray(row.read_at) - skip, return_inverse=True)
        states = hidden[torch.from_numpy(at).to(self.device)].to(self.head.dtype)  # (U, d)
        computed = len(row.tokens) - skip
        if isinstance(row.request, Likelihood):
            per_read = self._token_logp(states, inverse, np.asarray(row.targets))
            logp = np.bincount(row.read_for, weights=per_read, minlength=row.entries)
            tokens = np.bincount(row.read_for, minlength=row.entries)
        else:
            head = self.head[torch.as_tensor(row.choices, device=self.device)]  # (c, d): only the rows that are asked for
            logits = (states @ head.T)[torch.from_numpy(inverse).to(self.device)]
            # two markers: the difference of their log-probabilities is the difference of their logits
            values = logits[0].log_softmax(0) if isinstance(row.request, Labels) else logits[:, 0] - logits[:, 1]
            logp = values.cpu().numpy()
            tokens = np.ones(row.entries, dtype=np.int64)
        if not np.isfinite(logp).all():
            raise EngineError(
                "the model gave scores that are not numbers", hint="Use models.dtype = float32, or check the weights."
            )
        return Scores(logp=logp.astype(np.float32), tokens=tokens.astype(np.int32), prompt_tokens=computed, cached_tokens=skip)

    def _token_logp(self, states: torch.Tensor, inverse: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """log p of each target (R,) float64 from its hidden state; the head runs once for a state read several times."""
        out = np.empty(len(targets))
        for start in range(0, len(states), HEAD_ROWS):
            logits = states[start : start + HEAD_ROWS] @ self.head.T
            norm = logits.logsumexp(-1)
            mine = np.flatnonzero((inverse >= start) & (inverse < start + HEAD_ROWS))
            rows = torch.from_numpy(inverse[mine] - start).to(self.device)
            picked = logits[rows, torch.from_numpy(targets[mine]).to(self.device)] - norm[rows]
            out[mine] = picked.double().cpu().numpy()
        return out

    def _keep_shared(self, shared: np.ndarray, scope: Scope, entry: Prefix, skip: int, cache: Any, place: int) -> None:
        if self.cache.has(shared, scope):
            return
        past, fresh = len(entry.tokens), len(shared) - skip
        layers = []
        for layer in cache.layers:
            parts = [
                torch.cat([tensor[place : place + 1, :, :skip], tensor[place : place + 1, :, past : past + fresh]], dim=2)
                for tensor in (layer.keys, layer.values)
            ]
            layers.append((parts[0], parts[1]))
        self.cache.put(Prefix(shared, tuple(layers), scope))
