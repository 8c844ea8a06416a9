"""Every error that genrec raises on purpose.

Each carries a `hint`: what the caller can do about it. `retryable` says whether the same call may succeed later.

    GenrecError
    ├── ConfigError            a setting, a key of genrec.toml or an option is wrong
    ├── WorkspaceError         the folder is missing, of another version, or damaged
    ├── DataError              an input table, row or picture is wrong
    │   ├── TableError         the file as a whole cannot be read
    │   ├── RowError           one row has a fault (strict ingest stops here)
    │   └── MediaError         a picture is missing, too large, not a picture, or not allowed
    ├── StoreError             the database refused or failed
    ├── IndexFault             the vector engine refused or failed
    ├── FilterError            a filter expression cannot be parsed or does not fit the catalogue
    ├── UnknownError           an id that is not there
    │   ├── UnknownUserError
    │   ├── UnknownItemError
    │   └── UnknownSessionError  a dialogue that is not there, or belongs to somebody else
    ├── ModelError             weights cannot be had or an engine failed
    │   ├── WeightsError       weights were found nowhere
    │   ├── LabelError         a label is not a single token, or a label's score is missing
    │   ├── AdapterError       a LoRA adapter is missing, damaged, or made for another base model or prompt
    │   └── EngineError        the LLM engine cannot do what was asked
    │       └── UnfinishedError  a text that was to be JSON ended before the value did
    ├── PromptError            a template is missing or refers to a missing variable
    ├── EvaluationError        a split leaks or has no cases, or a system under comparison cannot be compared
    └── TrainingError          the events do not suffice, or the loss stopped being a number
"""


class RenamedWarning(FutureWarning):
    """A name of an earlier version was used: a settings key, an option. It will be refused after the next release."""


class GenrecError(Exception):
    """Base of all errors raised on purpose. `hint` tells what to do; `exit_code` is what the command line returns."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", retryable: bool = False) -> None:
        super().__init__(message)
        self.hint = hint
        self.retryable = retryable


class ConfigError(GenrecError):
    exit_code = 2


class WorkspaceError(GenrecError):
    exit_code = 3


class DataError(GenrecError):
    exit_code = 4


class TableError(DataError):
    pass


class RowError(DataError):
    pass


class MediaError(DataError):
    pass


class StoreError(GenrecError):
    exit_code = 5


class IndexFault(GenrecError):  # noqa: N818 - `IndexError` would shadow the built-in
    exit_code = 6


class FilterError(GenrecError):
    """`position` is the 0-based character of the filter at fault; the message shows it with a caret."""

    exit_code = 2

    def __init__(self, message: str, *, position: int = 0, hint: str = "", retryable: bool = False) -> None:
        super().__init__(message, hint=hint, retryable=retryable)
        self.position = position


class UnknownError(GenrecError):
    exit_code = 7


class UnknownUserError(UnknownError):
    pass


class UnknownItemError(UnknownError):
    pass


class UnknownSessionError(UnknownError):
    pass


class ModelError(GenrecError):
    exit_code = 8


class WeightsError(ModelError):
    pass


class LabelError(ModelError):
    pass


class AdapterError(ModelError):
    pass


class EngineError(ModelError):
    pass


class UnfinishedError(EngineError):
    pass


class PromptError(GenrecError):
    exit_code = 9


class EvaluationError(GenrecError):
    exit_code = 10


class TrainingError(GenrecError):
    exit_code = 11
