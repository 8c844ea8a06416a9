"""Settings: `genrec.toml` in the workspace, then `GENREC_*` variables (`GENREC_RANK__METHOD=labels`), which win.

Unknown keys are refused. Every key is read somewhere and has a test that fails when it is not. Import `Settings` and
`load_settings` from here, the sections from `genrec.settings.sections` and `genrec.settings.train_sections`.
"""

import tomllib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from genrec.errors import ConfigError, RenamedWarning
from genrec.settings.renamed import current, variable
from genrec.settings.sections import (
    AdapterSettings,
    CaptionSettings,
    ChatSettings,
    FeedbackSettings,
    IndexSettings,
    IngestSettings,
    LlmSettings,
    ModelSettings,
    RankSettings,
    ReasonSettings,
    RetrievalSettings,
    StoreSettings,
    WriteSettings,
)

SETTINGS_FILE = "genrec.toml"
PREFIX = "GENREC_"
TRAIN = "train"
"""The section below another that says how its part learns."""


class _Environment(EnvSettingsSource):
    """The variables, those of old names under their present ones."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        prefix, made = PREFIX.lower(), dict[str, str | None]()
        for name, value in self.env_vars.items():  # all in lower case
            now = prefix + variable(name.removeprefix(prefix)) if name.startswith(prefix) else name
            if now != name:
                message = f"the environment variable {name.upper()} is now {now.upper()}"
                warnings.warn(message, RenamedWarning, stacklevel=6)
            if now == name or now not in self.env_vars:
                made[now] = value
        self.env_vars = made


class Settings(BaseSettings):
    """All settings of one workspace."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True)

    store: StoreSettings = StoreSettings()
    index: IndexSettings = IndexSettings()
    models: ModelSettings = ModelSettings()
    llm: LlmSettings = LlmSettings()
    ingest: IngestSettings = IngestSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    rank: RankSettings = RankSettings()
    adapters: AdapterSettings = AdapterSettings()
    reasons: ReasonSettings = ReasonSettings()
    caption: CaptionSettings = CaptionSettings()
    chat: ChatSettings = ChatSettings()
    write: WriteSettings = WriteSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return _Environment(settings_cls), init_settings


def load_settings(folder: Path | None = None, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Settings:
    """Read the settings of a workspace folder.

    `overrides`: section → key → value. They win over the file, not over the environment.
    Raises ConfigError with the file, key and fault.
    """
    values: dict[str, Any] = {}
    source = "settings"
    path = None if folder is None else Path(folder) / SETTINGS_FILE
    if path is not None and path.exists():
        source = str(path)
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise ConfigError(f"{path}: {error}", hint="Mend the file, or delete it to go back to the defaults.") from error
    values = current(values, source)
    for section, keys in current(dict(overrides or {}), "settings").items():
        values[section] = _laid_over(values.get(section, {}), keys)
    try:
        return Settings(**values)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise ConfigError(f"{source}: {faults}", hint=f"Mend {SETTINGS_FILE} or the GENREC_* variable.") from error


def _laid_over(given: Any, keys: Any) -> Any:
    """A section of the file with `keys` in place of its own; a section below it keeps what `keys` does not name."""
    if not isinstance(given, dict) or not isinstance(keys, dict):
        return keys  # pydantic says what is wrong with it
    train = {TRAIN: _laid_over(given[TRAIN], keys[TRAIN])} if TRAIN in given and TRAIN in keys else {}
    return given | keys | train
