"""LoRA adapters inside one loaded model: each loaded at its first use, one of them (or none) active at a time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.functional import delete_adapter, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from safetensors.torch import load_file

from genrec.errors import AdapterError
from genrec.models.adapters import WEIGHTS, check_weights, unknown


class LoraSwitch:
    """Switches a model between its adapters. The model is left as it is until the first adapter is asked for.

    The adapters' weights are held in the dtype of the layers that they sit on. Nothing is merged: the base weights stay as
    they are, so that requests for the base and for several adapters can follow one another.
    """

    def __init__(self, model: Any, adapters: Mapping[str, Path]) -> None:
        """`adapters`: name → folder in PEFT's layout. Raises AdapterError for a folder that cannot be served."""
        self._model = model
        self._paths = dict(adapters)
        self._inner: dict[str, str] = {}  # name → PEFT's name; a module's name may hold no dot
        self._layers: list[BaseTunerLayer] = []
        self.current = ""
        for path in self._paths.values():
            check_weights(path)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._paths)

    def use(self, name: str) -> None:
        """Make `name` active; empty: the base model. Raises AdapterError; the base model is then in use."""
        if name == self.current:
            return
        try:
            if name and name not in self._inner:
                self._load(name)
        except AdapterError:
            self._activate("")
            raise
        self._activate(name)

    def _activate(self, name: str) -> None:
        for layer in self._layers:
            layer.enable_adapters(bool(name))
            if name:
                layer.set_adapter(self._inner[name], inference_mode=True)
        self.current = name

    @torch.inference_mode(False)  # the parameters outlive the call that needs them first
    def _load(self, name: str) -> None:
        if name not in self._paths:
            raise unknown(name, self._paths)
        path, inner = self._paths[name], f"adapter{len(self._inner)}"
        check_weights(path)
        hint = "Is it an adapter of another base model? `genrec adapters list` shows what each was trained on."
        try:
            config = LoraConfig.from_pretrained(str(path))
            config.inference_mode = True
            weights = load_file(path / WEIGHTS, device=str(self._model.device))
            inject_adapter_in_model(config, self._model, adapter_name=inner)
            result = set_peft_model_state_dict(self._model, weights, adapter_name=inner)
            lacking = [key for key in result.missing_keys if f".{inner}." in key]
            if result.unexpected_keys or lacking:
                raise ValueError(f"weights for other layers: {(result.unexpected_keys or lacking)[0]}")
        except (OSError, SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:
            self._remove(inner)
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise AdapterError(f"adapter {name} ({path}) does not fit the model: {first}", hint=hint) from error
        finally:
            self._model.__dict__.pop("peft_config", None)  # PEFT warns when a model that has one gets a second adapter
            self._layers = self._tuned()
        self._inner[name] = inner

    def _remove(self, inner: str) -> None:
        """Take out what was put in before a fault showed."""
        for layer in self._tuned():
            layer.set_adapter([], inference_mode=True)  # PEFT warns when it deletes an active one
        delete_adapter(self._model, inner, prefix="lora_")

    def _tuned(self) -> list[BaseTunerLayer]:
        return [module for module in self._model.modules() if isinstance(module, BaseTunerLayer)]
