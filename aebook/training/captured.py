"""A step of training as one CUDA graph: what the host ordered kernel by kernel, it orders at once.

On a GPU a step of a small network is some hundred short kernels, and the host is slower at ordering
them than the device at running them. A step that was captured is ordered as a whole. It computes
what the step would, to the bit, as long as the step is the same but for the numbers in its tensors:
the batch, weights, moments, λ, temperatures, the learning rate and the state of the generator.

What else a step may depend on is looked at:

- numbers and flags of the objective's modules (the k of top-k, a σ, the mode, what is trained):
  where one changes, another graph is captured, and where many do, steps are not captured any more;
- code that is neither PyTorch's nor this package's may depend on anything. An objective with such
  parts is captured only if the caller says so, by ``compile=True``;
- a step that makes the host wait, since it reads a number or asks for a size that depends on one,
  cannot be captured. The step before the capture is watched for that.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from aebook._internal.verdicts import Waiting
from aebook.bottlenecks import TopK
from aebook.core import Loss

__all__ = ["Steps", "possible", "prepare"]

#: What a step gives: its loss, and what verdicts wait for.
Step = Callable[..., tuple[Loss, Sequence[Waiting]]]

#: Steps of a kind before it is captured, of which the last is watched.
WARM = 2
#: Kinds of steps in one run, by the shapes of batches and what a graph holds fast: each has a
#: graph, which takes the memory of a step.
MOST = 8

_PLAIN = bool | int | float | str | None


class Steps:
    """Take a step, or repeat it as a graph where that does the same.

    Parameters
    ----------
    step
        Takes a batch, changes weights and moments, and leaves no gradients.
    objective
        What is trained.
    captured
        Whether steps may be captured at all.
    """

    def __init__(self, step: Step, objective: nn.Module, captured: bool) -> None:
        self.step, self.objective, self.captured = step, objective, captured
        self.kind: tuple[Any, ...] = ()
        self.seen: dict[Any, int] = {}
        self.graphs: dict[Any, Step] = {}

    def look(self) -> None:
        """Note what a graph does not: to be called where numbers or flags may have changed."""
        if self.captured:
            self.kind = _kind(self.objective)

    def __call__(self, *batch: Tensor | None) -> tuple[Loss, Sequence[Waiting]]:
        """One step."""
        if not self.captured:
            return self.step(*batch)
        key = (*((None if p is None else (p.shape, p.dtype)) for p in batch), self.kind)
        if key not in self.graphs:
            self.seen[key] = self.seen.get(key, 0) + 1
            if len(self.seen) > MOST:
                self._leave()
            if not self.captured or self.seen[key] < WARM:
                return self.step(*batch)
            if self.seen[key] == WARM:
                with _watched() as waited:
                    result = self.step(*batch)
                if waited:
                    self._leave()
                return result
            graph = _capture(self.step, self.objective, batch)
            if graph is None:
                self._leave()
                return self.step(*batch)
            self.graphs[key] = graph
        return self.graphs[key](*batch)

    def _leave(self) -> None:
        """Take all further steps as they are."""
        self.captured = False
        self.graphs.clear()


def possible(
    objective: nn.Module, optimiser: Optimizer, device: torch.device, compile: bool
) -> bool:
    """Whether steps may be captured.

    Parameters
    ----------
    objective, optimiser, device
        What is trained, by what and where.
    compile
        Whether the caller answers for parts of which the code is neither PyTorch's nor ours.
    """
    capturable = all("capturable" in group for group in optimiser.param_groups)
    return device.type == "cuda" and capturable and (compile or _is_known(objective))


def prepare(optimiser: Optimizer) -> None:
    """Make the rates of an optimiser tensors, which a graph reads at each replay."""
    for group in optimiser.param_groups:
        rate = torch.tensor(float(group["lr"]), device=group["params"][0].device)
        group.update(capturable=True, lr=rate)


def _is_known(objective: nn.Module) -> bool:
    """Whether an objective has no code but PyTorch's and this package's."""
    for module in objective.modules():
        hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
        if not _is_ours(type(module)) or any(hooks):
            return False
        for value in vars(module).values():
            inside = value.values() if isinstance(value, dict) else (value,)
            if not all(map(_is_ours, filter(_is_function, inside))):
                return False
    return True


def _is_function(value: Any) -> bool:
    return callable(value) and not isinstance(value, nn.Module | Tensor)


def _is_ours(value: Any) -> bool:
    while isinstance(value, partial):
        value = value.func
    home = str(getattr(value, "__module__", None) or type(value).__module__).split(".")
    return home[0] == "aebook" or home[:2] in (["torch", "nn"], ["torch", "_C"])


def _kind(objective: nn.Module) -> tuple[Any, ...]:
    """Of an objective all that its graphs hold fast."""
    found: list[Any] = [p.requires_grad for p in objective.parameters()]
    for module in objective.modules():
        if isinstance(module, TopK):
            found.append(module.now())
        for name, value in vars(module).items():
            if not name.startswith("_"):
                found.append((name, value if isinstance(value, _PLAIN) else id(value)))
    return tuple(found)


def _capture(step: Step, objective: nn.Module, batch: Sequence[Tensor | None]) -> Step | None:
    """The step as a graph, or None where that fails."""
    held = [None if part is None else part.clone() for part in batch]
    # what is loaded at first use cannot be loaded in a capture, and is there at the second one
    for _ in range(2):
        graph = torch.cuda.CUDAGraph()
        state = torch.cuda.get_rng_state()
        try:
            with torch.cuda.graph(graph):
                loss, judged = step(*held)
                parts = [loss.total, *loss.terms.values(), *(values for values, _ in judged)]
                table = torch.cat([part.detach().reshape(-1) for part in parts])
        except RuntimeError:
            torch.cuda.set_rng_state(state)
            objective.zero_grad()
        else:
            return partial(_replay, graph, held, table, list(loss.terms), judged)
    return None


def _replay(
    graph: torch.cuda.CUDAGraph,
    held: Sequence[Tensor | None],
    table: Tensor,
    names: list[str],
    judged: Sequence[Waiting],
    *batch: Tensor | None,
) -> tuple[Loss, Sequence[Waiting]]:
    for place, part in zip(held, batch, strict=True):
        if place is not None and part is not None:
            place.copy_(part)
    graph.replay()
    # the next replay writes over it
    sizes = [1] * (1 + len(names)) + [len(values) for values, _ in judged]
    total, *parts = table.clone().split(sizes)
    terms = dict(zip(names, (part[0] for part in parts), strict=False))
    waiting = zip(parts[len(names) :], (verdict for _, verdict in judged), strict=True)
    return Loss(total[0], terms), [Waiting(*pair) for pair in waiting]


@contextlib.contextmanager
def _watched() -> Iterator[list[Any]]:
    """The list is filled with what makes the host wait."""
    before, waited = torch.cuda.get_sync_debug_mode(), []
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield waited
        finally:
            torch.cuda.set_sync_debug_mode(before)
    for warning in said:
        if "called a synchronizing" in str(warning.message):
            waited.append(warning)
        elif "ynchronization debug mode" not in str(warning.message):
            # somebody else's
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
