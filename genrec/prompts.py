"""Prompts: one Jinja2 file for each task, strict about variables, sandboxed, with a digest that goes into every trace.

A template is `<name>.j2`. The workspace's own folder overrides the shipped one file by file. Text from tables or people goes
through the filter `data`, so that it can neither end its line nor contain the chat template's own tokens:

    {{ item.title | data(80) }}
"""

import hashlib
import re
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import FunctionLoader, StrictUndefined, TemplateError, TemplateNotFound, TemplateSyntaxError, UndefinedError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from genrec.errors import PromptError

_PACKAGE = Path(__file__).parent
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_SHIPPED_IN_0_1_0 = {
    "192e4b402bb6": "43688e4fdeab",
    "8409135a473c": "1f3208e99511",
    "63a3f71582f9": "7ec7c620a499",
    "31ed7632d688": "c7916cde8ff6",
    "74c8cf9396d5": "86962645b995",
    "63377c1306b6": "a46dec3acc71",
    "845b45af101c": "64f0863b2551",
}
"""Digests of the shipped templates with their comments, as cards and captions of version 0.1.0 have them → without."""
ELLIPSIS = "…"
CUT = "\x1e"
"""The record separator: `data` takes it out of every text, so only a template can place it, as `{{ cut }}`."""

# Invisible characters that reorder or hide text: soft hyphen, marks, embeddings, isolates, zero-width (not the joiners, which
# Persian, Indic scripts and emoji need), byte-order mark, interlinear marks and the "tag" block.
_HIDDEN = re.compile("[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]")
_BREAKS = re.compile("[\\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SURROGATES = re.compile("[\ud800-\udfff]")
# `<|im_start|>`, `</s>`, `<start_of_turn>`, `<｜User｜>`: a tag-like word loses its brackets. They are replaced, never
# removed, so that no new token can form from what is left. Square brackets only by list: “[REC]” is a film.
_BARS = re.compile(r"<(?=[|｜])|(?<=[|｜])>")
_TAGS = re.compile(r"<(/?\w[\w:.-]{0,63})>")
_SQUARE = re.compile(
    r"\[(/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|CALL_ID|ARGS|THINK|MODEL_SETTINGS"
    r"|IMG|IMG_BREAK|IMG_END|AUDIO|BEGIN_AUDIO|PREFIX|MIDDLE|SUFFIX|CLS|SEP|PAD|MASK|UNK|BOS|EOS))\]",
    re.IGNORECASE,
)


def data(text: object, limit: int | None = None) -> str:
    """One harmless line of `text`, of at most `limit` characters (a cut ends in an ellipsis, which counts).

    Line breaks, tabs and control characters become one space, invisible and bidirectional controls go, lone surrogates become
    U+FFFD, chat-template tokens lose their brackets (`<|im_end|>` → `‹|im_end|›`, `[INST]` → `(INST)`). Applying it twice
    changes nothing. Raises ValueError when `limit` < 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"data: limit must be at least 1, not {limit}")
    line = _SURROGATES.sub("\ufffd", _HIDDEN.sub("", str(text)))
    line = _BREAKS.sub(" ", line).strip()
    line = _BARS.sub(lambda bracket: "‹" if bracket[0] == "<" else "›", line)
    line = _SQUARE.sub(r"(\1)", _TAGS.sub(r"‹\1›", line))
    if limit is not None and len(line) > limit:
        line = line[: limit - 1].rstrip() + ELLIPSIS
    return line


def listed(words: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`; `last` joins the last two."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else list(words))


def shipped_folder() -> Path:
    """Where the shipped templates are: `genrec/_prompts` in an installed wheel, `prompts/` in a source tree."""
    installed = _PACKAGE / "_prompts"
    return installed if installed.is_dir() else _PACKAGE.parent / "prompts"


def _short_digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:12]


class Prompts:
    """Renders templates by name. `folder`, usually `<workspace>/prompts`, overrides shipped files; it need not exist.

    Each file is read once, so the digest is always that of the text that was rendered.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        self._folders = [*([Path(folder)] if folder is not None else []), shipped_folder()]
        self._sources: dict[str, tuple[str, str]] = {}
        self._environment = ImmutableSandboxedEnvironment(
            loader=FunctionLoader(self._load),
            undefined=StrictUndefined,
            autoescape=False,  # the output is a prompt, not HTML
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters["data"] = data

    def names(self) -> list[str]:
        """The templates there are, without the ending."""
        return sorted({path.stem for folder in self._folders if folder.is_dir() for path in folder.glob("*.j2")})

    def path(self, file: str) -> Path | None:
        """Where `file` is, a path below the folder of templates: the workspace's own, the shipped one, or None."""
        return next((folder / file for folder in self._folders if (folder / file).is_file()), None)

    def paths(self, folder: str, pattern: str) -> list[Path]:
        """Files matching `pattern` in a folder beside the templates; a workspace's own replaces a shipped one of that name."""
        found: dict[str, Path] = {}
        for above in self._folders:
            for path in sorted((above / folder).glob(pattern)):
                found.setdefault(path.name, path)
        return [found[name] for name in sorted(found)]

    def render(self, name: str, values: Mapping[str, Any]) -> str:
        """The prompt `name` with `values`. Raises PromptError: no such file, a fault in it, or a missing variable."""
        path = self._source(name)[1]
        try:
            return self._environment.get_template(f"{name}.j2").render(values)
        except TemplateSyntaxError as error:
            raise PromptError(
                f"{error.filename or path}, line {error.lineno}: {error.message}", hint="Mend the template."
            ) from error
        except UndefinedError as error:
            given = ", ".join(sorted(values)) or "none"
            raise PromptError(f"{_place(error, path)}: {error.message}", hint=f"Variables given: {given}.") from error
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise PromptError(f"{_place(error, path)}: {type(error).__name__}: {error}", hint="Mend the template.") from error

    def parts(self, name: str, count: int, values: Mapping[str, Any]) -> list[str]:
        """The prompt `name` split where the template says `{{ cut }}`; each part without the line break that begins it.

        The first part is what an engine may keep between requests. Raises PromptError as `render` does, and when the template
        gives another number of parts than `count`.
        """
        first, *rest = self.render(name, {"cut": CUT, **values}).split(CUT)
        if 1 + len(rest) != count:
            message = f"{name}.j2 has {1 + len(rest)} parts, {count} are needed"
            raise PromptError(message, hint="Keep every {{ cut }} of the shipped template.")
        return [first.lstrip("\n"), *(part.removeprefix("\n") for part in rest)]

    def digest(self, name: str) -> str:
        """First 12 hex digits of the SHA-256 of the template without its comments, followed by the files it includes, if any."""
        return _short_digest(self._without_comments(text) for text in self._texts(f"{name}.j2", []))

    def agree(self, noted: str, *names: str) -> bool:
        """Whether `noted`, from a card or a caption, is the digests of the templates `names` as they are here, joined by `+`.

        Version 0.1.0 included comments; such digests are still recognised. Raises PromptError.
        """
        parts = noted.split("+")
        return len(parts) == len(names) and all(map(self._agrees, parts, names))

    def _agrees(self, noted: str, name: str) -> bool:
        digest = self.digest(name)
        with_comments = _short_digest(self._texts(f"{name}.j2", []))
        return noted in (digest, with_comments) or _SHIPPED_IN_0_1_0.get(noted) == digest

    def _without_comments(self, text: str) -> str:
        tokens = self._environment.lex(text)
        return "".join(value for _, kind, value in tokens if not kind.startswith("comment"))

    def _texts(self, file: str, seen: list[str]) -> list[str]:
        if file in seen:
            return []
        seen.append(file)
        text, path = self._source(file.removesuffix(".j2"))
        try:
            parts = sorted(part for part in meta.find_referenced_templates(self._environment.parse(text)) if part is not None)
        except TemplateSyntaxError as error:
            raise PromptError(f"{path}, line {error.lineno}: {error.message}", hint="Mend the template.") from error
        return [text, *(piece for part in parts for piece in self._texts(part, seen))]

    def _load(self, file: str) -> tuple[str, str, None]:
        if not file.endswith(".j2"):
            raise TemplateNotFound(file)
        return *self._source(file.removesuffix(".j2")), None

    def _source(self, name: str) -> tuple[str, str]:
        """(text, path) of a template, read once."""
        if name in self._sources:
            return self._sources[name]
        if not _NAME.fullmatch(name):
            raise PromptError(f"not a prompt's name: {name!r}", hint="Letters, digits, `_` and `-`, without `.j2`.")
        for folder in self._folders:
            path = folder / f"{name}.j2"
            if path.is_file():
                try:
                    # bytes, not read_text: Jinja converts line ends, for the text and its digest alike
                    self._sources[name] = (path.read_bytes().decode("utf-8"), str(path))
                except (OSError, UnicodeDecodeError) as error:
                    raise PromptError(f"{path}: {error}", hint="The file must be readable UTF-8 text.") from error
                return self._sources[name]
        places = ", ".join(str(folder) for folder in self._folders)
        raise PromptError(f"no prompt {name!r} in {places}", hint=f"There are: {', '.join(self.names()) or 'none'}.")


def _place(error: BaseException, path: str) -> str:
    """`file, line n` of the innermost template line on the traceback."""
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith(".j2")]
    return f"{lines[-1].filename}, line {lines[-1].lineno}" if lines else path
