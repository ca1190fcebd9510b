"""What a training run was like: :class:`History`, and the means that fill it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from aebook._internal.checks import shown
from aebook._internal.verdicts import Waiting
from aebook.core import Loss
from aebook.processes import gather

__all__ = ["History", "Mean"]


@dataclass
class History:
    """Losses of a training run, one entry an epoch; plain data, ``dataclasses.asdict`` works.

    Attributes
    ----------
    terms
        Mean of ``"loss"`` and of each of its terms over the epoch, measured while training.
    validation_terms
        The same on the validation data at the end of the epoch; empty if there were none. With
        ``patience`` and ``anneal`` it is measured under the final settings, else under those of
        the epoch.
    learning_rate
        The rate of the last step of the epoch.
    seconds
        Wall-clock time of the epoch, validation included.
    best_epoch
        The epoch of the lowest validation loss, counted from 1; None without validation.

    Examples
    --------
    >>> x = torch.rand(100, 4)
    >>> history = aebook.fit(aebook.variants.plain((4, 2)), x, epochs=3, validation=x[:20])
    >>> len(history), list(history.terms), len(history.validation_loss)
    (3, ['loss', 'distance'], 3)
    """

    terms: dict[str, list[float]] = field(default_factory=dict)
    validation_terms: dict[str, list[float]] = field(default_factory=dict)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    best_epoch: int | None = None

    @property
    def loss(self) -> list[float]:
        """Training loss, one entry an epoch."""
        return self.terms.get("loss", [])

    @property
    def validation_loss(self) -> list[float]:
        """Validation loss, one entry an epoch; empty without validation data."""
        return self.validation_terms.get("loss", [])

    def __len__(self) -> int:
        """How many epochs were run."""
        return len(self.loss)

    def __repr__(self) -> str:
        """One line: epochs, first and last loss, validation."""
        epochs = len(self)
        if not epochs:
            return "History(no epochs)"
        text = f"{epochs} epoch{'s' * (epochs > 1)}, loss {self.loss[0]:.4g} → {self.loss[-1]:.4g}"
        if self.validation_loss:
            best = min(self.validation_loss)
            text += (
                f", validation {self.validation_loss[-1]:.4g}"
                f" (best {best:.4g} in epoch {self.best_epoch})"
            )
        return f"History({text})"

    def append(
        self,
        terms: dict[str, float],
        validation_terms: dict[str, float],
        learning_rate: float,
        seconds: float,
    ) -> None:
        """Add an epoch."""
        for mine, new in ((self.terms, terms), (self.validation_terms, validation_terms)):
            for name, value in new.items():
                mine.setdefault(name, []).append(value)
        if validation_terms:
            # the earliest of equals
            self.best_epoch = 1 + self.validation_loss.index(min(self.validation_loss))
        self.learning_rate.append(learning_rate)
        self.seconds.append(seconds)


class Mean:
    """Means of the loss's terms over samples, which must stay finite.

    Parameters
    ----------
    epoch
        Number of the epoch, from 0, for the message when they do not.
    """

    def __init__(self, epoch: int | None) -> None:
        self.epoch = epoch
        self.sums: dict[str, float] = {}
        self.count = 0
        self.waiting: list[tuple[int, dict[str, Tensor], Sequence[Waiting]]] = []

    def add(self, loss: Loss, samples: int, judged: Sequence[Waiting] = ()) -> None:
        """Add the loss of a batch of so many samples, and what a verdict is to be given on."""
        if not hasattr(loss, "total"):
            raise ValueError(
                f"got {shown('loss', loss)}, expected an objective that gives an aebook.Loss"
            )
        if loss.total.is_cpu:
            # read at once: kept, the small numbers would lie between the large blocks that a step
            # frees, and the next step not fit in there
            self._add({name: term.item() for name, term in loss.terms.items()}, samples)
            return
        terms = {name: term.detach() for name, term in loss.terms.items()}
        self.waiting.append((samples, terms, judged))
        # reading a value waits for the device, so many are read at once
        if len(self.waiting) == 256:
            self._read()

    def value(self) -> dict[str, float]:
        """Mean of ``"loss"`` and of each term, over all processes."""
        self._read()
        parts = gather((self.sums, self.count))
        count = sum(samples for _, samples in parts)
        terms: dict[str, float] = {}
        for sums, _ in parts:
            for name, total in sums.items():
                terms[name] = terms.get(name, 0.0) + total / count
        return {"loss": sum(terms.values()), **terms}

    def _read(self) -> None:
        if not self.waiting:
            return
        waiting, self.waiting = self.waiting, []
        parts = [
            part.reshape(-1)
            for _, terms, judged in waiting
            for part in (*terms.values(), *(values for values, _ in judged))
        ]
        numbers = iter(torch.cat(parts).tolist())
        for samples, terms, judged in waiting:
            read = {name: next(numbers) for name in terms}
            for values, verdict in judged:
                verdict([next(numbers) for _ in range(len(values))])
            self._add(read, samples)

    def _add(self, terms: dict[str, float], samples: int) -> None:
        for name, value in terms.items():
            if not math.isfinite(value):
                where = "" if self.epoch is None else f" in epoch {self.epoch + 1}"
                raise FloatingPointError(
                    f"the term {name!r} is no longer finite{where}: lower lr, clip gradients, "
                    "or look for values in the data that are far too large"
                )
            self.sums[name] = self.sums.get(name, 0.0) + samples * value
        self.count += samples
