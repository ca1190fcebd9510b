"""The named members of the family: each is a short function that returns an objective.

What a variant does not offer as an argument, the parts do: ``Objective(Autoencoder(encoder,
decoder, bottleneck), corruption, distance, penalties)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor, nn

from aebook.bottlenecks import Gaussian, TopK
from aebook.core import Autoencoder, Objective
from aebook.distances import bernoulli, squared_error
from aebook.networks import Activation, mlp, tied_decoder
from aebook.penalties import activity, kl_to_prior, sparsity

__all__ = ["denoising", "k_sparse", "linear", "plain", "sparse", "variational"]


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

    Its optimum spans the principal subspace (Baldi & Hornik 1989); see :mod:`aebook.linear`.

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
    """
    objective = plain(widths, activation=activation, output=output, tied=tied)
    if k > widths[-1]:
        raise ValueError(f"got k={k} for {widths[-1]} code units, expected at most that many")
    objective.model.bottleneck = TopK(k, by, alpha)
    return objective


def sparse(
    widths: Sequence[int],
    weight: float,
    *,
    target: float | None = 0.05,
    kind: Literal["kl", "l1", "l2"] = "kl",
    over: Literal["data", "units"] = "data",
    activation: Activation | None = nn.Sigmoid,
    output: Activation | None = nn.Sigmoid,
    distance: Callable[[Tensor, Tensor], Tensor] = squared_error,
) -> Objective:
    r"""The autoencoder with a sparsity loss: :math:`L + λ \sum_k s(ρ, \hat ρ_k)`.

    Parameters
    ----------
    widths
        Units from message to code; every layer of the encoder is penalised alike. For weights and
        targets of their own give an objective the penalties by name and layer.
    weight
        λ, 0 or more.
    target, kind, over
        See :func:`aebook.penalties.sparsity`. With ``target=None`` the penalty is the size of the
        activities, ``kind="l1"`` or ``"l2"``: see :func:`aebook.penalties.activity`.
    activation
        Of the encoder's layers, the code included, and of the decoder's hidden layers.
    output, distance
        As in :func:`plain`.
    """
    if target is None and kind == "kl":
        raise ValueError("got kind='kl' without a target, expected a target from 0 to 1")
    base = plain(widths, activation=activation, code=activation, output=output)
    penalties = {}
    for layer in range(len(widths) - 1):
        if target is None:
            penalty = activity(1 if kind == "l1" else 2, layer)
        else:
            penalty = sparsity(target, kind, over, layer)
        penalties["sparsity" if len(widths) == 2 else f"sparsity_{layer + 1}"] = (weight, penalty)
    return Objective(base.model, distance=distance, penalties=penalties)


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
