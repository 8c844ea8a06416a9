"""Batched decoding: many short texts at once, each handed out as soon as it ends."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from genrec.errors import EngineError, UnfinishedError
from genrec.llm.constrained import Constraint
from genrec.llm.forward import Forward
from genrec.llm.protocol import WriteRequest

ROWS = 32  # texts decoded side by side
UNFINISHED = "\ufffd"  # a character whose bytes are not all there yet


@dataclass(slots=True)
class Text:
    """One text being written. `on_piece` gets what is new, `on_end` the whole text without its stop string, `on_fault` why
    there is none.
    """

    request: WriteRequest
    prompt: list[int]
    on_piece: Callable[[str], None]
    on_end: Callable[[str], None]
    on_fault: Callable[[EngineError], None]
    constraint: Constraint | None = None
    shown: Mapping[str, torch.Tensor] | None = None
    """Where the request shows pictures: what the model's forward pass takes, the prompt included."""
    tokens: list[int] = field(default_factory=list)
    sent: int = 0
    generator: torch.Generator | None = None


def write(
    forward: Forward, prefix: Sequence[int], texts: list[Text], decode: Callable[[list[int]], str], ends: frozenset[int]
) -> None:
    """Decode `texts`, which all start with the constant tokens `prefix` and have one salt; `ends` are the tokens that end a text.

    The adapter in use must be the texts' own.
    """
    order = sorted(texts, key=lambda text: len(text.prompt))
    for start in range(0, len(order), ROWS):
        _write_batch(forward, np.asarray(prefix, dtype=np.int64), order[start : start + ROWS], decode, ends)


@torch.inference_mode()
def _write_batch(
    forward: Forward, prefix: np.ndarray, texts: list[Text], decode: Callable[[list[int]], str], ends: frozenset[int]
) -> None:
    device = forward.device
    length = max(len(text.prompt) for text in texts)
    tokens = np.zeros((len(texts), length), dtype=np.int64)
    mask = np.zeros((len(texts), len(prefix) + length), dtype=np.int64)
    mask[:, : len(prefix)] = 1
    for row, text in enumerate(texts):  # padding goes between the prefix and the prompt, so that all prompts end together
        tokens[row, length - len(text.prompt) :] = text.prompt
        mask[row, len(prefix) + length - len(text.prompt) :] = 1
        text.generator = torch.Generator(device=device).manual_seed(text.request.seed)
    seen = torch.from_numpy(mask).to(device)
    positions = (seen.cumsum(1) - 1).clamp_min(0)[:, len(prefix) :]
    cache = forward.past(forward.keep(prefix, texts[0].request.salt), len(texts)) if len(prefix) else None
    inputs = torch.from_numpy(tokens).to(device)
    alive = list(texts)
    while alive:
        output = forward.model.base_model(
            input_ids=inputs, attention_mask=seen, position_ids=positions, past_key_values=cache, use_cache=True
        )
        cache = output.past_key_values
        logits = forward.model.get_output_embeddings()(output.last_hidden_state[:, -1]).float()  # (B, V)
        chosen = [_next(logits[row], text, decode, ends) for row, text in enumerate(alive)]
        going = [row for row, token in enumerate(chosen) if token is not None]
        if len(going) < len(alive):  # rows that ended leave the batch
            keep = torch.as_tensor(going, device=device, dtype=torch.long)
            cache.batch_select_indices(keep)
            seen, positions = seen[keep], positions[keep]
            alive = [alive[row] for row in going]
        if alive:
            inputs = torch.as_tensor([token for token in chosen if token is not None], device=device)[:, None]
            if len(alive) == 1:  # what its grammar forces goes through the model together with what was chosen
                forced = _forced(alive[0], decode, ends)
                if forced is None:
                    return
                inputs = torch.cat([inputs, inputs.new_tensor([forced])], dim=1) if forced else inputs
            width = inputs.shape[1]
            positions = positions[:, -1:] + torch.arange(1, width + 1, device=device)
            seen = torch.cat([seen, seen.new_ones((len(alive), width))], dim=1)


@torch.inference_mode()
def write_shown(forward: Forward, text: Text, decode: Callable[[list[int]], str], ends: frozenset[int]) -> None:
    """Decode a text whose request shows pictures, with the adapter in use."""
    text.generator = torch.Generator(device=forward.device).manual_seed(text.request.seed)
    going = _following(forward, text.shown or {})
    logits = next(going)
    while (token := _next(logits, text, decode, ends)) is not None:
        logits = going.send(token)


def _following(forward: Forward, shown: Mapping[str, torch.Tensor]) -> Generator[torch.Tensor, int, None]:
    """Logits (V,) float32 of what comes next, then after each token that is sent."""
    model = forward.model
    given = _on_device(forward, shown)
    seen = given["attention_mask"]
    output = model.base_model(**given, use_cache=True)
    while True:
        token = yield model.get_output_embeddings()(output.last_hidden_state[0, -1]).float()
        seen = torch.cat([seen, seen.new_ones((1, 1))], dim=1)
        last = torch.tensor([[token]], device=forward.device)
        output = model.base_model(input_ids=last, attention_mask=seen, past_key_values=output.past_key_values, use_cache=True)


def _on_device(forward: Forward, shown: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As the model takes them: there, numbers with a fraction in its own precision."""
    dtype = forward.model.dtype
    return {name: part.to(forward.device, dtype if part.is_floating_point() else part.dtype) for name, part in shown.items()}


@torch.inference_mode()
def apart(forward: Forward, shown: Mapping[str, torch.Tensor], steps: int = 3) -> float:
    """Greatest difference, in nats, between the log-probabilities of greedy tokens decoded so and by the model's whole pass."""
    given, found = _on_device(forward, shown), 0.0
    width = given["input_ids"].shape[1]
    going = _following(forward, shown)
    logits = next(going)
    for _ in range(steps):
        own = forward.model(**given).logits[0, -1].float().log_softmax(-1)
        token = int(logits.argmax())
        found = max(found, abs(float(logits.log_softmax(-1)[token] - own[token])))
        more = {"input_ids": token, "attention_mask": 1}
        given = {
            name: torch.cat([part, part.new_full((1, 1), more.get(name, 0))], dim=1) if part.shape == (1, width) else part
            for name, part in given.items()
        }
        width += 1
        logits = going.send(token)
    return found


def _next(logits: torch.Tensor, text: Text, decode: Callable[[list[int]], str], ends: frozenset[int]) -> int | None:
    """The token that goes on with `text`; None when it has ended, well or not."""
    try:
        token = _choose(logits, text)
        if text.constraint:
            text.constraint.take(token)
        return None if _take(text, token, decode, ends) else token
    except EngineError as error:  # of this text alone
        text.on_fault(error)
        return None


def _forced(text: Text, decode: Callable[[list[int]], str], ends: frozenset[int]) -> list[int] | None:
    """The tokens that the constraint of `text` forces now, taken; None when it has ended by them, well or not."""
    taken: list[int] = []
    constraint = text.constraint
    if constraint is None:
        return taken
    try:
        for token in constraint.forced():
            constraint.take(token)
            if _take(text, token, decode, ends):
                return None
            taken.append(token)
    except EngineError as error:  # of this text alone
        text.on_fault(error)
        return None
    return taken


def _choose(logits: torch.Tensor, text: Text) -> int:
    if text.constraint:
        allowed = torch.from_numpy(text.constraint.allowed(len(logits))).to(logits.device)
        logits = logits.masked_fill(~allowed, -torch.inf)
    if text.request.temperature <= 0:
        return int(logits.argmax())
    weights = (logits / text.request.temperature).softmax(-1)
    return int(torch.multinomial(weights, 1, generator=text.generator))


def _take(text: Text, token: int, decode: Callable[[list[int]], str], ends: frozenset[int]) -> bool:
    """Add a token; returns whether the text has ended. Raises UnfinishedError when it ended before its JSON value did."""
    ended = token in ends
    if not ended:
        text.tokens.append(token)
    written = decode(text.tokens)
    cuts = [at for stop in text.request.stop if (at := written.find(stop)) >= 0]
    if cuts:
        written, ended = written[: min(cuts)], True
    ended = ended or len(text.tokens) >= text.request.max_tokens or (text.constraint is not None and text.constraint.closed)
    if ended and text.constraint and (fault := text.constraint.fault(written)):
        raise UnfinishedError(fault, hint="Raise max_tokens, bound the schema's strings and arrays, or take out stop strings.")
    safe = len(written) if ended else _safe_length(written, text.request.stop)
    if safe > text.sent:
        text.on_piece(written[text.sent : safe])
        text.sent = safe
    if ended:
        text.on_end(written)
    return ended


def _safe_length(written: str, stops: tuple[str, ...]) -> int:
    """How much may be sent: nothing that may turn out to be the start of a stop string or half a character."""
    safe = len(written.rstrip(UNFINISHED))
    for stop in stops:
        for size in range(min(len(stop) - 1, safe), 0, -1):
            if written[:safe].endswith(stop[:size]):
                safe -= size
                break
    return safe
