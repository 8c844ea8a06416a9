"""Captions of a workspace from beginning to end: what `genrec caption` and `Recommender.caption` call."""

from genrec.captioning.estimate import Estimate, estimate, remember
from genrec.captioning.evidence import Evidence
from genrec.captioning.running import Captioned, Options, Plan, Run, plan
from genrec.models.llm import LLM
from genrec.progress import SILENT, Progress
from genrec.workspace import Workspace
from genrec.writing.caption_words import wording
from genrec.writing.caption_writer import TemplateWriter, TextWriter, Writer


class Captioner:
    """Plans and writes the captions of a built workspace. `notes`: what could not be used, and why."""

    def __init__(self, workspace: Workspace, llm: LLM | None, progress: Progress = SILENT) -> None:
        """`llm` None: the template writes. Raises WorkspaceError without a build, ConfigError, AdapterError, PromptError."""
        self._workspace = workspace
        self._llm = llm
        self._progress = progress
        self.notes: list[str] = []
        self._evidence = Evidence(workspace, progress)
        self.writer = self._writer()
        self.model = llm.id if llm is not None else ""

    def plan(self, options: Options) -> Plan:
        """What is to be written, and from which evidence. Raises UnknownItemError, StoreError."""
        made = plan(self._workspace, self._evidence, self.writer, self.model, options)
        self.notes += [note for note in made.notes if note not in self.notes]
        return made

    def estimate(self, planned: Plan) -> Estimate:
        """What `write` would cost. Raises PromptError, EngineError."""
        return estimate(planned, self.writer, self.model, self._llm, self._workspace.settings.caption, self._workspace.store)

    async def write(self, planned: Plan) -> Captioned:
        """Write and keep. Raises EngineError when the engine answers no more, StoreError; what was written before is kept."""
        outcome = await Run(self._workspace, self.writer, self.model, planned, self._progress).write()
        remember(self._workspace.store, self.model, self.writer, outcome)
        return outcome

    def _writer(self) -> Writer:
        settings = self._workspace.settings.caption
        words = wording(settings.language, self._workspace.prompts)
        if self._llm is None:
            return TemplateWriter(words)
        used = self._workspace.registry.in_use("write")
        if used.note:
            self.notes.append(used.note)
        adapter = used.adapter.name if used.adapter else ""
        bears_out = self._evidence.tagger.bears_out if self._llm.sees else None
        return TextWriter(self._llm, self._workspace.prompts, settings, words, adapter, bears_out)


def load_llm(workspace: Workspace, progress: Progress = SILENT) -> LLM | None:
    """The LLM that writes, None where `caption.write` is `template`. Raises WeightsError, AdapterError or EngineError."""
    return None if workspace.settings.caption.write == "template" else workspace.llm(progress)
