"""Checkpoints of a training run: one file, replaced as a whole or not at all."""

from __future__ import annotations

import copy
import io
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from aebook._internal.files import remove_unfinished, replace
from aebook._internal.randomness import random_state, set_random_state
from aebook.processes import broadcast, gather, members
from aebook.training.history import History

__all__ = ["Resumable", "read", "write"]

FORMAT = "aebook checkpoint 1"


def write(path: Path, state: dict[str, Any]) -> None:
    """Write a state of tensors and plain values: all of it, or nothing."""
    replace(path, lambda file: torch.save({"format": FORMAT, **state}, file))


def read(path: Path, content: bytes | None = None) -> dict[str, Any]:
    """Read what :func:`write` wrote, to the CPU; no code in the file is run.

    Parameters
    ----------
    path
        The file.
    content
        What is in it, where somebody else has read it.

    Raises
    ------
    ValueError
        If the file is truncated, or is no checkpoint of this version.
    """
    content = path.read_bytes() if content is None else content
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        # what torch raises for bytes that are none of its own may be anything
        raise ValueError(
            f"{path} cannot be read as a checkpoint: it is truncated or something else. "
            "Delete it to start anew"
        ) from error
    found = state.get("format") if isinstance(state, dict) else None
    if found != FORMAT:
        raise ValueError(
            f"{path} has the format {found!r}, expected {FORMAT!r}: it is another program's or "
            "another version's. Delete it to start anew"
        )
    return state


class Resumable:
    """All that a run needs to go on: weights, optimiser, history, best weights, random state."""

    def __init__(
        self,
        objective: nn.Module,
        optimiser: Optimizer,
        scaler: torch.amp.GradScaler,
        device: torch.device,
        patience: int | None,
        checkpoint: str | os.PathLike[str] | None,
        settings: dict[str, Any],
    ) -> None:
        self.objective, self.optimiser, self.scaler = objective, optimiser, scaler
        self.device, self.patience = device, patience
        self.path = None if checkpoint is None else Path(checkpoint)
        self.settings, self.members = settings, members()
        self.history = History()
        self.best: dict[str, Tensor] | None = None
        if self.path is not None and not self.path.parent.is_dir():
            raise ValueError(f"got checkpoint={str(checkpoint)!r}, but its folder does not exist")

    def save(self) -> None:
        """After an epoch: keep the weights if they are the best, and write the checkpoint."""
        if self.patience is not None and self.history.best_epoch == len(self.history):
            self.best = copy.deepcopy(self.objective.state_dict())
        if self.path is None:
            return
        # each process has a stream of noise of its own
        random = gather(random_state(self.device))
        if self.members.rank == 0:
            write(
                self.path,
                {
                    "settings": self.settings,
                    "objective": self.objective.state_dict(),
                    "optimizer": self.optimiser.state_dict(),
                    "scaler": self.scaler.state_dict(),
                    "history": asdict(self.history),
                    "best": self.best,
                    "random": random if self.members.size > 1 else random[0],
                },
            )

    def resume(self) -> History:
        """Take up the checkpoint if there is one."""
        if self.path is None:
            return self.history
        content = None
        if self.members.rank == 0:
            remove_unfinished(self.path)
            content = self.path.read_bytes() if self.path.exists() else None
        # the file is there for the first process, and perhaps on its machine alone
        content = broadcast(content)
        if content is None:
            return self.history
        state = read(self.path, content)
        if state["settings"] != self.settings:
            both = state["settings"].keys() | self.settings.keys()
            pairs = {k: (state["settings"].get(k), self.settings.get(k)) for k in sorted(both)}
            differences = "; ".join(f"{k} {a} ≠ {b}" for k, (a, b) in pairs.items() if a != b)
            raise ValueError(
                f"the checkpoint {self.path} belongs to another run ({differences}): "
                "give the same arguments, or another path"
            )
        try:
            self.objective.load_state_dict(state["objective"])
        except RuntimeError as error:
            raise ValueError(
                f"the checkpoint {self.path} belongs to another model: build the same objective, "
                f"or give another path. {error}"
            ) from error
        self.optimiser.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.history, self.best = History(**state["history"]), state["best"]
        random = state["random"]
        own = random[self.members.rank] if self.members.size > 1 else random
        set_random_state(own, self.device)
        return self.history

    def exhausted(self) -> bool:
        """Whether the validation loss has not fallen for as long as patience allows."""
        best = self.history.best_epoch
        if self.patience is None or best is None:
            return False
        return len(self.history) - best >= self.patience

    def restore_best(self) -> None:
        """Put back the weights of the best epoch, if patience kept them."""
        if self.best is not None:
            self.objective.load_state_dict(self.best)
