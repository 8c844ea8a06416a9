"""`genrec eval --simulate N`: people with a wish talk to genrec's chat, and to a text search."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genrec.evaluation.simulated import Heard
    from genrec.recommender import Recommender

REPORT = "eval-simulated.json"
CHAT, SEARCH = "chat", "text search"
SHOWN_DIALOGUES = 20
"""Dialogues kept in the report, word for word."""


class Chatting:
    """genrec's chat as somebody to talk to: every dialogue a session of its own, with nobody known."""

    def __init__(self, genrec: "Recommender", k: int) -> None:
        self._genrec, self._k = genrec, k
        self._session = ""

    def begin(self) -> None:
        self.end()

    def end(self) -> None:
        """Delete what was kept of the last dialogue."""
        if self._session:
            self._genrec.workspace.store.delete_session(self._session)
        self._session = ""

    def say(self, text: str) -> "Heard":
        from genrec.evaluation.simulated import Heard

        answer = self._genrec.chat(text, session_id=self._session, k=self._k)
        self._session = answer.session_id
        return Heard(answer.text, tuple(row.item.item_id for row in answer.items), answer.question)


def evaluate_simulated(
    workspace: Path, n: int, *, seed: int = 0, k: int | None = None, out: Path | None = None, as_json: bool = False
) -> None:
    """A table or JSON on stdout; figures and some dialogues as JSON in the reports folder."""
    from genrec.cli.printing import Bars, say
    from genrec.recommender import Recommender
    from genrec.workspace import write_json

    with Bars() as bars, Recommender.open(workspace, progress=bars) as genrec:
        found = talked(genrec, n, seed=seed, k=k, progress=bars)
        folder = out or genrec.workspace.folder / "reports"
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / REPORT, found)
    if as_json:
        print(json.dumps({name: one for name, one in found.items() if name != "dialogues"}, ensure_ascii=False))
    else:
        print_simulated(found)
    say(str(folder / REPORT))


def talked(genrec: "Recommender", n: int, *, seed: int, k: int | None, progress: Any, turns: int = 5) -> dict[str, Any]:
    """The same n people with the chat and with the search: settings, figures of both, and some dialogues."""
    from genrec.evaluation.simulated_workspace import Crowd, TextSearch, as_json, simulate

    shown = k or genrec.workspace.settings.dialogue.items
    chat = Chatting(genrec, shown)
    try:
        crowd = Crowd.of(genrec.workspace, seed)
        talks = {CHAT: chat, SEARCH: TextSearch(genrec.workspace, shown, progress)}
        told = simulate(crowd, talks, n, turns=turns, progress=progress)
    finally:
        chat.end()
    settings = genrec.workspace.settings
    how = {"ranking": settings.ranking.mode, "reasons": settings.reasons.explain, "ask": settings.dialogue.ask}
    dialogues = [
        {
            "target": one.target,
            "title": crowd.items[one.target].title,
            "found": one.found,
            "turns": [
                {"said": t.said, "heard": t.heard.text, "question": t.heard.question, "items": list(t.heard.item_ids)}
                for t in one.turns
            ],
        }
        for one in sorted(told[CHAT], key=lambda one: one.found > 0)  # those that failed first
    ]
    return {
        "k": shown,
        "turns": turns,
        "seed": seed,
        **how,
        "figures": as_json(told, turns=turns),
        "dialogues": dialogues[:SHOWN_DIALOGUES],
    }


def print_simulated(found: Mapping[str, Any]) -> None:
    """One row for each whom they talked to."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Found within {found['turns']} turns, {found['k']} items a turn", title_justify="left")
    for name in ("", "people", *(f"turn {n}" for n in range(1, found["turns"] + 1)), "95%", "turns", "ms a turn"):
        table.add_column(name, justify="right" if name else "left")
    for name, one in found["figures"].items():
        low, high = one["interval"]
        shares = [f"{share:.1%}" for share in one["success"]]
        times = f"{one['ms a turn, median']:.0f}"
        table.add_row(name, str(one["users"]), *shares, f"{low:.1%} to {high:.1%}", f"{one['turns']:.2f}", times)
    Console(width=160).print(table)
