"""One run of `genrec caption`: the items that lack text, what is known of them, and captions, kept as they are written.

What is kept is kept: a run that is killed goes on where it was, and a run with nothing new writes nothing.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from genrec.captions.caption_evidence import OWN_TEXT, EvidenceCollector, ItemEvidence
from genrec.captions.caption_writer import CaptionRequest, Usage, Writer, WrittenCaption
from genrec.errors import EngineError, GenrecError, UnknownItemError
from genrec.progress import SILENT, Progress
from genrec.types import HUMAN, Item, StoredCaption
from genrec.workspace.folder import Workspace

Part = Literal["title", "text"]
PARTS: tuple[Part, ...] = ("title", "text")
IN_FLIGHT = 256
"""Captions on their way at the same time; the engine makes batches of them."""
GIVE_UP = 8
"""After so many items in a row without any answer of the engine the run ends; what was written is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionOptions:
    """only: write that part alone; items: only these; new: no caption anew; rewrite: also those that hold; limit: so many."""

    only: Part | None = None
    items: tuple[str, ...] = ()
    new: bool = False
    rewrite: bool = False
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An item to write about. `parts`: what it lacks and is to get."""

    known: ItemEvidence
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionPlan:
    """lacking: items that lack what was asked for; unchanged: their caption holds; nothing: without any evidence, ids."""

    lacking: int
    unchanged: int
    nothing: tuple[str, ...]
    targets: tuple[Target, ...]
    changed: int
    """Targets that have a caption, from other evidence or by another writer."""
    notes: tuple[str, ...] = ()

    def kinds(self) -> dict[str, int]:
        """By kind of evidence, how many targets have it."""
        counts: Counter[str] = Counter()
        for target in self.targets:
            facts = target.known.facts
            kinds = {"own title": facts.title, "attributes": facts.attributes, "tags": target.known.tags}
            kinds |= {"close by picture": facts.near, "chosen together": facts.together}
            counts.update(kind for kind, there in kinds.items() if there)
        return dict(counts.most_common())


@dataclass(slots=True)
class Captioned:
    """What a run did. `failed`: items without an answer of the engine, with its words; `sources`: captions by who wrote them."""

    plan: CaptionPlan
    written: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    spent: Usage = field(default_factory=Usage)


def missing_parts(item: Item, captions: Sequence[StoredCaption], only: Part | None) -> tuple[Part, ...]:
    """The parts that nobody gave: `item` with its human's words; a human's empty word is one, too."""
    settled = {part for one in captions if one.source == HUMAN for part in PARTS if getattr(one, part) is not None}
    wanted = PARTS if only is None else (only,)
    return tuple(part for part in wanted if not getattr(item, part) and part not in settled)


def make_plan(
    workspace: Workspace, evidence: EvidenceCollector, writer: Writer, model: str, options: CaptionOptions
) -> CaptionPlan:
    """Which items are to be written about. Raises UnknownItemError for one of `options.items` that is not there."""
    held: dict[str, list[StoredCaption]] = {}
    for batch in workspace.store.all_captions():
        for one in batch:
            held.setdefault(one.item_id, []).append(one)
    if unknown := [item_id for item_id in options.items if item_id not in evidence.items]:
        workspace.store.item(unknown[0])  # says what it might be
        raise UnknownItemError(f"there is no item {unknown[0]!r:.80}")
    wanted: dict[str, tuple[Part, ...]] = {}
    for item_id in options.items or evidence.items:
        if parts := missing_parts(evidence.items[item_id], held.get(item_id, ()), options.only):
            wanted[item_id] = parts
    models = {item_id: one for item_id in wanted for one in held.get(item_id, ()) if one.source != HUMAN}
    settled = {item_id for item_id, one in models.items() if not _may_change(one, options)}
    found, unchanged, nothing, changed = [], len(settled), [], 0
    for known in evidence.collect([item_id for item_id in wanted if item_id not in settled]):
        item_id = known.item.item_id
        before = models.get(item_id)
        parts = wanted[item_id]
        if known.facts.empty:
            nothing.append(item_id)
        elif before is not None and not options.rewrite and _holds(before, known, parts, writer, model, workspace):
            unchanged += 1
        else:
            changed += before is not None
            kept = tuple(part for part in PARTS if before and getattr(before, part) and not getattr(known.item, part))
            found.append(Target(known=known, parts=tuple(part for part in PARTS if part in {*parts, *kept})))
    targets = tuple(found[: options.limit])
    return CaptionPlan(
        lacking=len(wanted),
        unchanged=unchanged,
        nothing=tuple(nothing),
        targets=targets,
        changed=min(changed, len(targets)),
        notes=(*evidence.notes, *_groundless([item_id for item_id in nothing if item_id in models])),
    )


def _groundless(left: Sequence[str]) -> Iterator[str]:
    """What is said of captions whose evidence is gone; they may have been paid for, so a person decides."""
    if left:
        named = ", ".join(left[:3]) + (", …" if len(left) > 3 else "")
        yield f"what {len(left)} captions were written from is gone ({named}): `genrec caption --revert ITEM` takes one back"


def _may_change(caption: StoredCaption, options: CaptionOptions) -> bool:
    """A caption from a file, or any where only new ones are wanted, is left alone unless its item is named."""
    return options.rewrite or bool(options.items) or not (options.new or caption.imported)


def _holds(
    caption: StoredCaption, known: ItemEvidence, parts: Sequence[Part], writer: Writer, model: str, workspace: Workspace
) -> bool:
    """Whether a caption was written from the same evidence by the same writer, and has all parts that are wanted."""
    made_by = (caption.model, caption.adapter, caption.language, caption.evidence_digest)
    now = (model, writer.adapter, workspace.settings.caption.language, known.digest)
    return made_by == now and writer.uses(caption.prompt) and all(getattr(caption, part) is not None for part in parts)


class CaptionRun:
    """Writes the targets of a plan, many at a time, and keeps what is written."""

    def __init__(
        self, workspace: Workspace, writer: Writer, model: str, planned: CaptionPlan, progress: Progress = SILENT
    ) -> None:
        self._workspace = workspace
        self._writer = writer
        self._model = model
        self._progress = progress
        self._done: list[StoredCaption] = []
        self._keeping = asyncio.Lock()
        self._in_a_row = 0
        self.outcome = Captioned(plan=planned, spent=writer.spent)

    async def write(self) -> Captioned:
        """Raises EngineError when the engine answers no more, AdapterError, PromptError, StoreError; what was written is kept."""
        start = time.perf_counter()
        targets = self._ordered()
        self._progress.start("writing captions", len(targets))
        try:
            async with asyncio.TaskGroup() as group:
                waiting = iter(enumerate(targets))
                for _ in range(min(self._at_once(), len(targets))):
                    group.create_task(self._worker(waiting))
        except* GenrecError as errors:
            raise errors.exceptions[0] from None
        finally:
            self._put(self._taken())
            self._progress.finish()
            self.outcome.seconds = time.perf_counter() - start
        return self.outcome

    def _at_once(self) -> int:
        settings = self._workspace.settings.llm
        return min(IN_FLIGHT, settings.concurrency) if settings.engine == "openai" else IN_FLIGHT

    def _ordered(self) -> list[Target]:
        """Prompts of like length together: little of a batch is padding."""
        return sorted(self.outcome.plan.targets, key=lambda target: len(str(target.known.record.get("facts"))))

    async def _worker(self, waiting: Iterator[tuple[int, Target]]) -> None:
        for number, target in waiting:
            known = target.known
            image = self._workspace.folder / known.item.image if known.item.image else None
            try:
                written = await self._writer.write(CaptionRequest(facts=known.facts, row=known.row, image=image), seed=number)
            except EngineError as error:
                self._failed(known.item.item_id, error)
            else:
                self._in_a_row = 0
                self._done.append(self._stored(target, written))
                await self._keep()
            self._progress.advance()

    async def _keep(self) -> None:
        """Commit what is written at once: no kill loses what was paid for. What is done meanwhile goes into the next commit."""
        async with self._keeping:
            if done := self._taken():
                await asyncio.to_thread(self._put, done)

    def _failed(self, item_id: str, error: EngineError) -> None:
        """Raises the error when the engine has not answered for long."""
        self._in_a_row += 1
        self.outcome.failed[item_id] = str(error)
        if self._in_a_row >= GIVE_UP or self._in_a_row == len(self.outcome.plan.targets):
            raise error

    def _taken(self) -> list[StoredCaption]:
        done, self._done = self._done, []
        self.outcome.written += len(done)
        return done

    def _put(self, done: list[StoredCaption]) -> None:
        if done:
            self._workspace.store.put_captions(done)

    def _stored(self, target: Target, written: WrittenCaption) -> StoredCaption:
        known, made = target.known, written.caption
        order = {tag.lower(): place for place, tag in enumerate(made.tags)}
        given = {tag.lower(): tag for tag in (*written.seen, *known.tag_texts)}.values()
        tags = sorted(given, key=lambda tag: order.get(tag.lower(), len(order)))
        doubt, note = doubt_of(target, written)
        self.outcome.sources[written.source] += 1
        self.outcome.refused += len(written.refused)
        return StoredCaption(
            item_id=known.item.item_id,
            title=made.title if "title" in target.parts else None,
            text=made.caption if "text" in target.parts else None,
            tags=tuple(tags),
            language=self._workspace.settings.caption.language,
            source=written.source,
            model=self._model,
            adapter=self._writer.adapter,
            prompt=self._writer.prompt,
            evidence={**known.record, "seen": list(written.seen)} if written.seen else known.record,
            evidence_digest=known.digest,
            doubt=doubt,
            note=note,
            made_at=time.time(),
        )


def doubt_of(target: Target, written: WrittenCaption) -> tuple[float, str]:
    """(doubt in [0, 1], why): thin evidence, uncertain tags, texts that the checker refused."""
    facts, tags = target.known.facts, target.known.tags
    given = {tag.text.lower() for tag in tags}
    own = [name for name, values in facts.attributes if not given.issuperset(value.lower() for value in values)]
    doubts: list[tuple[float, str]] = []
    if guessed := [tag.probability for tag in tags if tag.group != OWN_TEXT]:
        wrong = 1.0 - sum(guessed) / len(guessed)
        doubts.append((wrong, f"{len(guessed)} tag{'s' * (len(guessed) > 1)}, {1 - wrong:.0%} sure on average"))
    if not (own or facts.title or facts.tags or tags):
        doubts.append((0.5, "nothing is known but titles of other items"))
    elif not (own or facts.title or len(tags) > 1):
        doubts.append((0.2, "little is known"))
    if written.refused:
        share = 0.3 if written.source == "template" else 0.1
        doubts.append((share, f"refused {len(written.refused)} times: {written.refused[-1]}"))
    certain = 1.0
    for share, _ in doubts:
        certain *= 1.0 - share
    return round(1.0 - certain, 4), "; ".join(why for _, why in sorted(doubts, key=lambda pair: -pair[0]))
