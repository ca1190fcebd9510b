r"""The concrete autoencoder: an encoder that selects k of the m features (Balın, Abid & Zou 2019).

Each of the k nodes mixes the features with weights that sum to one,

.. math::

    z_i = \sum_j M_{ij} x_j, \qquad
    M_{ij} = \frac{\exp((\log α_{ij} + g_{ij}) / τ)}{\sum_l \exp((\log α_{il} + g_{il}) / τ)},

with :math:`g_{ij}` drawn from the Gumbel distribution. At a high temperature τ a node averages all
features; as τ falls to zero it picks one, feature j with probability proportional to
:math:`α_{ij}`. Training lowers τ, and :math:`\log α` is learnt by gradient descent. Afterwards
node i is the single feature :math:`\arg\max_j α_{ij}`.

The temperature is a buffer that the training loop sets, never ``forward``:

>>> objective = aebook.variants.concrete((784, 75, 50))
>>> history = aebook.fit(objective, x, epochs=100, anneal=aebook.training.annealing())
>>> objective.model.encoder.selected
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from aebook._internal.checks import number, rows, tensors, whole
from aebook._internal.contract import checked

__all__ = ["ConcreteSelector", "relaxed_one_hot"]


def relaxed_one_hot(logits: Tensor, temperature: Tensor | float) -> Tensor:
    r"""Draw :math:`M = \mathrm{softmax}((\log α + g) / τ)`, the Concrete distribution.

    Maddison et al. 2017 named it; Jang et al. 2017 call it Gumbel-softmax. The largest entry is
    entry j with probability :math:`\mathrm{softmax}(\log α)_j` at every temperature; what the
    temperature sets is how much larger it is than the others. Gradients reach ``logits``.

    Parameters
    ----------
    logits
        :math:`\log α` up to a constant, (..., m).
    temperature
        τ, above 0.

    Returns
    -------
    Tensor
        The shape of ``logits``; the last dimension is at least 0 and sums to 1.

    Examples
    --------
    >>> from aebook.concrete import relaxed_one_hot
    >>> logits = torch.tensor([0.0, 100.0, 0.0])  # the second is chosen, as good as surely
    >>> relaxed_one_hot(logits, temperature=0.1)
    tensor([0., 1., 0.])
    """
    tensors(logits=logits)
    if not logits.is_floating_point():
        raise ValueError(f"got logits of type {logits.dtype}, expected floating point")
    # a GPU would wait for its value to be read
    given = math.nan
    if not torch.compiler.is_compiling() and not getattr(temperature, "is_cuda", False):
        given = temperature.item() if isinstance(temperature, Tensor) else temperature
        number("temperature", given)
    # away from 0 and 1, where the logarithms are infinite
    eps = torch.finfo(logits.dtype).eps
    uniform = torch.rand_like(logits).clamp(eps, 1 - eps)
    gumbel = -(-uniform.log()).log()
    drawn = ((logits + gumbel) / temperature).softmax(-1)
    if not (torch.compiler.is_compiling() or drawn.is_cuda) and drawn.isnan().any():
        raise ValueError(
            f"got logits from {logits.min():.4g} to {logits.max():.4g} at temperature={given:.4g}, "
            "whose quotients overflow, expected finite ones and a temperature that is not as small"
        )
    return drawn


class ConcreteSelector(nn.Module):
    r"""Encoder of k features: :math:`z = Mx`, in evaluation :math:`z_i = x_{\arg\max_j α_{ij}}`.

    In training M is drawn from the Concrete distribution, once for a batch, as the authors' code
    does. In evaluation the code consists of features of the message, copied exactly.

    Parameters
    ----------
    m
        Features of a message, 1 or more.
    k
        Features to select, from 1 to m. Two nodes may end with the same one: :attr:`duplicates`.
    temperature
        τ before a schedule sets it, above 0. A buffer, saved with the weights.

    Attributes
    ----------
    logits
        :math:`\log α`, (k, m), a parameter; starts normal with variance 2 / (m + k).
    temperature
        τ, a scalar buffer.

    Examples
    --------
    >>> from aebook.concrete import ConcreteSelector
    >>> selector, x = ConcreteSelector(m=10, k=2).eval(), torch.rand(5, 10)
    >>> torch.equal(selector(x), x[:, selector.selected])
    True
    """

    temperature: Tensor
    #: See :func:`aebook.core.settings`.
    settings = ("temperature",)

    @checked
    def __init__(self, m: int, k: int, temperature: float = 10.0) -> None:
        super().__init__()
        m = whole("m", m)
        k = whole("k", k, most=m)
        self.shape = (m,)
        self.logits = nn.Parameter(torch.empty(k, m))
        self.register_buffer("temperature", torch.tensor(number("temperature", temperature)))
        nn.init.xavier_normal_(self.logits)

    def forward(self, x: Tensor) -> Tensor:
        """The code, (B, k), of messages (B, m)."""
        rows(x, *self.shape)
        if self.training:
            return x @ relaxed_one_hot(self.logits, self.temperature).T
        return x[:, self.selected]

    def set_temperature(self, value: float) -> None:
        """Set τ, from a schedule: :func:`aebook.training.temperature.annealing`."""
        self.temperature.fill_(number("temperature", value))

    @property
    def selected(self) -> Tensor:
        r"""The feature of each node, :math:`\arg\max_j α_{ij}`, (k,), counted from 0."""
        return self.logits.detach().argmax(1)

    @property
    def probabilities(self) -> Tensor:
        r"""Chance of each feature at each node, :math:`α_{ij} / \sum_l α_{il}`, (k, m)."""
        return self.logits.detach().softmax(1)

    @property
    def confidence(self) -> float:
        r"""Mean over nodes of the largest probability, from 1/m, undecided, to 1, decided."""
        return float(self.probabilities.amax(1).mean())

    @property
    def duplicates(self) -> Tensor:
        """Features that more than one node selects, in rising order; empty if there are none."""
        features, counts = self.selected.unique(return_counts=True)
        return features[counts > 1]

    def arguments(self) -> dict[str, Any]:
        """What makes another like it, for files: see :mod:`aebook.storage.architecture`."""
        return {
            "m": self.logits.shape[1],
            "k": self.logits.shape[0],
            "temperature": float(self.temperature),
        }

    def extra_repr(self) -> str:
        """What ``print`` shows between the brackets."""
        k, m = self.logits.shape
        return f"m={m}, k={k}, temperature={float(self.temperature):.3g}"
