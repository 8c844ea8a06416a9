"""What `genrec eval` says of the chat: `--dialogues F`, are recommended items found; `--simulate N`, do simulated people find."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrec.cli.options import open_workspace
from genrec.cli.printing import Bars, print_columns, print_value, say

if TYPE_CHECKING:
    from genrec.evaluation.dialogue_recall import DialogueResults
    from genrec.evaluation.simulated_users import Reply
    from genrec.progress import Progress
    from genrec.recommender import Recommender

DIALOGUE_REPORT = "eval-dialogues.json"
SIMULATED_REPORT = "eval-simulated.json"
CHAT, SEARCH = "chat", "text search"
TURNS = 5
"""Most turns of a simulated person."""
SHOWN_DIALOGUES = 20
"""Dialogues that the report has, word for word."""


def evaluate_dialogues(workspace: Path, path: Path, people: int | None, ks: Sequence[int], out: Path | None, json: bool) -> None:
    """The results as a table or JSON on stdout, and as JSON in the reports folder. `ks`: empty for the usual ones."""
    from genrec.evaluation.dialogue_recall import KS, evaluate

    with open_workspace(workspace) as opened:
        with Bars() as bars:
            results = evaluate(opened, path, sample=people, ks=ks or KS, progress=bars)
        report = _write_report(results.as_json(), out or opened.folder / "reports", DIALOGUE_REPORT)
    if json:
        print_value(results.as_json())
    else:
        _print_dialogue_results(results)
    say(str(report))


def _write_report(values: Mapping[str, Any], folder: Path, name: str) -> Path:
    from genrec.workspace.folder import write_json

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / name, values)
    return folder / name


def _print_dialogue_results(results: "DialogueResults") -> None:
    """One row a system, best first at the largest K."""
    ks = sorted(next(iter(results.systems.values())).at) if results.systems else []
    rows = []
    for name, one in sorted(results.systems.items(), key=lambda entry: -entry[1].at[ks[-1]].mean):
        recall = [f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]" for found in (one.at[k] for k in ks)]
        rows.append((name, *recall, *(f"{one.repeats[k].mean:.3f}" for k in ks)))
    header = ("system", *(f"recall@{k}" for k in ks), *(f"with repeats@{k}" for k in ks))
    title = f"{results.dialogues:,} dialogues, {results.cases:,} items recommended at {results.moments:,} moments"
    print_columns(header, rows, title=title, numbers=True)
    if results.unresolved:
        print(f"{results.unresolved:,} recommended titles are not in the catalogue and are not counted.")
    if results.repeated:
        print(f"{results.repeated:,} more were named before: only `with repeats` counts them.")
    if (found := results.linking) is not None:
        plain = f"precision {found.precision:.3f}, recall {found.recall:.3f}, F1 {found.f1:.3f}"
        print(f"Titles found in the text: {plain}; each once a dialogue F1 {found.distinct_f1:.3f}.")
    if (held := results.constraints) is not None:
        shares = f"{held['with filter']:.1%} of the items shown, {held['without filter']:.1%} without the filter"
        print(f"Constraints of {held['moments']:.0f} moments hold for {shares}.")
    if results.effort:
        took = f"{results.effort['median ms']:.0f} ms (p95 {results.effort['p95 ms']:.0f} ms)"
        print(f"A turn takes {took} and {results.effort['tokens']:.0f} tokens of the text encoder, none of the LLM.")
    for note in results.notes:
        say(note)


def evaluate_simulated(workspace: Path, n: int, *, seed: int = 0, k: int | None, out: Path | None, json: bool) -> None:
    """A table or JSON on stdout; figures and some dialogues as JSON in the reports folder."""
    from genrec.recommender import Recommender

    with Bars() as bars, Recommender.open(workspace, progress=bars) as genrec:
        found = _simulated(genrec, n, seed=seed, k=k or genrec.workspace.settings.chat.items, progress=bars)
        report = _write_report(found, out or genrec.workspace.folder / "reports", SIMULATED_REPORT)
    if json:
        print_value({name: one for name, one in found.items() if name != "dialogues"})
    else:
        _print_simulated(found)
    say(str(report))


class Chatting:
    """genrec's chat as somebody to talk to: every dialogue is a session of its own, with nobody known."""

    def __init__(self, genrec: "Recommender", k: int) -> None:
        self._genrec, self._k = genrec, k
        self._session = ""

    def begin(self) -> None:
        self.end()

    def end(self) -> None:
        """Delete what was stored of the last dialogue."""
        if self._session:
            self._genrec.workspace.store.delete_session(self._session)
        self._session = ""

    def say(self, text: str) -> "Reply":
        from genrec.evaluation.simulated_users import Reply

        answer = self._genrec.chat(text, session_id=self._session, k=self._k)
        self._session = answer.session_id
        return Reply(answer.text, tuple(row.item.item_id for row in answer.items), answer.question)


def _simulated(genrec: "Recommender", n: int, *, seed: int, k: int, progress: "Progress") -> dict[str, Any]:
    """The same n people with the chat and with the search: settings, figures of both, and some dialogues."""
    from genrec.evaluation.simulated_users import Crowd, TextSearch, as_json, simulate

    settings, chat = genrec.workspace.settings, Chatting(genrec, k)
    try:
        crowd = Crowd.of(genrec.workspace, seed)
        systems = {CHAT: chat, SEARCH: TextSearch(genrec.workspace, k, progress)}
        results = simulate(crowd, systems, n, turns=TURNS, progress=progress)
    finally:
        chat.end()
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
        for one in sorted(results[CHAT], key=lambda one: one.found > 0)  # those that failed first
    ]
    return {
        "k": k,
        "turns": TURNS,
        "seed": seed,
        "ranking": settings.rank.mode,
        "reasons": settings.reasons.explain,
        "ask": settings.chat.ask,
        "figures": as_json(results, turns=TURNS),
        "dialogues": dialogues[:SHOWN_DIALOGUES],
    }


def _print_simulated(found: Mapping[str, Any]) -> None:
    """One row for each whom they talked to."""
    rows = []
    for name, one in found["figures"].items():
        low, high = one["interval"]
        shares = [f"{share:.1%}" for share in one["success"]]
        times = f"{one['turns']:.2f}", f"{one['ms a turn, median']:.0f}"
        rows.append((name, str(one["users"]), *shares, f"{low:.1%} to {high:.1%}", *times))
    header = ("", "people", *(f"turn {n}" for n in range(1, found["turns"] + 1)), "95%", "turns", "ms a turn")
    print_columns(header, rows, title=f"Found within {found['turns']} turns, {found['k']} items a turn", numbers=True)
