"""Checkpoints of a training run: one sealed file, replaced as a whole or not at all.

It holds what was learnt and what a run needs to go on, and not what was set: weights λ,
temperatures, a fixed σ and which parts are frozen are those of the objective that is given. Where
these, or anything else that the run was made with, are others than before, it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from aebook._internal import sealed
from aebook._internal.files import content as bytes_of
from aebook._internal.files import remove_unfinished
from aebook._internal.randomness import (
    Generator,
    random_state,
    set_random_state,
    set_state_of,
    state_of,
)
from aebook.core import settings
from aebook.processes import broadcast, gather, members
from aebook.training.fingerprint import Plain, difference
from aebook.training.history import History

__all__ = ["Resumable", "read", "write"]

#: Raised by one whenever files come to be written that the version before would misread.
FORMAT = 1

_ADVICE = "delete it to start anew, or give another path"
# what a checkpoint holds, and of which type each is
_SCHEMA: dict[str, type | tuple[type, ...]] = {
    "fingerprint": dict,
    "settings": dict,
    "objective": dict,
    "optimizer": dict,
    "scaler": dict,
    "history": dict,
    "best": (dict, type(None)),
    "moving": int,
    "t": float,
    "stopped": bool,
    "random": list,
    "generators": list,
}


def write(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state of tensors and plain values: all of it, or nothing."""
    tensors: dict[str, Tensor] = {}
    sealed.write(path, "run", FORMAT, _apart(state, "", tensors), tensors)


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
        If the file is truncated, altered by a single bit, or no checkpoint of this version.
    """
    content = path.read_bytes() if content is None else content
    tree, tensors, _ = sealed.read(path, "run", FORMAT, content, _ADVICE)
    try:
        state = _together(tree, tensors)
        _check_schema(state)
        return state
    except Exception as error:
        raise ValueError(f"{path} is no checkpoint of a run ({error!r:.100}): {_ADVICE}") from error


class Resumable:
    """All that a run needs to go on: weights, optimiser, history, best weights, random state.

    Parameters
    ----------
    objective, optimiser, scaler
        What is trained, and with what; the optimiser is new.
    device
        Where.
    patience
        Whether there is one, and how long.
    path
        Where the checkpoint is, or will be; None: nowhere.
    fingerprint
        What the run is made with.
    generators
        What it draws from beside PyTorch's global generators.
    """

    def __init__(
        self,
        objective: nn.Module,
        optimiser: Optimizer,
        scaler: torch.amp.GradScaler,
        device: torch.device,
        patience: int | None,
        path: Path | None,
        fingerprint: dict[str, Plain],
        generators: list[Generator],
    ) -> None:
        self.objective, self.optimiser, self.scaler = objective, optimiser, scaler
        self.device, self.patience, self.path = device, patience, path
        self.fingerprint, self.generators = fingerprint, generators
        self.history = History()
        #: What was learnt up to the best epoch.
        self.best: dict[str, Any] | None = None
        #: The last epoch at whose end settings were not yet those that the run ends with.
        self.moving = 0
        #: The fraction of training done at the last step.
        self.t = 0.0
        #: Whether the callback has stopped the run.
        self.stopped = False

    def save(self) -> None:
        """After an epoch: keep the weights if they are the best, and write the checkpoint."""
        if self.patience is not None and self.history.best_epoch == len(self.history):
            self.best = {name: _copy(value) for name, value in self._learnt().items()}
        if self.path is None:
            return
        # each process has a stream of noise of its own
        random = gather(random_state(self.device))
        generators = gather([state_of(generator) for generator in self.generators])
        if members().rank == 0:
            write(
                self.path,
                {
                    "fingerprint": self.fingerprint,
                    "settings": self._set(),
                    "objective": self._learnt(),
                    "optimizer": self.optimiser.state_dict(),
                    "scaler": self.scaler.state_dict(),
                    "history": asdict(self.history),
                    "best": self.best,
                    "moving": self.moving,
                    "t": self.t,
                    "stopped": self.stopped,
                    "random": random,
                    "generators": generators,
                },
            )

    def load(self) -> dict[str, Any] | None:
        """The checkpoint, if there is one; refused if it is another run's."""
        if self.path is None:
            return None
        content = None
        if members().rank == 0:
            remove_unfinished(self.path)
            content = bytes_of(self.path) if self.path.exists() else None
        # the file is there for the first process, and perhaps on its machine alone
        content = broadcast(content)
        if content is None:
            return None
        state = read(self.path, content)
        self._refuse(difference(state["fingerprint"], self.fingerprint))
        return state

    def resume(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`load` gave.

        The settings are by now what they were when the checkpoint was written, unless somebody has
        changed one since.
        """
        self._refuse(difference(state["settings"], self._set()))
        learnt = self._learnt()
        try:
            for found in (state["objective"], state["best"]):
                if found is not None:
                    _check_alike(learnt, found)
            self._check_moments(state["optimizer"])
            self.optimiser.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
            set_random_state(state["random"][members().rank], self.device)
            states = state["generators"][members().rank]
            for generator, its in zip(self.generators, states, strict=True):
                set_state_of(generator, its)
        except Exception as error:
            # nothing of the objective has been touched
            raise ValueError(
                f"the checkpoint {self.path} belongs to another model ({error}): {_ADVICE}"
            ) from error
        self._put(state["objective"])
        self.best, self.moving, self.t = state["best"], state["moving"], state["t"]
        self.stopped = state["stopped"]
        # with what is known by now to change as it is used
        self.fingerprint = state["fingerprint"]
        self.history = History(**state["history"])

    def exhausted(self) -> bool:
        """Whether the validation loss has not fallen for as long as patience allows.

        The epochs count from when the settings have come to rest.
        """
        best = self.history.best_epoch
        if self.patience is None or best is None:
            return False
        return len(self.history) - max(best, self.moving) >= self.patience

    def restore_best(self) -> None:
        """Put back the weights of the best epoch, if patience kept them."""
        if self.best is not None:
            self._put(self.best)

    def _set(self) -> dict[str, Any]:
        return {name: value.tolist() for name, value in settings(self.objective).items()}

    def _learnt(self) -> dict[str, Any]:
        given = settings(self.objective).keys()
        return {k: v for k, v in self.objective.state_dict().items() if k not in given}

    def _put(self, learnt: Mapping[str, Any]) -> None:
        self.objective.load_state_dict({**self.objective.state_dict(), **learnt})

    def _refuse(self, differences: str) -> None:
        if differences:
            raise ValueError(
                f"the checkpoint {self.path} belongs to another run ({differences}): "
                "give the same arguments, or another path"
            )

    def _check_moments(self, state: Mapping[str, Any]) -> None:
        """Refuse moments that do not fit the weights: a fused optimiser does not look at them."""
        groups = self.optimiser.state_dict()["param_groups"]
        if [g["params"] for g in state["param_groups"]] != [g["params"] for g in groups]:
            raise ValueError("its optimiser has other parameters")
        weights = [p for group in self.optimiser.param_groups for p in group["params"]]
        for number, moments in state["state"].items():
            for name, moment in moments.items():
                fits = not isinstance(moment, Tensor) or moment.shape in ((), weights[number].shape)
                if not fits and self.optimiser.param_groups[0].get("fused"):
                    raise ValueError(f"its {name} has the shape {tuple(moment.shape)}")


def _check_alike(expected: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    if expected.keys() != found.keys():
        raise ValueError(f"it has other tensors, such as {min(expected.keys() ^ found.keys())}")
    for name, value in found.items():
        mine = expected[name]
        if isinstance(mine, Tensor) and (
            not isinstance(value, Tensor) or (value.shape, value.dtype) != (mine.shape, mine.dtype)
        ):
            raise ValueError(f"{name} is of another size or type")


def _check_schema(state: Any) -> None:
    if not isinstance(state, dict) or state.keys() != _SCHEMA.keys():
        raise ValueError(f"expected {', '.join(_SCHEMA)}")
    for name, kind in _SCHEMA.items():
        if not isinstance(state[name], kind):
            raise ValueError(f"{name} is a {type(state[name]).__name__}")
    if state["history"].keys() != asdict(History()).keys():
        raise ValueError("the history has other entries")
    history = History(**state["history"])
    columns = [*history.terms.values(), *history.validation_terms.values()]
    for column in (*columns, history.learning_rate, history.seconds):
        if len(column) != len(history) or not all(isinstance(v, float | int) for v in column):
            raise ValueError("the history is not one number an epoch")


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _apart(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """A tree of plain values as JSON has it, and the tensors in it apart, by their paths."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        while path in tensors:
            path += "'"
        tensors[path] = value
        return {"tensor": path}
    if isinstance(value, Mapping):
        # pairs, since the numbers of parameters are no text
        return {
            "pairs": [
                [key, _apart(entry, f"{path}.{key}", tensors)] for key, entry in value.items()
            ]
        }
    if isinstance(value, list | tuple):
        entries = [_apart(entry, f"{path}.{k}", tensors) for k, entry in enumerate(value)]
        return {"tuple": entries} if isinstance(value, tuple) else entries
    raise ValueError(
        f"got {path.strip('.')} of type {type(value).__name__}, expected tensors and plain values "
        "in the state of what is trained and of its optimiser: leave out the checkpoint"
    )


def _together(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What :func:`_apart` was given."""
    if isinstance(tree, list):
        return [_together(entry, tensors) for entry in tree]
    if not isinstance(tree, dict):
        return tree
    ((kind, inner),) = tree.items()
    if kind == "tensor":
        return tensors[inner]
    if kind == "tuple":
        return tuple(_together(entry, tensors) for entry in inner)
    if kind == "pairs":
        return {key: _together(entry, tensors) for key, entry in inner}
    raise ValueError(f"an entry is a {kind!r:.50}")
