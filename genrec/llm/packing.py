"""Turn score requests into packed rows: the shared part once, every continuation behind it as a branch of its own.

A branch sees the shared part and itself, not the other branches, and its positions go on from the shared part
(tree attention, as in SpecInfer, Miao et al. 2024). One row thus scores all candidates of a user in one forward pass.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from genrec.errors import EngineError, LabelError
from genrec.llm.protocol import Labels, Likelihood, Markers, ScoreRequest, WriteRequest

Tokens = list[int]


@dataclass(slots=True)
class Row:
    """One packed row. Branch 0 is the shared part; `reads` says which hidden state predicts which token."""

    request: ScoreRequest
    prefix: Tokens  # what is constant over requests
    shared: Tokens  # prefix + context
    tokens: Tokens  # the whole row, shared part first
    positions: Tokens  # position of each token
    branches: Tokens  # branch of each token
    read_at: Tokens  # index in `tokens` whose hidden state is read, one for each scored token
    read_for: Tokens  # entry (candidate, label, segment) that the read belongs to
    targets: Tokens  # token scored at each read; unused for Markers
    choices: Tokens  # the only rows of the output head that are needed; empty: the whole vocabulary

    @property
    def entries(self) -> int:
        request = self.request
        if isinstance(request, Likelihood):
            return len(request.continuations)
        return len(request.labels) if isinstance(request, Labels) else len(request.segments)


def single_token(encode: Callable[[str], Tokens], text: str) -> int:
    """The one token of `text`; LabelError when it is none or several."""
    tokens = encode(text)
    if len(tokens) != 1:
        raise LabelError(
            f"{text!r} is {len(tokens)} tokens for this model's tokenizer, a label must be one",
            hint="Use the likelihood method, which needs no labels, or a model whose tokenizer has this label.",
        )
    return tokens[0]


def distinct_tokens(encode: Callable[[str], Tokens], texts: Sequence[str]) -> Tokens:
    """The one token of each text; LabelError when one is none or several, or when two are the same."""
    tokens = [single_token(encode, text) for text in texts]
    if len(set(tokens)) != len(tokens):
        raise LabelError(f"two labels of {', '.join(map(repr, texts))} are the same token", hint="Every label must be its own.")
    return tokens


def prompt_of(request: WriteRequest, encode: Callable[[str], Tokens], max_tokens: int) -> Tokens:
    """The tokens of a prompt behind its prefix. Raises EngineError when it is empty or the text does not fit behind it."""
    prompt = encode(request.prompt)
    if not prompt or request.max_tokens < 1:
        raise EngineError(
            "a text to write needs a prompt and room",
            hint="Give at least one token after the prefix and max_tokens of at least 1.",
        )
    if len(encode(request.prefix)) + len(prompt) + request.max_tokens > max_tokens:
        raise EngineError(
            f"a prompt of {len(prompt)} tokens with {request.max_tokens} to write does not fit the model's {max_tokens}",
            hint="Shorten the prompt or lower reasons.max_tokens.",
        )
    return prompt


def pack(request: ScoreRequest, encode: Callable[[str], Tokens], max_tokens: int) -> Row:
    """Build the row of one request. Raises LabelError, or EngineError when it is empty or longer than the model takes."""
    prefix = encode(request.prefix)
    shared = prefix + encode(request.context)
    if not shared:
        raise EngineError("a score request needs a prompt", hint="Give a prefix or a context of at least one token.")
    fill = {Likelihood: _likelihood, Labels: _labels, Markers: _markers}[type(request)]
    row = _trunk(request, prefix, shared)
    if not row.entries:
        raise EngineError("a score request without candidates", hint="Give at least one continuation, label or segment.")
    fill(row, request, encode)
    if max(row.positions) >= max_tokens:
        raise EngineError(
            f"a prompt of {max(row.positions) + 1} tokens does not fit the model's {max_tokens}",
            hint="Lower rank.history, rank.window or rank.title_chars.",
        )
    return row


def _likelihood(row: Row, request: Likelihood, encode: Callable[[str], Tokens]) -> None:
    for entry, text in enumerate(request.continuations):
        target = encode(text)
        if not target:
            raise EngineError(f"continuation {entry} is empty", hint="Every candidate needs at least one token of text.")
        read_at = len(row.shared) - 1
        for offset, token in enumerate(target):
            row.read_at.append(read_at)
            row.read_for.append(entry)
            row.targets.append(token)
            if offset < len(target) - 1:  # the last token is predicted, never read from
                row.tokens.append(token)
                row.positions.append(len(row.shared) + offset)
                row.branches.append(entry + 1)
                read_at = len(row.tokens) - 1


def _labels(row: Row, request: Labels, encode: Callable[[str], Tokens]) -> None:
    row.choices = distinct_tokens(encode, request.labels)
    row.read_at = [len(row.shared) - 1]
    row.read_for = [0]


def _markers(row: Row, request: Markers, encode: Callable[[str], Tokens]) -> None:
    row.choices = distinct_tokens(encode, (request.positive, request.negative))
    for entry, text in enumerate(request.segments):
        segment = encode(text)
        if not segment:
            raise EngineError(f"segment {entry} is empty", hint="Every candidate needs at least one token of text.")
        row.positions.extend(range(len(row.tokens), len(row.tokens) + len(segment)))
        row.tokens.extend(segment)
        row.branches.extend([0] * len(segment))
        row.read_at.append(len(row.tokens) - 1)
        row.read_for.append(entry)


def _trunk(request: ScoreRequest, prefix: Tokens, shared: Tokens) -> Row:
    return Row(
        request=request,
        prefix=prefix,
        shared=shared,
        tokens=list(shared),
        positions=list(range(len(shared))),
        branches=[0] * len(shared),
        read_at=[],
        read_for=[],
        targets=[],
        choices=[],
    )


def alike(one: Sequence[object], other: Sequence[object]) -> int:
    """How many first elements two sequences have in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (mine, theirs) in pairs if mine != theirs), min(len(one), len(other)))


def batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Indices grouped into padded batches of at most `budget` tokens each, longest first so that little is padding."""
    groups: list[list[int]] = []
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    for index in order.tolist():
        if groups and (len(groups[-1]) + 1) * lengths[groups[-1][0]] <= budget:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups
