"""Who ranks and who reads turns in a workspace: its adapters in use, and how much each counts."""

from dataclasses import dataclass, field

from pydantic import ValidationError

from genrec.errors import WorkspaceError
from genrec.files import read_json, write_json
from genrec.llm.adapters import Adapter, RankingChoice
from genrec.ranking.prompter import Method
from genrec.settings.sections import RankSettings
from genrec.understanding.llm_reader import Trust
from genrec.workspace.folder import Workspace

CHOICES = "choices.json"
"""Adapter → how to use it on this catalogue, fitted on its own events; the card's choice was fitted elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedRanking:
    """The adapter's name, empty for the base model, the settings to rank by, what is amiss with the adapter, if anything, and the
    usual spread of its scores by the retriever behind which the weights were fitted.
    """

    adapter: str
    settings: RankSettings
    note: str = ""
    spread: float = 0.0
    retriever: str = ""

    def spread_of(self, retriever: str) -> float:
        """For `RankRequest.spread`: 0 for another retriever."""
        return self.spread if retriever == self.retriever else 0.0


def served_ranking(workspace: Workspace, method: Method | None = None) -> ServedRanking:
    """Who ranks by `method`; None: by the method of the adapter in use, or of the settings where there is none.

    Settings of `[rank]` that were given win over the choice fitted here, which wins over the adapter's card. An adapter that
    was trained for another method than the one asked for is not used, which `note` says. Raises AdapterError for one that is
    named and does not fit, WorkspaceError when what was fitted here cannot be read.
    """
    given = workspace.settings.rank
    used = workspace.registry.in_use("rerank")
    asked = method or (given.method if "method" in given.model_fields_set else None)
    if used.adapter is None or (asked and asked != used.adapter.card.method):
        note = used.note
        if used.adapter is not None:
            note = f"adapter {used.adapter.name} ranks by {used.adapter.card.method}, not by {asked}: the base model ranks"
        return ServedRanking(adapter="", settings=given.model_copy(update={"method": asked or given.method}), note=note)
    choice = read_choices(workspace).get(used.adapter.name) or used.adapter.card.ranking
    told = choice.model_dump() if choice else {"spread": 0.0, "retriever": ""}
    behind = {name: told.pop(name) for name in ("spread", "retriever")}
    fitted = {name: value for name, value in told.items() if name not in given.model_fields_set}
    settings = given.model_copy(update=fitted | {"method": used.adapter.card.method})
    return ServedRanking(adapter=used.adapter.name, settings=settings, note=used.note, **behind)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedReading:
    """Whether the LLM reads turns beside the parser, by which adapter (empty: the base model), whom to believe where, and what is
    amiss with the adapter, if anything.
    """

    asks: bool
    adapter: str = ""
    trust: Trust = field(default_factory=Trust)
    note: str = ""


def served_reading(workspace: Workspace) -> ServedReading:
    """Who reads turns by `[chat] understand`. Raises AdapterError for an adapter that is named and does not fit."""
    understand = workspace.settings.chat.understand
    if understand == "parser" or not workspace.settings.models.llm:
        return ServedReading(asks=False)
    used = workspace.registry.in_use("converse")
    if used.adapter is None:
        return ServedReading(asks=understand == "llm", note=used.note)
    choice = used.adapter.card.reading
    if choice is None:
        return ServedReading(asks=understand == "llm", adapter=used.adapter.name, note=used.note)
    trust = Trust(**choice.model_dump(exclude={"serves"}))
    return ServedReading(asks=choice.serves or understand == "llm", adapter=used.adapter.name, trust=trust, note=used.note)


def read_choices(workspace: Workspace) -> dict[str, RankingChoice]:
    """What was fitted here. Raises WorkspaceError when the file is damaged."""
    path = workspace.adapters / CHOICES
    if not path.exists():
        return {}
    again = f"Delete it; `genrec train rerank -w {workspace.folder} --fit NAME` makes it again."
    value = read_json(path, hint=again)
    try:
        return {str(name): RankingChoice.model_validate(choice) for name, choice in value.items()}
    except (ValidationError, AttributeError) as error:
        raise WorkspaceError(f"{path}: the file is damaged: {error}", hint=again) from error


def write_choice(workspace: Workspace, adapter: Adapter, choice: RankingChoice) -> None:
    """Use `adapter` so on this catalogue. Raises WorkspaceError."""
    choices = read_choices(workspace) | {adapter.name: choice}
    try:
        workspace.adapters.mkdir(exist_ok=True)
    except OSError as error:
        raise WorkspaceError(f"{workspace.adapters}: {error.strerror or error}", hint="Mend the rights.") from error
    write_json(workspace.adapters / CHOICES, {name: one.model_dump() for name, one in choices.items()})
