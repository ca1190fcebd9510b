r"""Restricted Boltzmann machines, and the deep autoencoder that a stack of them unrolls into.

.. math::

    p(v, h) = e^{-E(v, h)} / Z, \qquad E(v, h) = -c^\top v - b^\top h - h^\top W v

The gradient of :math:`\log p(v)` needs samples of the model, so this does not fit the equation of
:class:`aebook.Objective`; what it trains does (Hinton & Salakhutdinov 2006)::

    stack = aebook.boltzmann.pretrain((784, 256, 64, 16), images, epochs=10)
    objective = aebook.Objective(aebook.boltzmann.unroll(stack))
    history = aebook.fit(objective, images, epochs=20)
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aebook._internal.checks import (
    array,
    as_many,
    check_arguments,
    counted,
    number,
    rows,
    tensors,
    whole,
    whole_numbers,
)
from aebook._internal.contract import checked, explained, taken
from aebook._internal.devices import chosen, moved
from aebook._internal.modes import carried, recorded
from aebook._internal.randomness import seeded
from aebook.boltzmann import units
from aebook.boltzmann.units import Units
from aebook.core import Autoencoder
from aebook.data import Data, InMemory, batched, check_alone
from aebook.inference import in_pieces
from aebook.networks import mlp
from aebook.training.history import History

__all__ = ["RBM", "pretrain", "unroll"]


class RBM(nn.Module):
    r"""Restricted Boltzmann machine with :math:`F(v) = -\log \sum_h e^{-E(v, h)}`.

    A unit is in {0, 1} with probability :math:`σ` of its input, or real and normal with its input
    as the mean and variance 1. A Gaussian layer has :math:`\frac12\|v - c\|^2` in the energy in
    place of :math:`-c^\top v`, or :math:`\frac12\|h - b\|^2` in place of :math:`-b^\top h`.

    Parameters
    ----------
    visible, hidden
        Number of units of each layer.
    visible_units
        ``"bernoulli"`` for data in [0, 1], where values between are taken as probabilities;
        ``"gaussian"`` for real data, to be divided by its noise's standard deviation first.
    hidden_units
        ``"gaussian"`` for a code of real numbers. Not both layers may be Gaussian: the energy
        then has no lower bound once a singular value of W passes 1.

    Attributes
    ----------
    weight, visible_bias, hidden_bias
        W, (hidden, visible), at first normal with standard deviation 0.01; c and b, at first zero.

    Examples
    --------
    >>> from aebook.boltzmann import RBM
    >>> rbm = RBM(visible=6, hidden=2)
    >>> history = rbm.fit(torch.rand(50, 6).round(), epochs=1)
    >>> rbm.hidden_mean(torch.zeros(3, 6)).shape, rbm.free_energy(torch.zeros(3, 6)).shape
    (torch.Size([3, 2]), torch.Size([3]))
    """

    visible_units: Units
    hidden_units: Units

    @checked
    def __init__(
        self,
        visible: int,
        hidden: int,
        *,
        visible_units: Units = "bernoulli",
        hidden_units: Units = "bernoulli",
    ) -> None:
        super().__init__()
        visible, hidden = whole("visible", visible), whole("hidden", hidden)
        if visible_units == hidden_units == "gaussian":
            raise ValueError(
                "got Gaussian units in both layers, expected at most one such layer: take "
                "'bernoulli' for the other"
            )
        self.visible_units, self.hidden_units = visible_units, hidden_units
        self.weight = nn.Parameter(0.01 * torch.randn(hidden, visible))
        self.visible_bias = nn.Parameter(torch.zeros(visible))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))

    def arguments(self) -> dict[str, Any]:
        """What makes another like it, for files: see :mod:`aebook.storage.architecture`."""
        return {
            "visible": len(self.visible_bias),
            "hidden": len(self.hidden_bias),
            "visible_units": self.visible_units,
            "hidden_units": self.hidden_units,
        }

    def energy(self, v: Tensor, h: Tensor) -> Tensor:
        """:math:`E(v, h)` of pairs (B, visible) and (B, hidden), as (B,)."""
        rows(v, self.weight.shape[1], self.weight.dtype)
        rows(h, len(self.weight), self.weight.dtype)
        as_many(visible=len(v), hidden=len(h))
        own = units.log_factor(v, self.visible_bias, self.visible_units)
        own = own + units.log_factor(h, self.hidden_bias, self.hidden_units)
        return -own - (F.linear(v, self.weight) * h).sum(-1)

    def free_energy(self, v: Tensor) -> Tensor:
        r""":math:`F(v) = -\log\sum_h e^{-E(v, h)}`, so :math:`p(v) = e^{-F(v)}/Z`.

        (B, visible) to (B,); for Gaussian hidden units the sum is an integral.
        """
        rows(v, self.weight.shape[1], self.weight.dtype)
        inputs = F.linear(v, self.weight)
        own = units.log_factor(v, self.visible_bias, self.visible_units)
        return -own - units.log_sum(inputs, self.hidden_bias, self.hidden_units)

    def hidden_mean(self, v: Tensor) -> Tensor:
        r""":math:`E[h | v]`, :math:`σ(Wv + b)` for Bernoulli units; (B, visible) to (B, hidden)."""
        rows(v, self.weight.shape[1], self.weight.dtype)
        return units.mean(F.linear(v, self.weight, self.hidden_bias), self.hidden_units)

    def visible_mean(self, h: Tensor) -> Tensor:
        r""":math:`E[v | h]`, :math:`σ(W^\top h + c)` for Bernoulli units."""
        rows(h, len(self.weight), self.weight.dtype)
        return units.mean(F.linear(h, self.weight.T, self.visible_bias), self.visible_units)

    @torch.no_grad()
    def gibbs(self, v: Tensor, steps: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Visible states after some rounds of h ~ p(h | v), v ~ p(v | h), from ``v``.

        Parameters
        ----------
        v
            Visible states to start from, (B, visible).
        steps
            Rounds, 0 or more.
        generator
            Where states are drawn from; None: PyTorch's global generator.
        """
        rows(v, self.weight.shape[1], self.weight.dtype)
        taken("generator", generator, torch.Generator | None)
        for _ in range(whole("steps", steps, least=0)):
            h = units.sample(self.hidden_mean(v), self.hidden_units, generator)
            v = units.sample(self.visible_mean(h), self.visible_units, generator)
        return v

    def contrast(self, v: Tensor, negative: Tensor) -> Tensor:
        r"""Free energy of data above that of samples, :math:`\bar F(v) - \bar F(v^-)`, a scalar.

        If ``negative`` comes from the model, its gradient is that of :math:`-\log p(v)`; if it is
        ``gibbs(v, k)``, that of contrastive divergence, CD-k (Hinton 2002). The value itself is
        no measure of progress.
        """
        tensors(negative=negative)
        return self.free_energy(v).mean() - self.free_energy(negative.detach()).mean()

    @checked
    def fit(
        self,
        data: Data,
        *,
        epochs: int,
        steps: int = 1,
        persistent: bool = False,
        lr: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 2e-4,
        batch_size: int | None = None,
        device: str | torch.device | None = None,
        seed: int = 0,
    ) -> History:
        r"""Raise :math:`\log p(v)` by contrastive divergence, in place.

        Parameters
        ----------
        data
            Messages (N, visible), in [0, 1] for Bernoulli units, in whatever form
            :func:`aebook.fit` takes.
        epochs
            Passes over the data.
        steps
            k of CD-k: rounds of Gibbs sampling an update.
        persistent
            Go on with the samples of the last update in place of starting at the data
            (Tieleman 2008): less biased, and wants a smaller ``lr``.
        lr, momentum, weight_decay
            Of stochastic gradient descent; the momentum is half of it in the first epoch, and
            biases do not decay. Gaussian units need a smaller ``lr``, 0.01 or so.
        batch_size
            Samples an update; more than N are N. The default is 100.
        device
            As in :func:`aebook.fit`; afterwards the machine is back where it came from.
        seed
            Seed of the order and of the samples. PyTorch's global state is left as it was.

        Returns
        -------
        History
            ``"loss"``: squared error of the mean reconstruction after one round. It mostly falls
            as the model gets better, but is not what is minimised.
        """
        check_arguments(epochs=epochs, steps=steps, lr=lr, seed=seed)
        number("momentum", momentum, least=0, below=1)
        number("weight_decay", weight_decay, least=0)
        if not all(p.requires_grad for p in self.parameters()):
            raise ValueError(
                "got a machine with frozen parameters, expected all to be trained: "
                "rbm.requires_grad_()"
            )
        dtype, device = self.weight.dtype, chosen(device, self.weight.dtype)
        with moved(self, device):
            batches = batched(
                data, batch_size, shuffle=True, default=100, dtype=dtype, device=device
            )
            # what is read in parts is checked as it comes
            checked = isinstance(batches, InMemory) and isinstance(batches.x, Tensor)
            if isinstance(batches, InMemory):
                check_alone(batches.target)
                self.check(batches.x if checked else batches.chosen(torch.arange(1)))
            sgd = torch.optim.SGD([self.visible_bias, self.hidden_bias], lr=lr)
            sgd.add_param_group({"params": [self.weight], "weight_decay": weight_decay})
            history = History()
            with carried(history), explained(), seeded(int(seed), device), recorded():
                chains = None
                if isinstance(batches, InMemory):
                    first = torch.randperm(batches.samples)[: batches.batch_size]
                    chains = batches.chosen(first).to(dtype)
                for epoch in range(int(epochs)):
                    started, squared, count = time.perf_counter(), 0, 0
                    for group in sgd.param_groups:
                        group["momentum"] = momentum if epoch else momentum / 2
                    for v, *targets in batches:
                        if not checked:
                            check_alone(targets[0])
                            self.check(v)
                        v = v.to(dtype)
                        chains = v if chains is None else chains
                        with torch.no_grad():
                            hidden = self.hidden_mean(v)
                            again = self.visible_mean(units.sample(hidden, self.hidden_units))
                            squared += (again - v).square().sum()
                        count += len(v)
                        if persistent:
                            negative = chains = self.gibbs(chains, steps)
                        else:
                            # the reconstruction that was measured is the first round
                            start = units.sample(again, self.visible_units)
                            negative = self.gibbs(start, steps - 1)
                        self.contrast(v, negative).backward()
                        sgd.step()
                        sgd.zero_grad()
                    loss = float(squared) / count
                    if not math.isfinite(loss):
                        raise FloatingPointError(f"error not finite in epoch {epoch + 1}: lower lr")
                    history.append({"loss": loss}, {}, lr, time.perf_counter() - started)
        return history

    def check(self, data: Tensor) -> None:
        """Refuse data of another width, or that the visible units cannot take."""
        ends: Any = {"finite": False, "empty": True}
        if self.visible_units == "bernoulli":
            ends |= {"least": 0, "most": 1, "advice": "scale it, or take visible_units='gaussian'"}
        array("data", data, f"(N, {len(self.visible_bias)})", **ends)


@checked
def pretrain(
    widths: Sequence[int],
    data: Data,
    *,
    epochs: int,
    visible_units: Units = "bernoulli",
    code_units: Units = "gaussian",
    lr: float = 0.1,
    gaussian_lr: float = 0.01,
    seed: int = 0,
    **options: Any,
) -> list[RBM]:
    r"""A stack of RBMs, trained greedily: the data of machine k + 1 are :math:`E[h_k | h_{k-1}]`.

    Parameters
    ----------
    widths
        Units from message to code, ``(784, 256, 32)``; one machine for each pair.
    data
        Messages, (N, widths[0]), in [0, 1] or, for Gaussian visible units, real, in whatever form
        :func:`aebook.fit` takes.
    epochs
        Passes over the data for each machine.
    visible_units, code_units
        Units of the lowest and of the highest layer; all between are Bernoulli.
    lr, gaussian_lr
        Learning rate of a machine without and with a Gaussian layer.
    seed
        Seed of the first weights and of the training.
    **options
        More for :meth:`RBM.fit`: ``steps``, ``persistent``, ``momentum``, ``batch_size`` and so on.

    Examples
    --------
    >>> from aebook.boltzmann import pretrain
    >>> stack = pretrain((6, 4, 2), torch.rand(50, 6).round(), epochs=1)
    >>> [tuple(rbm.weight.shape) for rbm in stack]
    [(4, 6), (2, 4)]
    """
    check_arguments(lr=lr, seed=seed)
    number("gaussian_lr", gaussian_lr)
    widths = whole_numbers("widths", widths, count=2)
    home = torch.device("cpu")
    if isinstance(data, Tensor) and not data.is_meta:
        home = data.device
    # in memory as they are, their means are computed at once
    in_parts = isinstance(data, np.memmap) or not isinstance(data, Tensor | np.ndarray)
    chunk = 4096 if in_parts else sys.maxsize
    stack = []
    for k, (below, above) in enumerate(pairwise(widths)):
        visible = visible_units if k == 0 else "bernoulli"
        hidden = code_units if k == len(widths) - 2 else "bernoulli"
        with seeded(int(seed) + k, home):
            rbm = RBM(below, above, visible_units=visible, hidden_units=hidden).to(home)
        rate = gaussian_lr if "gaussian" in (visible, hidden) else lr
        rbm.fit(data, epochs=epochs, lr=rate, seed=int(seed) + k, **options)
        if k < len(widths) - 2:
            data = in_pieces(rbm, data, chunk, lambda v, rbm=rbm: rbm.hidden_mean(v.to(rbm.weight)))
            chunk = sys.maxsize
        stack.append(rbm)
    return stack


@checked
def unroll(stack: Sequence[RBM]) -> Autoencoder:
    r"""The deep autoencoder that passes means up a stack and down again.

    The encoder's layers are :math:`σ(W_k h + b_k)`, the decoder's :math:`σ(W_k^\top h + c_k)`,
    linear where the units are Gaussian. The weights are copies, so that fine-tuning may pull
    encoder and decoder apart and leaves the stack as it was.

    Parameters
    ----------
    stack
        What :func:`pretrain` returned: each machine's hidden units are the next one's visible
        units, and only the two ends may be Gaussian.

    Examples
    --------
    >>> from aebook.boltzmann import RBM, unroll
    >>> model = unroll([RBM(6, 4), RBM(4, 2, hidden_units="gaussian")])
    >>> x = torch.rand(5, 6)
    >>> model.encode(x).shape, model.reconstruct(x).shape
    (torch.Size([5, 2]), torch.Size([5, 6]))
    """
    counted("machines", len(stack))
    for k, (lower, upper) in enumerate(pairwise(stack)):
        kinds = (lower.hidden_units, upper.visible_units)
        sizes = (len(lower.hidden_bias), len(upper.visible_bias))
        if sizes[0] != sizes[1] or kinds != ("bernoulli", "bernoulli"):
            raise ValueError(
                f"got {sizes[0]} {kinds[0]} units above machine {k} and {sizes[1]} {kinds[1]} "
                f"units below machine {k + 1}, expected as many, and Bernoulli units between"
            )
    widths = [len(stack[0].visible_bias), *(len(rbm.hidden_bias) for rbm in stack)]
    ends = {"bernoulli": nn.Sigmoid, "gaussian": None}
    encoder = mlp(widths, activation=nn.Sigmoid, output=ends[stack[-1].hidden_units])
    decoder = mlp(widths[::-1], activation=nn.Sigmoid, output=ends[stack[0].visible_units])
    model = Autoencoder(encoder, decoder).to(stack[0].weight)
    with torch.no_grad():
        for rbm, up, down in zip(stack, model.encoder, reversed(list(model.decoder)), strict=True):
            up.map.weight.copy_(rbm.weight)
            up.map.bias.copy_(rbm.hidden_bias)
            down.map.weight.copy_(rbm.weight.T)
            down.map.bias.copy_(rbm.visible_bias)
    return model
