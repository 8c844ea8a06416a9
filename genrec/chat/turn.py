"""One turn of a dialogue: understood, answered piece by piece, stored.

    text ─► understood (titles, constraints, attitudes) ─► draft over the state ─► candidates, ranking, evidence, reasons ─► text

Items come from the answer pipeline alone, titles and values in the text from the catalogue, reasons through their checker: what
the LLM writes freely never reaches a person.
"""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from genrec.answer.pipeline import Answer, AnswerPipeline
from genrec.answer.request import DialogueContext, Request, settled_request
from genrec.answer.trace import Stages
from genrec.chat import replies
from genrec.chat.constraint_relaxation import Satisfiable, satisfiable_without
from genrec.chat.messages import ChatAnswer, ChatChunk, Message, listed_lines
from genrec.chat.questions import Question, question
from genrec.chat.sessions import Dialogue, save_dialogue
from genrec.chat.turn_understanding import Lexicon, TurnUnderstanding, parse
from genrec.chat_retrieval.dialogue_features import Attitude, DialogueInput, Mentioned
from genrec.data.cleaning import clean_text
from genrec.filters import Filter, matches
from genrec.retrieval.feedback import in_force
from genrec.types import DISLIKE, LIKE, NOT_NOW, SEEN, Event, Item, Recommendation
from genrec.understanding.constraint_changes import Command, command_of, without_reset
from genrec.understanding.filter_text import all_of, attributes_of, expression, in_words, wanted_pairs
from genrec.understanding.intents import asks_for_a_fact, takes_one
from genrec.understanding.parser import Parser, Understood, tidied
from genrec.understanding.policy import FINDING, Draft, drafted
from genrec.understanding.quantities import lowered
from genrec.understanding.state import State, Turn, state_of
from genrec.workspace.folder import Workspace

ASK_ABOVE = 5
"""A question back is asked while more than this many lists of items fit."""
STEP = 0.001
"""Seconds between the events of one turn: their order is that of their times."""
EVENT_KINDS: Mapping[str, str] = {"liked": LIKE, "disliked": DISLIKE, "seen": SEEN, "put_off": NOT_NOW, "accepted": "accept"}
"""What a turn says of items → the kind of the event that records it; `accept`: the person takes what was recommended."""
NOT_SEARCHED = frozenset(("about", "something", "anything"))
"""Words of a wish that few texts have, so that they would count for much in a search."""


@dataclass(slots=True)
class _Reply:
    """An answer as it grows."""

    understood: Understood
    draft: Draft
    turn: Turn
    state: State  # before the turn
    stages: Stages
    k: int
    text: list[str] = field(default_factory=list)
    rows: list[Recommendation] = field(default_factory=list)
    relaxed: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


class Conversation:
    """Answers turns over one workspace. The words of its catalogue are read from the store when first needed."""

    def __init__(self, workspace: Workspace, pipeline: AnswerPipeline) -> None:
        self._workspace, self._pipeline = workspace, pipeline
        self._lexicon: Lexicon | None = None
        self._lexicon_lock = threading.Lock()  # of threads: callers may come from several event loops
        self._understanding = TurnUnderstanding(workspace, pipeline)

    def catalogue_changed(self) -> None:
        """Read the catalogue anew before the next turn."""
        self._lexicon = None

    async def lexicon(self) -> Lexicon:
        """Raises StoreError."""
        return await asyncio.to_thread(self._read_lexicon)

    def _read_lexicon(self) -> Lexicon:
        with self._lexicon_lock:
            if self._lexicon is None:
                self._lexicon = Lexicon.read(self._workspace.store, self._pipeline.schema())
            return self._lexicon

    async def respond(self, dialogue: Dialogue, text: str, *, k: int) -> AsyncGenerator[ChatChunk, None]:
        """The answer to `text`, piece by piece, the whole as the last chunk; `dialogue` then has the turn, and is stored if it
        has an id. Raises StoreError, IndexFault, ConfigError: the dialogue is then as it was.
        """
        stages = Stages()
        lexicon = await self.lexicon()
        state = state_of(dialogue.turns)
        text = tidied(clean_text(text))
        command = command_of(text, lexicon.vocabulary, asked=state.just_asked)
        if command.undo or (command.reset and _only_reset(text, lexicon)):
            answer = await self._undo(dialogue, command, text, lexicon)
            yield ChatChunk(text=answer.text)
            yield ChatChunk(answer=answer)
            return
        understood, draft = await self._understand(text, state, command, lexicon, stages)
        reply = _Reply(understood, draft, draft.turn, state, stages, k)
        async for chunk in self._pieces(reply, dialogue, lexicon):
            reply.text.append(chunk.text)
            yield chunk
        turn = replace(reply.turn, reply="".join(reply.text).strip())
        await self._store_turn(dialogue, turn)
        yield ChatChunk(answer=_answer_of(dialogue.session_id, reply, turn))

    async def replayed(self, messages: Sequence[Message], *, user_id: str) -> Dialogue:
        """The dialogue that these messages are, without an id: it is not stored. What users said is parsed anew."""
        lexicon = await self.lexicon()
        dialogue, answers = Dialogue(user_id=user_id), False
        for message in messages:
            state = state_of(dialogue.turns)
            if message.role == "user":
                text = tidied(clean_text(message.text))
                command = command_of(text, lexicon.vocabulary, asked=state.just_asked)
                answers = not command.undo
                if command.undo:
                    dialogue.turns[-1:] = []
                    continue
                _, draft = await self._understand(text, state, command, lexicon, None)
                dialogue.turns.append(draft.turn)
            elif message.role == "assistant" and answers:
                dialogue.turns[-1] = replace(dialogue.turns[-1], shown=_shown_in(message.text, lexicon), reply=message.text)
        return dialogue

    async def _understand(
        self, text: str, state: State, command: Command, lexicon: Lexicon, stages: Stages | None
    ) -> tuple[Understood, Draft]:
        """What a turn says, given the dialogue before it; without `stages` by the parser alone. With a command to begin anew,
        `state` is cleared.
        """
        if command.reset:
            state.clear()
            text = without_reset(text)
        store = self._workspace.store
        items = await asyncio.to_thread(store.items, [*state.these, *state.choices])
        if stages is None:
            understood = parse(text, state, lexicon)
        else:
            understood = await self._understanding.read(text, state, lexicon, stages, items)
        wanted = {item_id for mention in understood.mentions for item_id in mention.item_ids}
        items |= await asyncio.to_thread(store.items, sorted(wanted - items.keys()))
        chosen_by = lexicon.popularity.get
        draft = drafted(understood, state, command, items, lambda one: chosen_by(one, 0), lexicon.vocabulary)
        return understood, draft

    async def _pieces(self, reply: _Reply, dialogue: Dialogue, lexicon: Lexicon) -> AsyncIterator[ChatChunk]:
        turn, understood = reply.turn, reply.understood
        if understood.unknown:
            yield ChatChunk(text=f"{replies.UNKNOWN} ")
        if understood.unmet and turn.intent in FINDING:
            yield ChatChunk(text=f"{replies.unmet(understood.unmet)} ")
        no_wish = not (understood.filter or understood.mentions or understood.need or understood.steers)
        if understood.unknown and turn.intent == "recommend" and no_wish:
            yield ChatChunk(text=replies.LIKE_WHAT)
        elif turn.choices:
            yield ChatChunk(text=replies.ambiguous(await self._items(turn.choices)))
        elif turn.intent in FINDING:
            async for chunk in self._recommended(reply, dialogue, lexicon):
                yield chunk
        elif turn.intent == "small_talk":
            yield ChatChunk(text=replies.small_talk(lowered(turn.text), ongoing=reply.state.turns > 0))
        else:
            yield ChatChunk(text=_about_items(reply, await self._items(turn.focus), lexicon))

    async def _recommended(self, reply: _Reply, dialogue: Dialogue, lexicon: Lexicon) -> AsyncIterator[ChatChunk]:
        """A list: first the constraints that it was made by, then the items as their reasons are written, then a question."""
        after = reply.state.copy()  # with what the turn says, but not yet its answer
        after.take(reply.turn)
        days = self._workspace.settings.feedback.not_now_days
        history = await asyncio.to_thread(self._workspace.store.history, dialogue.user_id)
        history = in_force(history, now=time.time(), not_now_days=days)
        refused = frozenset((*after.disliked, *after.seen, *after.put_off, *after.accepted, *(one.item_id for one in history)))
        found = await asyncio.to_thread(
            satisfiable_without,
            self._workspace.index,
            after.without,
            after.constraints,
            reply.state.constraints,
            k=reply.k,
            exclude=after.gone | refused,
            fewer=refused if reply.turn.intent == "refine" else None,
        )
        reply.turn = replace(reply.turn, constraints=found.parts)
        reply.relaxed = tuple(map(expression, found.dropped))
        reply.without = found.without
        yield ChatChunk(text=await self._opening(reply, found, lexicon))
        if not found.count:
            return
        turns = [turn.text for turn in (*dialogue.turns, reply.turn)]
        answer = await self._pipeline.answer(self._request(reply, after, found, dialogue.user_id, history, turns))
        async for row in _in_order(answer):
            reply.rows.append(row)
            yield ChatChunk(text=f"\n{row.rank}. {replies.plain_title(row.item)}: {row.reason.text}", item=row)
        reply.stages.join(answer.stages)
        shown = tuple(row.item.item_id for row in reply.rows)
        reasons = tuple((row.item.item_id, row.reason.text) for row in reply.rows)
        reply.turn = replace(reply.turn, shown=shown, reasons=reasons, focus=shown[:1] if len(shown) == 1 else ())
        asked = self._question(reply, answer, found, after, lexicon)
        if asked is not None:
            reply.turn = replace(reply.turn, asked=asked.attribute)
            yield ChatChunk(text=f"\n{asked.text}")

    async def _opening(self, reply: _Reply, found: Satisfiable, lexicon: Lexicon) -> str:
        vocabulary = lexicon.vocabulary
        lines = [replies.not_left_out(found.everywhere)] if found.everywhere else []
        lines += [replies.NOT_IN_TEXTS] if set(found.nowhere) & set(reply.understood.without) else []
        lines += [replies.constraints_dropped(found.dropped, found.parts, vocabulary)] if found.dropped else []
        if not found.count:
            left = replies.nothing_fits(found.parts, vocabulary) if found.parts else replies.NOTHING_LEFT
            return "\n".join([*lines, left])
        like = await self._items(reply.turn.focus if reply.draft.alone else reply.turn.liked)
        words = bool(reply.understood.need and reply.turn.needs)
        head = replies.opening(found.parts, like, words, vocabulary, found.count, without=found.without, again=found.again)
        return "\n".join([*lines, head])

    def _request(
        self, reply: _Reply, after: State, found: Satisfiable, user_id: str, history: Sequence[Event], turns: Sequence[str]
    ) -> Request:
        """`after`: what holds after the turn; `history`: the person's events; `turns`: what the person said, this turn last."""
        alone, now = reply.draft.alone, time.time()
        liked = reply.turn.focus if alone else (*after.liked, *after.accepted)
        felt = [*((item_id, DISLIKE) for item_id in after.disliked), *((item_id, LIKE) for item_id in liked)]
        query = " ".join(word for word in " ".join(after.needs).split() if word.lower() not in NOT_SEARCHED)
        wanted = tuple(pair for part in found.parts for pair in wanted_pairs(part))
        context = DialogueContext(
            history=tuple(history),
            events=tuple(Event(user_id=user_id, item_id=item_id, timestamp=now, kind=kind) for item_id, kind in felt),
            events_only=alone,
            words=" ".join([query, *(value for _, value in wanted)]).strip(),
            said=None if alone else DialogueInput(turns=tuple(turns), mentions=_mentions(after), wanted=wanted),
        )
        settings, filter = self._workspace.settings, all_of(found.parts)
        return settled_request(settings, (user_id,), reply.k, query=query, filter=filter, exclude=found.exclude, dialogue=context)

    def _question(self, reply: _Reply, answer: Answer, found: Satisfiable, after: State, lexicon: Lexicon) -> Question | None:
        """At most every other answer asks, and only while much fits."""
        if not self._workspace.settings.chat.ask or reply.state.just_asked or reply.draft.alone:
            return None
        if found.count <= ASK_ABOVE * reply.k:
            return None
        left = [item for item in answer.ranked[0] if item.item_id not in reply.turn.shown]
        settled = frozenset(after.asked).union(*(attributes_of(part) for part in found.parts))
        return question(left, lexicon.vocabulary, settled)

    async def _undo(self, dialogue: Dialogue, command: Command, text: str, lexicon: Lexicon) -> ChatAnswer:
        """Take back the last turn and what it recorded of the person, or with a reset what all turns asked for."""
        state, events = state_of(dialogue.turns), []
        if command.reset:
            reply = replies.RESET
            dialogue.turns.append(Turn(text=text, reply=reply, reset=True))
        elif not dialogue.turns or dialogue.turns[-1].summed:
            reply = replies.NOTHING_TO_UNDO
        else:
            undone = dialogue.turns.pop()
            events = [Event(user_id=dialogue.user_id, item_id=one, kind=kind, timestamp=at) for one, kind, at in undone.noted]
            state = state_of(dialogue.turns)
            holds = in_words(state.constraints, lexicon.vocabulary)
            reply = f"{replies.UNDONE} {f'What holds: {holds}.' if holds else ''}".strip()
        if dialogue.session_id:
            await asyncio.to_thread(save_dialogue, self._workspace.store, dialogue)
            await asyncio.to_thread(self._workspace.store.delete_events, events)
        return ChatAnswer(
            session_id=dialogue.session_id,
            text=reply,
            items=(),
            understood=Understood(text=text, intent="small_talk"),
            filter="" if command.reset else _expression_of(state.constraints),
            trace=Stages().trace(),
        )

    async def _store_turn(self, dialogue: Dialogue, turn: Turn) -> None:
        """Store the turn, and for a person that is known by id what it says of items, as events."""
        events: list[Event] = []
        if dialogue.user_id and dialogue.session_id:
            now = time.time()
            pairs = ((item_id, kind) for name, kind in EVENT_KINDS.items() for item_id in getattr(turn, name))
            events = [
                Event(user_id=dialogue.user_id, item_id=item_id, kind=kind, timestamp=now + STEP * place)
                for place, (item_id, kind) in enumerate(pairs)
            ]
        turn = replace(turn, noted=tuple((event.item_id, event.kind, event.timestamp) for event in events))
        dialogue.turns.append(turn)
        if dialogue.session_id:
            try:
                await asyncio.to_thread(save_dialogue, self._workspace.store, dialogue)
            except BaseException:
                dialogue.turns.remove(turn)
                raise
        if events:
            await asyncio.to_thread(self._workspace.store.add_events, events)

    async def _items(self, ids: Sequence[str]) -> list[Item]:
        found = await asyncio.to_thread(self._workspace.store.items, ids) if ids else {}
        return [found[item_id] for item_id in ids if item_id in found]


def _shown_in(text: str, lexicon: Lexicon) -> tuple[str, ...]:
    """The items that an answer recommended: those of its numbered lines, else all that it names."""
    lines = listed_lines(text) or [text]
    return tuple(dict.fromkeys(one.item_ids[0] for line in lines for one in lexicon.linker.link(tidied(clean_text(line)))))


def _only_reset(text: str, lexicon: Lexicon) -> bool:
    """Whether the turn asks for nothing beside a new beginning."""
    read = Parser(lexicon.vocabulary, lexicon.linker).parse(without_reset(text))
    return read.filter is None and not read.mentions and not read.need


def _mentions(state: State) -> tuple[Mentioned, ...]:
    felt: dict[str, Attitude] = {**dict.fromkeys(state.seen, "seen"), **dict.fromkeys(state.liked, "liked")}
    felt |= dict.fromkeys(state.disliked, "disliked")
    named = dict.fromkeys((*state.mentioned, *felt))
    return tuple(Mentioned(item_id=one, attitude=felt.get(one, "neutral")) for one in named)


def _about_items(reply: _Reply, focus: Sequence[Item], lexicon: Lexicon) -> str:
    """Answers that are no list: facts, comparisons, reasons once more, a choice taken."""
    turn, understood, vocabulary = reply.turn, reply.understood, lexicon.vocabulary
    if turn.intent == "accept":
        return replies.WHICH if not focus and takes_one(lowered(turn.text)) else replies.accepted(focus)
    if not focus:
        return replies.WHICH if reply.state.shown else replies.NO_LIST
    if turn.intent == "why":
        reasons = reply.state.reasons
        return "\n".join(f"{replies.quoted(item)}: {reasons.get(item.item_id, replies.NOT_RECOMMENDED)}" for item in focus)
    if turn.intent == "compare" and len(focus) > 1:
        best = [replies.extreme(focus, one.attribute, one.direction, vocabulary) for one in understood.steers]
        return "\n".join(line for line in best if line) or replies.comparison(focus, vocabulary)
    attribute = understood.question_about
    if turn.intent == "ask" and understood.unmet and not attribute:
        return replies.not_in_catalogue(understood.unmet)
    if attribute:
        return "\n".join(replies.attribute_line(item, attribute, vocabulary) for item in focus)
    if understood.filter is not None:
        names = sorted(attributes_of(understood.filter))
        return "\n".join(
            f"{'Yes' if matches(understood.filter, item) else 'No'}. "
            + " ".join(replies.attribute_line(item, name, vocabulary) for name in names)
            for item in focus
        )
    lines = [replies.UNSAID] if turn.intent == "ask" and asks_for_a_fact(lowered(turn.text)) else []
    return "\n".join([*lines, *(replies.description(item, vocabulary) for item in focus)])


async def _in_order(answer: Answer) -> AsyncIterator[Recommendation]:
    """The rows by rank, each as soon as its reason and those before it are written."""
    if not answer.explains:
        for row in answer.rows:
            yield row
    done: dict[int, Recommendation] = {}
    place = 0
    async for number, reason in answer.reasons():
        done[number] = replace(answer.rows[number], reason=reason)
        while place in done:
            yield done.pop(place)
            place += 1


def _expression_of(constraints: Sequence[Filter]) -> str:
    standing = all_of(constraints)
    return expression(standing) if standing else ""


def _answer_of(session_id: str, reply: _Reply, turn: Turn) -> ChatAnswer:
    trace = reply.stages.trace()
    return ChatAnswer(
        session_id=session_id,
        text=turn.reply,
        items=tuple(replace(row, trace=trace) for row in reply.rows),
        understood=reply.understood,
        trace=trace,
        filter=_expression_of(turn.constraints),
        question=turn.asked,
        relaxed=reply.relaxed,
        without=reply.without,
    )
