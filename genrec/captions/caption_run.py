"""One run of `genrec caption`: the items that lack text, what is known of them, and captions, stored as they are written.

A run that is killed loses nothing that was written: the next one goes on where it was. A run with nothing new writes nothing.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from genrec.captions.caption_evidence import OWN_TEXT, EvidenceCollector, ItemEvidence
from genrec.captions.caption_writer import CaptionRequest, CaptionWriter, Usage, WrittenCaption
from genrec.errors import EngineError, GenrecError, UnknownItemError
from genrec.progress import SILENT, Progress
from genrec.types import HUMAN, Item, StoredCaption
from genrec.workspace.folder import Workspace

Part = Literal["title", "text"]
PARTS: tuple[Part, ...] = ("title", "text")
IN_FLIGHT = 256
"""Captions on their way at the same time; the engine makes batches of them."""
MAX_FAILURES_IN_A_ROW = 8
"""After this many items in a row without any answer of the engine the run ends; what was written is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionOptions:
    """What to write.

    only      that part alone
    items     only these ids, also where their caption is from a file
    new       leave captions alone whose evidence or writer has changed
    rewrite   also those that are up to date
    limit     at most so many items
    """

    only: Part | None = None
    items: tuple[str, ...] = ()
    new: bool = False
    rewrite: bool = False
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An item to write about. `parts`: what it lacks and is to get."""

    evidence: ItemEvidence
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionPlan:
    """What a run will do.

    lacking     number of items that lack what was asked for
    unchanged   of those, how many have a caption that is left as it is
    nothing     ids of those without any evidence
    changed     number of targets that have a caption, from other evidence or by another writer
    """

    lacking: int
    unchanged: int
    nothing: tuple[str, ...]
    targets: tuple[Target, ...]
    changed: int
    notes: tuple[str, ...] = ()

    def kinds(self) -> dict[str, int]:
        """By kind of evidence, how many targets have it."""
        counts: Counter[str] = Counter()
        for target in self.targets:
            facts = target.evidence.facts
            kinds = {"own title": facts.title, "attributes": facts.attributes, "tags": target.evidence.tags}
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
    usage: Usage = field(default_factory=Usage)


def missing_parts(item: Item, captions: Sequence[StoredCaption], only: Part | None) -> tuple[Part, ...]:
    """The parts that no person gave: `item` has a person's words laid over it; a part that a person left empty is given."""
    by_person = {part for one in captions if one.source == HUMAN for part in PARTS if getattr(one, part) is not None}
    wanted = PARTS if only is None else (only,)
    return tuple(part for part in wanted if not getattr(item, part) and part not in by_person)


def make_plan(workspace: Workspace, collector: EvidenceCollector, writer: CaptionWriter, options: CaptionOptions) -> CaptionPlan:
    """Which items are to be written about. Raises UnknownItemError for one of `options.items` that is not there."""
    stored: dict[str, list[StoredCaption]] = {}
    for batch in workspace.store.all_captions():
        for one in batch:
            stored.setdefault(one.item_id, []).append(one)
    if unknown := [item_id for item_id in options.items if item_id not in collector.items]:
        workspace.store.item(unknown[0])  # says what it might be
        raise UnknownItemError(f"there is no item {unknown[0]!r:.80}")
    missing = {
        item_id: parts
        for item_id in options.items or collector.items
        if (parts := missing_parts(collector.items[item_id], stored.get(item_id, ()), options.only))
    }
    by_model = {item_id: one for item_id in missing for one in stored.get(item_id, ()) if one.source != HUMAN}
    left_alone = {item_id for item_id, one in by_model.items() if not _may_change(one, options)}
    targets, unchanged, nothing, changed = [], len(left_alone), [], 0
    for evidence in collector.collect([item_id for item_id in missing if item_id not in left_alone]):
        item_id = evidence.item.item_id
        before, parts = by_model.get(item_id), missing[item_id]
        if evidence.facts.empty:
            nothing.append(item_id)
        elif before is not None and not options.rewrite and _is_up_to_date(before, evidence, parts, writer, workspace):
            unchanged += 1
        else:
            changed += before is not None
            kept = {part for part in PARTS if before and getattr(before, part) and not getattr(evidence.item, part)}
            targets.append(Target(evidence=evidence, parts=tuple(part for part in PARTS if part in {*parts, *kept})))
    targets = targets[: options.limit]
    return CaptionPlan(
        lacking=len(missing),
        unchanged=unchanged,
        nothing=tuple(nothing),
        targets=tuple(targets),
        changed=min(changed, len(targets)),
        notes=(*collector.notes, *_lost_evidence([item_id for item_id in nothing if item_id in by_model])),
    )


def _lost_evidence(ids: Sequence[str]) -> Iterator[str]:
    """A note on captions whose evidence is gone; they may have been paid for, so a person decides."""
    if ids:
        named = ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")
        yield f"what {len(ids)} captions were written from is gone ({named}): `genrec caption --revert ITEM` takes one back"


def _may_change(caption: StoredCaption, options: CaptionOptions) -> bool:
    """A caption from a file, or any where only new ones are wanted, is left alone unless its item is named."""
    return options.rewrite or bool(options.items) or not (options.new or caption.imported)


def _is_up_to_date(
    caption: StoredCaption, evidence: ItemEvidence, parts: Sequence[Part], writer: CaptionWriter, workspace: Workspace
) -> bool:
    """Whether a caption was written from the same evidence by the same writer, and has all parts that are wanted."""
    made_by = (caption.model, caption.adapter, caption.language, caption.evidence_digest)
    now = (writer.model, writer.adapter, workspace.settings.caption.language, evidence.digest)
    return made_by == now and writer.uses(caption.prompt) and all(getattr(caption, part) is not None for part in parts)


class CaptionRun:
    """Writes the targets of a plan, many at a time, and stores what is written."""

    def __init__(self, workspace: Workspace, writer: CaptionWriter, plan: CaptionPlan, progress: Progress = SILENT) -> None:
        self._workspace = workspace
        self._writer = writer
        self._progress = progress
        self._unstored: list[StoredCaption] = []
        self._storing = asyncio.Lock()
        self._failures_in_a_row = 0
        self.outcome = Captioned(plan=plan, usage=writer.usage)

    async def write(self) -> Captioned:
        """Raises EngineError when the engine answers no more, AdapterError, PromptError, StoreError; what was written is kept."""
        start = time.perf_counter()
        # prompts of like length together: little of a batch is padding
        targets = sorted(self.outcome.plan.targets, key=lambda target: len(str(target.evidence.record.get("facts"))))
        llm = self._workspace.settings.llm
        workers = min(IN_FLIGHT, llm.concurrency) if llm.engine == "openai" else IN_FLIGHT
        self._progress.start("writing captions", len(targets))
        try:
            async with asyncio.TaskGroup() as group:
                waiting = iter(enumerate(targets))
                for _ in range(min(workers, len(targets))):
                    group.create_task(self._worker(waiting))
        except* GenrecError as errors:
            raise errors.exceptions[0] from None
        finally:
            self._store(self._take_unstored())
            self._progress.finish()
            self.outcome.seconds = time.perf_counter() - start
        return self.outcome

    async def _worker(self, waiting: Iterator[tuple[int, Target]]) -> None:
        for number, target in waiting:
            evidence = target.evidence
            image = self._workspace.folder / evidence.item.image if evidence.item.image else None
            try:
                request = CaptionRequest(facts=evidence.facts, row=evidence.row, image=image)
                written = await self._writer.write(request, seed=number)
            except EngineError as error:
                self._failed(evidence.item.item_id, error)
            else:
                self._failures_in_a_row = 0
                self._unstored.append(self._caption(target, written))
                # commit at once, so that no kill loses what was paid for; what is written meanwhile goes into the next commit
                async with self._storing:
                    if captions := self._take_unstored():
                        await asyncio.to_thread(self._store, captions)
            self._progress.advance()

    def _failed(self, item_id: str, error: EngineError) -> None:
        """Raises the error when the engine has not answered for long."""
        self._failures_in_a_row += 1
        self.outcome.failed[item_id] = str(error)
        if self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW or self._failures_in_a_row == len(self.outcome.plan.targets):
            raise error

    def _take_unstored(self) -> list[StoredCaption]:
        captions, self._unstored = self._unstored, []
        self.outcome.written += len(captions)
        return captions

    def _store(self, captions: list[StoredCaption]) -> None:
        if captions:
            self._workspace.store.put_captions(captions)

    def _caption(self, target: Target, written: WrittenCaption) -> StoredCaption:
        evidence, made = target.evidence, written.caption
        order = {tag.lower(): place for place, tag in enumerate(made.tags)}
        given = {tag.lower(): tag for tag in (*written.seen, *evidence.tag_texts)}.values()
        doubt, note = doubt_of(target, written)
        self.outcome.sources[written.source] += 1
        self.outcome.refused += len(written.refused)
        return StoredCaption(
            item_id=evidence.item.item_id,
            title=made.title if "title" in target.parts else None,
            text=made.caption if "text" in target.parts else None,
            tags=tuple(sorted(given, key=lambda tag: order.get(tag.lower(), len(order)))),
            language=self._workspace.settings.caption.language,
            source=written.source,
            model=self._writer.model,
            adapter=self._writer.adapter,
            prompt=self._writer.prompt,
            evidence={**evidence.record, "seen": list(written.seen)} if written.seen else evidence.record,
            evidence_digest=evidence.digest,
            doubt=doubt,
            note=note,
            made_at=time.time(),
        )


def doubt_of(target: Target, written: WrittenCaption) -> tuple[float, str]:
    """(doubt in [0, 1], why): thin evidence, uncertain tags, texts that the checker refused."""
    facts, tags = target.evidence.facts, target.evidence.tags
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
    certain = math.prod(1.0 - share for share, _ in doubts)
    return round(1.0 - certain, 4), "; ".join(why for _, why in sorted(doubts, key=lambda pair: -pair[0]))
