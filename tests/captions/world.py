"""The shop with items that lost their words, and an engine that writes captions from its prompt."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from genrec.captions.caption_run import Captioned, CaptionOptions
from genrec.captions.captioner import Captioner
from genrec.errors import EngineError, UnfinishedError
from genrec.llm.fake import FakeLLM
from genrec.llm.protocol import LLM, WriteRequest
from genrec.types import Item, StoredCaption
from genrec.workspace.folder import Workspace

BEHAVIOUR = ("space-0", "space-1")
"""Nothing is left of these but what people did."""
NO_TITLE = ("crime-0",)
"""Attributes and text are left."""
NO_TEXT = ("war-0", "war-1")
"""Title and attributes are left."""
ALONE = "nobody-knows"
"""Neither words nor events."""
ALL = (*NO_TITLE, *BEHAVIOUR, *NO_TEXT)


def blank(workspace: Workspace) -> None:
    store = workspace.store
    store.put_items([Item(item_id=item_id) for item_id in (*BEHAVIOUR, ALONE)])
    store.put_items([replace(item, title="") for item in store.items(NO_TITLE).values()])
    store.put_items([replace(item, text="") for item in store.items(NO_TEXT).values()])


class Typist(FakeLLM):
    """Writes what the evidence in its prompt says. Of the prompts that have a word of `lies`, the first tries are false, of those
    with a word of `silent` there is no answer at all; with one of `cut` the JSON ends before it is whole.
    """

    def __init__(self, *, lies: Sequence[str] = (), silent: Sequence[str] = (), cut: Sequence[str] = (), tries: int = 1) -> None:
        super().__init__()
        self.lies, self.silent, self.cut, self.tries = tuple(lies), tuple(silent), tuple(cut), tries
        self.asked: list[WriteRequest] = []

    def _write(self, request: WriteRequest) -> str:
        self.asked.append(request)
        if any(word in request.prompt for word in self.silent):
            raise EngineError("the line is dead", hint="Wait.", retryable=True)
        if any(word in request.prompt for word in self.cut):
            raise UnfinishedError("the text ended before the JSON value was whole", hint="Raise max_tokens.")
        before = sum(one.prompt == request.prompt for one in self.asked)
        lines = request.prompt.splitlines()
        own = any(line.startswith("Title: ") for line in lines)
        values = [line.partition(": ")[2].partition(", ")[0] for line in lines if line.startswith("- ")]
        near = [f"often chosen with [{found[1]}]" for line in lines if (found := re.match(r"Chosen with: \[(\d+)\]", line))]
        said = ", ".join([*values, *near])
        if any(word in request.prompt for word in self.lies) and before <= self.tries:
            said = "A masterpiece"
        said = said[:1].upper() + said[1:]
        return json.dumps({"title": "" if own else said[:80], "caption": f"{said or 'This item'}.", "tags": []})


@dataclass
class Shop:
    """An open workspace whose captions a `Typist` writes."""

    workspace: Workspace
    llm: LLM | None = field(default_factory=Typist)

    def captioner(self) -> Captioner:
        return Captioner(self.workspace, self.llm)

    async def run(self, **options: object) -> Captioned:
        captioner = self.captioner()
        return await captioner.write(captioner.plan(CaptionOptions(**options)))  # type: ignore[arg-type] - the tests name real ones

    def by_model(self) -> dict[str, StoredCaption]:
        stored = [one for batch in self.workspace.store.all_captions() for one in batch]
        return {one.item_id: one for one in stored if one.source != "human"}
