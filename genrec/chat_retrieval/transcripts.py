"""Dialogues of a file as the dialogue retriever reads them: titles as items, mentions and wishes parsed, texts as vectors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from genrec.chat_retrieval.dialogue_features import Attitude, DialogueInput, DialogueSpace, Mentioned
from genrec.chat_retrieval.dialogue_model import DialogueModel, MomentVectors
from genrec.chat_retrieval.dialogue_retriever import texts_of
from genrec.chat_retrieval.feature_weights import Example, fit
from genrec.data.dialogue_files import Moment
from genrec.filters import Field, Filter
from genrec.progress import SILENT, Progress
from genrec.retrieval.catalogue import Catalogue
from genrec.retrieval.user_encoders import UserEncoder
from genrec.types import Item
from genrec.understanding.filter_text import wanted_pairs
from genrec.understanding.linking import Linker
from genrec.understanding.parser import Parser, Understood
from genrec.understanding.vocabulary import Vocabulary

Encode = Callable[[list[str]], NDArray[np.float32]]
"""(n, d) unit rows of n texts, as the text encoder reads queries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """A moment, resolved.

    wanted      items recommended then; `unresolved`: titles of such that the catalogue has not
    named       items that the file says the context names; None where it does not say
    found       items that the linker found in the context
    filter      the latest constraint in the context
    """

    moment: Moment
    said: DialogueInput
    wanted: tuple[str, ...]
    named: tuple[str, ...] | None
    found: tuple[str, ...]
    unresolved: tuple[str, ...] = ()
    filter: Filter | None = None

    def as_named(self) -> "Transcript":
        """With the mentions that the file names instead of those found in the text."""
        if self.named is None:
            return self
        felt: dict[str, Attitude] = {one.item_id: one.attitude for one in self.said.mentions}
        mentions = tuple(Mentioned(item_id=one, attitude=felt.get(one, "neutral")) for one in self.named)
        return replace(self, said=replace(self.said, mentions=mentions))


@dataclass(slots=True)
class TranscriptReader:
    """Reads dialogues over one catalogue. A text is parsed once, however often it returns as context."""

    items: Sequence[Item]
    schema: dict[str, Field]
    linker: Linker = field(init=False)
    _parser: Parser = field(init=False)
    _ids: dict[str, str] = field(init=False)
    _parsed: dict[str, Understood] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.linker = Linker(self.items)
        self._parser = Parser(Vocabulary.of(self.items, self.schema), self.linker)
        titles = {item.title.casefold(): item.item_id for item in reversed(self.items) if item.title}
        self._ids = titles | {item.item_id: item.item_id for item in self.items}

    def item_of(self, name: str) -> str | None:
        """The item of this id or title, whole, or by the linker where its title is written in another way."""
        found = self._ids.get(name) or self._ids.get(name.casefold())
        if found:
            return found
        mentions = self.linker.link(name)
        whole = [one for one in mentions if one.kind == "exact" and one.end - one.start >= len(name.strip())]
        return whole[0].item_ids[0] if whole else None

    def read(self, moments: Sequence[Moment], encode: Encode | None = None) -> list[Transcript]:
        """One transcript a moment. `encode`: makes the rows of what was said."""
        made = [self._transcript(moment) for moment in moments]
        return made if encode is None else encoded(made, encode)

    def _transcript(self, moment: Moment) -> Transcript:
        mentions: list[Mentioned] = []
        wishes: list[tuple[str, str]] = []
        parts: list[Filter] = []
        for turn in moment.context:
            understood = self._understood(turn)
            mentions += mentions_of(understood)
            if understood.filter is not None:
                wishes += wanted_pairs(understood.filter)
                parts.append(understood.filter)
        wanted = {name: self.item_of(name) for name in moment.wanted}
        named = None if moment.named is None else [item_id for one in moment.named if (item_id := self._exact(one))]
        return Transcript(
            moment=moment,
            said=DialogueInput(turns=moment.context, mentions=tuple(mentions), wanted=tuple(wishes)),
            wanted=tuple(dict.fromkeys(item_id for item_id in wanted.values() if item_id)),
            named=None if named is None else tuple(named),
            found=tuple(one.item_id for one in mentions),
            unresolved=tuple(name for name, item_id in wanted.items() if item_id is None),
            filter=parts[-1] if parts else None,
        )

    def _exact(self, name: str) -> str | None:
        """Other things than items are among what is named, so only whole titles count."""
        return self._ids.get(name) or self._ids.get(name.casefold())

    def _understood(self, turn: str) -> Understood:
        found = self._parsed.get(turn)
        if found is None:
            found = self._parsed[turn] = self._parser.parse(turn)
        return found


def mentions_of(understood: Understood) -> list[Mentioned]:
    """The items that a turn names, in order of place; of an ambiguous mention the likeliest."""
    felt: dict[int, Attitude] = {}
    felt |= dict.fromkeys((mention.start for mention in understood.liked), "liked")
    felt |= dict.fromkeys((mention.start for mention in understood.disliked), "disliked")
    felt |= dict.fromkeys((mention.start for mention in understood.seen), "seen")
    return [Mentioned(item_id=one.item_ids[0], attitude=felt.get(one.start, "neutral")) for one in understood.mentions]


def encoded(transcripts: Sequence[Transcript], encode: Encode) -> list[Transcript]:
    """With the rows of what was said; each distinct text is encoded once."""
    pairs = [texts_of(one.said.turns) for one in transcripts]
    distinct = list(dict.fromkeys(text for pair in pairs for text in pair if text))
    if not distinct:
        return list(transcripts)
    rows = encode(distinct)
    place = {text: n for n, text in enumerate(distinct)}
    nothing = np.zeros(rows.shape[1], np.float32)
    return [
        replace(
            one,
            said=replace(one.said, rows=np.stack([rows[place[text]] if text else nothing for text in pair]).astype(np.float32)),
        )
        for one, pair in zip(transcripts, pairs, strict=True)
    ]


def session_items(transcripts: Sequence[Transcript]) -> dict[str, list[str]]:
    """Dialogue id to all items that it names or recommends, each once."""
    sessions: dict[str, dict[str, None]] = {}
    for one in transcripts:
        named = sessions.setdefault(one.moment.dialogue_id, {})
        named |= dict.fromkeys(mention.item_id for mention in one.said.mentions)
        named |= dict.fromkeys(one.wanted)
    return {dialogue_id: list(named) for dialogue_id, named in sessions.items()}


def learned(
    transcripts: Sequence[Transcript],
    catalogue: Catalogue,
    items: Sequence[Item],
    user_encoder: UserEncoder,
    *,
    seed: int = 0,
    progress: Progress = SILENT,
) -> DialogueModel:
    """What these dialogues teach. `items` in the order of the catalogue. Raises TrainingError when they do not suffice."""
    sessions = session_items(transcripts)
    number = {dialogue_id: n for n, dialogue_id in enumerate(sessions)}
    seen = frozenset(one.moment.digest for one in transcripts)
    model = DialogueModel(weights={}, sessions=list(sessions.values()), heard=_heard(transcripts, number), seen=seen)
    ids = catalogue.vectors.item_ids
    space = DialogueSpace(catalogue, items, model.sessions_over(ids), model.echoes_over(ids))
    examples = [Example(said=one.said, wanted=one.wanted, session=number[one.moment.dialogue_id]) for one in transcripts]
    return replace(model, weights=fit(space, user_encoder, examples, seed=seed, progress=progress))


def _heard(transcripts: Sequence[Transcript], number: Mapping[str, int]) -> MomentVectors | None:
    told = [(one, one.said.rows[1]) for one in transcripts if one.said.rows is not None and one.said.rows[1].any() and one.wanted]
    if not told:
        return None
    return MomentVectors(
        rows=np.stack([row for _, row in told]),
        wanted=[one.wanted for one, _ in told],
        sessions=np.array([number[one.moment.dialogue_id] for one, _ in told], np.int64),
    )


def folds_of(transcripts: Sequence[Transcript], folds: int, seed: int) -> list[tuple[list[Transcript], list[int]]]:
    """(transcripts of the other folds, places of this fold's), dealt by dialogue."""
    dialogues = sorted({one.moment.dialogue_id for one in transcripts})
    dealt = np.random.default_rng(seed).permutation(len(dialogues)) % folds
    fold_of = dict(zip(dialogues, dealt.tolist(), strict=True))
    of = [fold_of[one.moment.dialogue_id] for one in transcripts]
    return [
        ([one for one, own in zip(transcripts, of, strict=True) if own != fold], [n for n, own in enumerate(of) if own == fold])
        for fold in range(folds)
    ]
