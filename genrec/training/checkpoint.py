"""What a training needs to go on after a kill: weights, optimizer, schedule, random numbers and the figures so far.

Tensors go to safetensors, the rest to JSON; the JSON names the tensors by digest and is renamed into place last.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from genrec.errors import WorkspaceError
from genrec.files import delete_tensors, write_tensors

STATE = "checkpoint.json"


@dataclass(slots=True, kw_only=True)
class Progressed:
    """Where a training stands. `epochs` are the figures of each finished epoch; `best` the weights of the best one; `judged` what
    validation said so far.
    """

    epochs: list[dict[str, float]]
    best: dict[str, Tensor]
    rng: dict[str, Any]
    judged: list[float] = field(default_factory=list)


class Checkpoint:
    """Keeps the state of one training phase in a folder. `fingerprint` stands for its data and settings: a state of another
    training is not taken up.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder, self.fingerprint = folder, fingerprint

    def save(self, network: nn.Module, optimizer: Optimizer, schedule: LRScheduler, at: Progressed) -> None:
        """Raises WorkspaceError when the disk refuses; the last state is then still there."""
        from safetensors.torch import save

        tensors = {f"network/{name}": value for name, value in network.state_dict().items()}
        tensors |= {f"best/{name}": value for name, value in at.best.items()}
        tensors["torch_rng"] = torch.get_rng_state()
        state = optimizer.state_dict()
        for number, values in state["state"].items():
            tensors |= {f"optimizer/{number}/{name}": value for name, value in values.items() if isinstance(value, Tensor)}
        data = save({name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()})
        manifest = {
            "fingerprint": self.fingerprint,
            "groups": [{k: v for k, v in group.items() if k != "params"} for group in state["param_groups"]],
            "schedule": {k: v for k, v in schedule.state_dict().items() if isinstance(v, int | float | bool | list)},
            "epochs": at.epochs,
            "rng": at.rng,
            "judged": at.judged,
        }
        try:
            write_tensors(self.folder, "checkpoint", STATE, data, manifest)
        except OSError as error:
            raise WorkspaceError(f"{self.folder}: no checkpoint could be written: {error}", hint="Free some space.") from error

    def restore(self, network: nn.Module, optimizer: Optimizer, schedule: LRScheduler) -> Progressed | None:
        """Take up the saved state; None when there is none of this training, or it is damaged."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            manifest = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
            if manifest["fingerprint"] != self.fingerprint:
                return None
            data = (self.folder / Path(manifest["tensors"]).name).read_bytes()
            if hashlib.sha256(data).hexdigest() != manifest["sha256"]:
                return None
            tensors = load(data)
            at = Progressed(
                epochs=list(manifest["epochs"]),
                best=_under(tensors, "best/"),
                rng=manifest["rng"],
                judged=list(manifest["judged"]),
            )
            groups, rows = manifest["groups"], manifest["schedule"]
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            return None
        network.load_state_dict(_under(tensors, "network/"))
        state = optimizer.state_dict()
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _under(tensors, "optimizer/").items():
            number, _, key = name.partition("/")
            moments.setdefault(int(number), {})[key] = value
        params = [group["params"] for group in state["param_groups"]]
        optimizer.load_state_dict(
            {"state": moments, "param_groups": [g | {"params": p} for g, p in zip(groups, params, strict=True)]}
        )
        schedule.load_state_dict(rows)
        torch.set_rng_state(tensors["torch_rng"])
        return at

    def clear(self) -> None:
        """Delete the state: the training is done."""
        (self.folder / STATE).unlink(missing_ok=True)
        delete_tensors(self.folder, "checkpoint")


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
