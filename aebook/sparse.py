r"""Wide sparse codes: a decoder that costs O(k), and columns that L1 cannot escape through.

A code of n units of which k are active needs k rows of the decoder's weight, not all n:

.. math::

    W z + b = b + \sum_{i:\, z_i \ne 0} z_i w_i

Stored by rows :math:`w_i` (n, m), the sum is what ``torch.nn.functional.embedding_bag`` computes.
``python benchmarks/sparse_decode.py`` shows what that saves.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from aebook._internal.checks import whole
from aebook._internal.contract import checked
from aebook.networks import Chain, Transposed

__all__ = [
    "SparseLinear",
    "SparseTransposed",
    "UnitColumns",
    "sparse_decoder",
    "sparse_linear",
    "unit_columns",
]


def sparse_linear(z: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    r"""The sum :math:`\sum_{i: z_i \ne 0} z_i w_i + b`, equal to ``z @ weight + bias``.

    A sample costs O(m) for each entry of its code that is not zero, plus one look at the n entries
    to find them. The gradient is that of the dense product in the weight, the bias and the entries
    that are not zero; entries that are zero get none. Behind a top-k bottleneck or a ReLU that is
    the whole gradient, since they pass none on either.

    Parameters
    ----------
    z
        Codes, (B, n), mostly zeros. Any number of entries a sample may be active.
    weight
        Rows :math:`w_i`, (n, m): the transpose of what ``nn.Linear`` stores.
    bias
        b, (m,).

    Returns
    -------
    Tensor
        (B, m), of the type of the weight.

    Examples
    --------
    >>> from aebook.sparse import sparse_linear
    >>> weight = torch.tensor([[1.0, 1.0], [2.0, 3.0], [5.0, 5.0]])
    >>> sparse_linear(torch.tensor([[0.0, 10.0, 0.0]]), weight)
    tensor([[20., 30.]])
    """
    if z.dim() != 2 or weight.dim() != 2 or z.shape[1] != len(weight):
        raise ValueError(
            f"got codes of shape {tuple(z.shape)} for a weight of {tuple(weight.shape)}, "
            "expected (batch, n) and (n, m)"
        )
    rows, units = z.nonzero(as_tuple=True)
    # where in the list of active units each sample begins
    begins = torch.searchsorted(rows, torch.arange(len(z), device=z.device))
    values = z[rows, units].to(weight.dtype)
    out = F.embedding_bag(units, weight, begins, mode="sum", per_sample_weights=values)
    return out if bias is None else out + bias


class SparseLinear(nn.Module):
    r"""A linear layer for sparse codes, :math:`z \mapsto \sum_{i: z_i \ne 0} z_i w_i + b`.

    It starts like the layers of :mod:`aebook.networks` and takes codes as dense tensors, so a
    bottleneck, a penalty and an :class:`aebook.Objective` need not know of it.

    Parameters
    ----------
    n, m
        Units of the code, and outputs.
    bias
        Whether there is a bias.

    Examples
    --------
    >>> from aebook.sparse import SparseLinear
    >>> layer, z = SparseLinear(1000, 4), torch.zeros(5, 1000)
    >>> z[:, 7] = 2.0
    >>> torch.allclose(layer(z), 2 * layer.weight[7] + layer.bias)
    True
    """

    @checked
    def __init__(self, n: int, m: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(whole("n", n), whole("m", m)))
        self.bias = nn.Parameter(torch.zeros(m)) if bias else None
        nn.init.xavier_uniform_(self.weight)

    def forward(self, z: Tensor) -> Tensor:
        """Outputs (B, m) of codes (B, n): see :func:`sparse_linear`."""
        return sparse_linear(z, self.weight, self.bias)

    def arguments(self) -> dict[str, Any]:
        """What makes another like it, for files: see :mod:`aebook.storage.architecture`."""
        return {
            "n": self.weight.shape[0],
            "m": self.weight.shape[1],
            "bias": self.bias is not None,
        }

    def extra_repr(self) -> str:
        """What ``print`` shows between the brackets."""
        n, m = self.weight.shape
        return f"{n}, {m}, bias={self.bias is not None}"


class SparseTransposed(Transposed):
    """The same with the weight of an encoder's layer, which is stored by rows already.

    Parameters
    ----------
    source, bias
        As in :class:`aebook.networks.Transposed`.

    Examples
    --------
    >>> from aebook.sparse import SparseTransposed
    >>> source, z = torch.nn.Linear(4, 10), torch.eye(10)
    >>> torch.allclose(SparseTransposed(source, bias=True)(z), source.weight)
    True
    """

    def forward(self, h: Tensor) -> Tensor:
        """Outputs (B, m) of codes (B, n): see :func:`sparse_linear`."""
        return sparse_linear(h, self.source.weight, self.bias)


@checked
def sparse_decoder(decoder: nn.Module) -> nn.Module:
    r"""Let the first layer of a decoder gather active units only, in place.

    The function stays the same. It pays from some thousands of code units on, and saves the
    decoder's work alone: the encoder still computes all n activities, and an optimiser such as
    Adam still touches all n rows at each step.

    Parameters
    ----------
    decoder
        Of :func:`aebook.networks.mlp` or :func:`aebook.networks.tied_decoder`, an
        ``nn.Sequential`` that begins with a linear layer, or one linear layer. Weights keep their
        values, in a new layer: give the decoder to an optimiser, or to :func:`aebook.fit`, only
        afterwards.

    Returns
    -------
    Module
        The same decoder; in place of a linear layer that is all of it, a :class:`SparseLinear`.

    Examples
    --------
    >>> from aebook.sparse import sparse_decoder
    >>> decoder, z = aebook.networks.mlp((100, 8)), torch.eye(100)
    >>> before = decoder(z)
    >>> torch.allclose(sparse_decoder(decoder)(z), before)
    True
    """
    place, first = next(iter(_maps(decoder).items()))
    if parametrize.is_parametrized(first):
        raise ValueError(
            "got a decoder with unit columns, expected a plain one: call sparse_decoder first, "
            "then unit_columns"
        )
    if place not in ("", "0", "0.map"):
        raise ValueError(
            f"got a decoder that begins with a {type(decoder.get_submodule('0')).__name__}, "
            "expected a linear layer: only where nothing comes before it are codes sparse"
        )
    layer = _gathering(first)
    if not place:
        return layer
    owner, _, name = place.rpartition(".")
    setattr(decoder.get_submodule(owner), name, layer)
    return decoder


def _gathering(layer: Any) -> nn.Module:
    """A layer that computes the same from active units only."""
    bias = layer.bias is not None
    if isinstance(layer, Transposed):
        transposed = SparseTransposed(layer.source, bias)
        transposed.bias = layer.bias
        return transposed
    if isinstance(layer, nn.Linear):
        gathering = SparseLinear(layer.in_features, layer.out_features, bias).to(layer.weight)
        with torch.no_grad():
            gathering.weight.copy_(layer.weight.T)
            if gathering.bias is not None:
                gathering.bias.copy_(layer.bias)
        return gathering.train(layer.training)
    return layer


class UnitColumns(nn.Module):
    """The map V ↦ W with columns v/‖v‖, one for each input of the layer.

    Parameters
    ----------
    along
        The dimension of the weight along which a column lies.

    Examples
    --------
    >>> from aebook.sparse import UnitColumns
    >>> UnitColumns(along=0)(torch.tensor([[3.0, 0.0], [4.0, 2.0]]))
    tensor([[0.6000, 0.0000],
            [0.8000, 1.0000]])
    """

    @checked
    def __init__(self, along: int) -> None:
        super().__init__()
        self.along = whole("along", along, least=0, most=1)

    def forward(self, v: Tensor) -> Tensor:
        """W of V."""
        return F.normalize(v, dim=self.along)

    def right_inverse(self, w: Tensor) -> Tensor:
        """The V that training starts from: W itself."""
        return w


@checked
def unit_columns(decoder: nn.Module) -> nn.Module:
    r"""Keep the columns of a decoder's weights at unit norm, in place: :math:`\|w_i\|_2 = 1`.

    A penalty :math:`λ\|z\|_1` alone can be had for nothing: with :math:`z/c` and :math:`c\,W` the
    reconstruction stays and the penalty falls by c. With columns of fixed norm it cannot.

    Every linear layer is treated, since a ReLU would let a later layer make up for an earlier one.
    A layer's ``weight`` is then the one with unit columns; what is trained, stored and counted by
    :func:`aebook.penalties.weight_decay` is a V whose columns have the same directions.

    Parameters
    ----------
    decoder
        Of :func:`aebook.networks.mlp`, an ``nn.Sequential`` of linear layers and what has no
        weights, or one linear layer, before it is given to :func:`aebook.fit`. A tied decoder is
        refused: unit columns would be its encoder's too.

    Returns
    -------
    Module
        The same decoder.

    Examples
    --------
    >>> from aebook.sparse import unit_columns
    >>> decoder = unit_columns(aebook.networks.mlp((3, 8)))
    >>> decoder[0].map.weight.norm(dim=0).detach().round(decimals=4)
    tensor([1., 1., 1.])
    """
    maps = _maps(decoder).values()
    if any(isinstance(layer, Transposed) for layer in maps):
        raise ValueError(
            "got a tied decoder, expected one with weights of its own: its columns are the "
            "encoder's rows, and tying already stops L1 from shrinking one against the other"
        )
    for layer in maps:
        if not parametrize.is_parametrized(layer):
            along = 1 if isinstance(layer, SparseLinear) else 0
            parametrize.register_parametrization(layer, "weight", UnitColumns(along))
    return decoder


def _maps(decoder: nn.Module) -> dict[str, nn.Module]:
    """The linear maps of a decoder with their places, first to last."""
    kinds = nn.Linear | SparseLinear | Transposed
    maps = {place: part for place, part in decoder.named_modules() if isinstance(part, kinds)}
    own = {id(parameter) for part in maps.values() for parameter in part.parameters()}
    in_order = type(decoder) in (Chain, nn.Sequential) or "" in maps
    if not maps or not in_order or any(id(p) not in own for p in decoder.parameters()):
        raise ValueError(
            f"got a {type(decoder).__name__} that is not all linear layers, expected a decoder of "
            "networks.mlp or networks.tied_decoder, an nn.Sequential of linear layers and "
            "activations, or one linear layer"
        )
    return maps
