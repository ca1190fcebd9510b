"""The named members of the family: each is a short function that returns an objective.

What a variant does not offer as an argument, the parts do: ``Objective(Autoencoder(encoder,
decoder, bottleneck), corruption, distance, penalties)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from torch import Tensor, nn

from aebook.bottlenecks import Binary, Gaussian, TopK
from aebook.concrete import ConcreteSelector
from aebook.core import Autoencoder, Objective
from aebook.distances import bernoulli, squared_error
from aebook.jacobian import contractive as contractive_penalty
from aebook.networks import Activation, Standardised, mlp, tied_decoder
from aebook.penalties import activity, kl_to_prior, sparsity
from aebook.sparse import sparse_decoder

__all__ = [
    "binary",
    "concrete",
    "contractive",
    "denoising",
    "k_sparse",
    "linear",
    "plain",
    "sparse",
    "variational",
]


def plain(
    widths: Sequence[int],
    *,
    activation: Activation | None = nn.ReLU,
    code: Activation | None = None,
    output: Activation | None = nn.Sigmoid,
    tied: bool = False,
    distance: Callable[[Tensor, Tensor], Tensor] = squared_error,
) -> Objective:
    r"""The basic autoencoder: :math:`\min_{θ,φ} E_x[d(x, D_θ(E_φ(x)))]`.

    Parameters
    ----------
    widths
        Units from message to code, ``(784, 256, 32)``; the decoder mirrors them.
    activation
        Of the hidden layers of both networks, as something that makes a module.
    code
        Of the code layer; None: a linear code.
    output
        Of the reconstruction. The default suits messages in [0, 1]; None suits any others.
    tied
        Whether the decoder's weights are the encoder's, transposed.
    distance
        See :mod:`aebook.distances`.
    """
    encoder = mlp(widths, activation=activation, output=code)
    if tied:
        decoder = tied_decoder(encoder, activation=activation, output=output)
    else:
        decoder = mlp(tuple(widths)[::-1], activation=activation, output=output)
    return Objective(Autoencoder(encoder, decoder), distance=distance)


def linear(widths: Sequence[int], *, bias: bool = True, tied: bool = False) -> Objective:
    r"""The linear autoencoder, :math:`\min E_x \|x - (W_2(W_1 x + b_1) + b_2)\|^2`.

    Its optimum spans the principal subspace (Baldi & Hornik 1989); see :mod:`aebook.theory.linear`.

    Parameters
    ----------
    widths
        Units from message to code, ``(784, 2)``; more than two widths make a deep linear network.
    bias
        Without biases the data must be centred for the theorem to hold.
    tied
        Whether :math:`W_2 = W_1^\top`.
    """
    encoder = mlp(widths, activation=None, bias=bias)
    if tied:
        decoder = tied_decoder(encoder, activation=None, bias=bias)
    else:
        decoder = mlp(tuple(widths)[::-1], activation=None, bias=bias)
    return Objective(Autoencoder(encoder, decoder))


def k_sparse(
    widths: Sequence[int],
    k: int,
    *,
    by: Literal["value", "magnitude"] = "value",
    alpha: float = 1.0,
    activation: Activation | None = nn.ReLU,
    output: Activation | None = nn.Sigmoid,
    tied: bool = False,
    sparse_decode: bool = False,
) -> Objective:
    r"""The k-sparse autoencoder: :math:`x' = D(f_k(E(x)))`, f_k keeps the k largest activities.

    Makhzani & Frey 2013 use one linear layer with tied weights, keep the k highest activities, let
    k fall from a large value in training, and encode with αk at the end.

    Parameters
    ----------
    widths
        Units from message to code; the code may be wider than the message.
    k, by, alpha
        See :class:`aebook.bottlenecks.TopK`.
    activation, output, tied
        As in :func:`plain`.
    sparse_decode
        Whether the decoder gathers the k active units' weights and leaves the others alone. The
        function is the same; from some thousands of code units on it is faster
        (:mod:`aebook.sparse`).
    """
    objective = plain(widths, activation=activation, output=output, tied=tied)
    if k > widths[-1]:
        raise ValueError(f"got k={k} for {widths[-1]} code units, expected at most that many")
    objective.model.bottleneck = TopK(k, by, alpha)
    if sparse_decode:
        sparse_decoder(objective.model.decoder)
    return objective


def sparse(
    widths: Sequence[int],
    weight: float | Sequence[float],
    *,
    target: float | Sequence[float] | None = 0.05,
    kind: Literal["kl", "l1", "l2"] = "kl",
    over: Literal["data", "units"] = "data",
    activation: Activation | None = nn.Sigmoid,
    output: Activation | None = nn.Sigmoid,
    distance: Callable[[Tensor, Tensor], Tensor] = squared_error,
) -> Objective:
    r"""The autoencoder with a sparsity loss: :math:`L + \sum_k w_k\, s(\hat ρ_k, ρ_k)`.

    The sum runs over the encoder's layers, the code included. The penalties are called
    ``"sparsity"``, or ``"sparsity_1"``, ``"sparsity_2"``, … if there are several layers.

    Parameters
    ----------
    widths
        Units from message to code; the code may be wider than the message.
    weight
        :math:`w_k`, 0 or more: one number for all layers, or one for each.
    target
        :math:`ρ_k`, likewise. None: the penalty is the size of the activities, ``kind="l1"`` or
        ``"l2"``, see :func:`aebook.penalties.activity`; with L1 keep the decoder's columns at unit
        norm, see :func:`aebook.sparse.unit_columns`.
    kind, over
        See :func:`aebook.penalties.sparsity`.
    activation
        Of the encoder's layers, the code included, and of the decoder's hidden layers.
    output, distance
        As in :func:`plain`.
    """
    if target is None and kind == "kl":
        raise ValueError("got kind='kl' without a target, expected a target from 0 to 1")
    layers = len(widths) - 1
    weights, targets = _each(weight, layers, "weight"), _each(target, layers, "target")
    base = plain(widths, activation=activation, code=activation, output=output)
    penalties = {}
    for layer in range(layers):
        if targets[layer] is None:
            penalty = activity(1 if kind == "l1" else 2, layer)
        else:
            penalty = sparsity(targets[layer], kind, over, layer)
        name = "sparsity" if layers == 1 else f"sparsity_{layer + 1}"
        penalties[name] = (weights[layer], penalty)
    return Objective(base.model, distance=distance, penalties=penalties)


def concrete(
    widths: Sequence[int],
    *,
    activation: Activation | None = nn.ReLU,
    output: Activation | None = nn.Sigmoid,
    distance: Callable[[Tensor, Tensor], Tensor] = squared_error,
) -> Objective:
    r"""The concrete autoencoder: :math:`x' = D(Mx)`, M selects k of the m features.

    The encoder is a :class:`aebook.concrete.ConcreteSelector`, and the decoder imputes all features
    from those selected (Balın et al. 2019). Give :func:`aebook.fit` the temperature's schedule,
    ``anneal=aebook.training.annealing()``: without it the temperature stays at 10, where nothing
    is selected.

    Parameters
    ----------
    widths
        From message to code: the first is m, the last k, and those in between are the decoder's
        hidden layers, ``(784, 75, 50)``. The selector itself has none.
    activation
        Of the decoder's hidden layers. For the authors' leaky ReLU and dropout give
        ``lambda: nn.Sequential(nn.LeakyReLU(0.2), nn.Dropout(0.1))``.
    output, distance
        As in :func:`plain`.
    """
    decoder = mlp(tuple(widths)[::-1], activation=activation, output=output)
    selector = ConcreteSelector(widths[0], widths[-1])
    return Objective(Autoencoder(selector, decoder), distance=distance)


def denoising(
    widths: Sequence[int],
    corruption: Callable[[Tensor], Tensor],
    *,
    activation: Activation | None = nn.ReLU,
    code: Activation | None = None,
    output: Activation | None = nn.Sigmoid,
    tied: bool = False,
    distance: Callable[[Tensor, Tensor], Tensor] = squared_error,
) -> Objective:
    r"""The denoising autoencoder: :math:`\min E_x E_T[d(x, D(E(T(x))))]` (Vincent et al. 2008).

    Parameters
    ----------
    widths
        Units from message to code.
    corruption
        T, for instance ``aebook.corruptions.masking(0.3)``, or any map of a batch to one of the
        same shape.
    activation, code, output, tied, distance
        As in :func:`plain`.
    """
    model = plain(widths, activation=activation, code=code, output=output, tied=tied).model
    return Objective(model, corruption, distance)


def variational(
    widths: Sequence[int],
    *,
    beta: float = 1.0,
    activation: Activation | None = nn.ReLU,
    output: Activation | None = nn.Sigmoid,
    distance: Callable[[Tensor, Tensor], Tensor] = bernoulli,
) -> Objective:
    r"""The variational autoencoder: :math:`E_q[-\log p(x|z)] + β D_{KL}(q(z|x) \| N(0, I))`.

    With β = 1 the loss is the negative evidence lower bound, in nats (Kingma & Welling 2014).

    Parameters
    ----------
    widths
        Units from message to code; the encoder's last layer has twice as many as the code, for
        means and log-variances.
    beta
        β, 0 or more (Higgins et al. 2017). The weight of the penalty ``"kl"``, which a schedule
        may set: ``fit(..., anneal=lambda o, t: o.set_weight("kl", min(1, 4 * t)))``.
    activation, output
        As in :func:`plain`.
    distance
        A negative log-likelihood: :func:`aebook.distances.bernoulli`, or a
        :class:`aebook.distances.Gaussian` with an ``output`` that suits the data.
    """
    encoder = mlp((*widths[:-1], 2 * widths[-1]), activation=activation)
    decoder = mlp(tuple(widths)[::-1], activation=activation, output=output)
    model = Autoencoder(encoder, decoder, Gaussian())
    return Objective(model, distance=distance, penalties={"kl": (beta, kl_to_prior)})


def binary(
    widths: Sequence[int],
    *,
    kind: Literal["straight_through", "bernoulli", "noise"] = "straight_through",
    sigma: float = 1.0,
    centred: bool = True,
    activation: Activation | None = nn.ReLU,
    output: Activation | None = nn.Sigmoid,
    distance: Callable[[Tensor, Tensor], Tensor] = squared_error,
) -> Objective:
    r"""The binary autoencoder of semantic hashing: :math:`x' = D(1[E(x) > 0])`.

    Messages with like contents get codes that differ in few bits, so that a code can be used as an
    address (Salakhutdinov & Hinton 2009): see :mod:`aebook.applications.retrieval.hashers`.

    Parameters
    ----------
    widths
        Units from message to code, ``(784, 256, 32)`` for 32 bits.
    kind, sigma
        What stands for the step in training, see :class:`aebook.bottlenecks.Binary`.
    centred
        Whether the encoder ends in :class:`aebook.networks.Standardised`. Each bit then divides the
        messages about in half, and σ has a scale that the encoder cannot grow away from. Without,
        as in 2009, some bits come out the same for all messages.
    activation, output, distance
        As in :func:`plain`. For counts of words, :func:`aebook.distances.categorical` with
        ``output=None``.
    """
    scale = partial(Standardised, widths[-1]) if centred else None
    objective = plain(widths, activation=activation, code=scale, output=output, distance=distance)
    objective.model.bottleneck = Binary(kind, sigma)
    return objective


def _each(value: float | Sequence[float] | None, layers: int, name: str) -> list[float | None]:
    """One value a layer, from one for all or a sequence."""
    if value is None or isinstance(value, int | float):
        return [value] * layers
    if len(value) != layers:
        raise ValueError(
            f"got {len(value)} values of {name}, expected one for each of the encoder's {layers} "
            "layers, or one number for all"
        )
    return list(value)


def contractive(
    widths: Sequence[int],
    weight: float,
    *,
    kind: Literal["exact", "hutchinson"] = "exact",
    activation: Activation | None = nn.Sigmoid,
    code: Activation | None = nn.Sigmoid,
    output: Activation | None = nn.Sigmoid,
    tied: bool = True,
    distance: Callable[[Tensor, Tensor], Tensor] = squared_error,
) -> Objective:
    r"""The contractive autoencoder: :math:`L + λ\, E_x \|J_E(x)\|_F^2` (Rifai et al. 2011).

    Weights are tied, as in the paper. Untied, a small code and a decoder that scales it up again
    escape the penalty.

    Parameters
    ----------
    widths
        Units from message to code, ``(784, 256)``.
    weight
        λ, 0 or more.
    kind
        ``"exact"``, or ``"hutchinson"`` for a cheaper estimate: see
        :func:`aebook.jacobian.contractive`.
    activation, code, output, tied, distance
        As in :func:`plain`.
    """
    model = plain(widths, activation=activation, code=code, output=output, tied=tied).model
    penalties = {"contractive": (weight, contractive_penalty(kind))}
    return Objective(model, distance=distance, penalties=penalties)
