"""The named members of the family: each is a short function that returns an objective.

Every one takes the widths of fully connected networks, or a pair ``(encoder, decoder)`` of one's
own, and then a corruption, a distance and more penalties: :func:`plain` says what these are. A
convolutional variational autoencoder is

>>> parts = aebook.networks.convolutional((1, 28, 28), (16, 32), 10, posterior=True)
>>> objective = aebook.variants.variational(parts, distance=aebook.distances.Gaussian())

Seeds: weights are drawn from PyTorch's global generator when an objective is made. The same model
comes again with ``torch.manual_seed(s)`` before it is made, and ``seed=`` in :func:`aebook.fit`
for everything that is random in training.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from torch import Tensor, nn

from aebook._internal.checks import whole, whole_numbers
from aebook._internal.contract import checked, taken
from aebook.bottlenecks import Binary, Gaussian, TopK
from aebook.concrete import ConcreteSelector
from aebook.core import Autoencoder, Objective, Penalty
from aebook.distances import bernoulli, squared_error
from aebook.jacobian import contractive as contractive_penalty
from aebook.networks import Activation, Standardised, mlp, tied_decoder
from aebook.penalties import activity, combined, kl_to_prior, sparsity
from aebook.sparse import sparse_decoder
from aebook.sparse import unit_columns as with_unit_columns

if TYPE_CHECKING:
    from typing_extensions import TypeIs

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

#: Widths of fully connected networks, or an encoder and a decoder.
Networks = Sequence[int] | tuple[nn.Module, nn.Module]
Corruption = Callable[[Tensor], Tensor]
Distance = Callable[[Tensor, Tensor], Tensor]
Penalties = Mapping[str, tuple[float, Penalty]]
Variant = TypeVar("Variant", bound=Callable[..., Objective])

# what belongs into networks of one's own
_OF_NETWORKS = {"activation", "code", "output", "tied", "bias", "centred", "temperature"}


def _given(widths: Networks) -> TypeIs[tuple[nn.Module, nn.Module]]:
    """Whether networks were given in place of widths."""
    parts = tuple(widths) if isinstance(widths, list | tuple) else ()
    return len(parts) == 2 and all(isinstance(part, nn.Module) for part in parts)


def _variant(make: Variant) -> Variant:
    """Refuse what is no argument, or one of fully connected networks where networks are given."""

    @functools.wraps(make)
    def careful(widths: Networks, *args: Any, **named: Any) -> Objective:
        if _given(widths) and (own := sorted(_OF_NETWORKS & named.keys())):
            raise ValueError(
                f"got networks and {', '.join(own)}, which {make.__name__} takes for networks that "
                "it makes from widths: build it into yours, or give widths"
            )
        if not _given(widths):
            widths = whole_numbers("widths", widths, count=2)
        return make(widths, *args, **named)

    return cast(Variant, checked(careful))


def _networks(
    widths: Networks,
    activation: Activation | None,
    code: Activation | None,
    output: Activation | None,
    tied: bool,
    bias: bool,
) -> tuple[Any, Any]:
    """Encoder and decoder: those given, or fully connected ones."""
    if _given(widths):
        encoder, decoder = widths
        return encoder, decoder
    encoder = mlp(widths, activation=activation, output=code, bias=bias)
    if tied:
        return encoder, tied_decoder(encoder, activation=activation, output=output, bias=bias)
    return encoder, mlp(tuple(widths)[::-1], activation=activation, output=output, bias=bias)


@_variant
def plain(
    widths: Networks,
    *,
    activation: Activation | None = nn.ReLU,
    code: Activation | None = None,
    output: Activation | None = nn.Sigmoid,
    tied: bool = False,
    bias: bool = True,
    corruption: Corruption | None = None,
    distance: Distance = squared_error,
    penalties: Penalties | None = None,
) -> Objective:
    r"""The basic autoencoder: :math:`\min_{θ,φ} E_x[d(x, D_θ(E_φ(x)))]`.

    Parameters
    ----------
    widths
        Units from message to code, ``(784, 256, 32)``; the decoder mirrors them. Or networks of
        your own, ``(encoder, decoder)``; the arguments up to ``bias`` are then built into them.
    activation
        Of the hidden layers of both networks, as something that makes a module.
    code
        Of the code layer; None: a linear code.
    output
        Of the reconstruction. The default suits messages in [0, 1]; None suits any others.
    tied
        Whether the decoder's weights are the encoder's, transposed. Two variants cannot: the
        variational encoder gives twice the numbers that its decoder takes, and a selector has no
        weights that a decoder could share.
    bias
        Whether layers have biases.
    corruption
        T, what the encoder sees in place of x: see :mod:`aebook.corruptions`.
    distance
        d, see :mod:`aebook.distances`.
    penalties
        ``{name: (λ, Ω)}``, see :mod:`aebook.penalties`.

    Raises
    ------
    ValueError
        If parts do not suit each other, or networks are given and arguments for others.

    Examples
    --------
    >>> from aebook import variants
    >>> objective = variants.plain((784, 256, 32))
    >>> images = torch.rand(5, 784)
    >>> objective.model.encode(images).shape, objective.model.reconstruct(images).shape
    (torch.Size([5, 32]), torch.Size([5, 784]))
    """
    model = Autoencoder(*_networks(widths, activation, code, output, tied, bias))
    return Objective(model, corruption, distance, penalties)


@_variant
def linear(
    widths: Networks,
    *,
    bias: bool = True,
    tied: bool = False,
    corruption: Corruption | None = None,
    distance: Distance = squared_error,
    penalties: Penalties | None = None,
) -> Objective:
    r"""The linear autoencoder, :math:`\min E_x \|x - (W_2(W_1 x + b_1) + b_2)\|^2`.

    With the squared error its optimum spans the principal subspace (Baldi & Hornik 1989); see
    :mod:`aebook.theory.linear`.

    Parameters
    ----------
    widths
        Units from message to code, ``(784, 2)``; more than two widths make a deep linear network.
    bias
        Without biases the data must be centred for the theorem to hold.
    tied
        Whether :math:`W_2 = W_1^\top`.
    corruption, distance, penalties
        As in :func:`plain`.

    Examples
    --------
    >>> from aebook import variants
    >>> x = torch.tensor([[-2.0, -4.0], [0.0, 0.0], [1.0, 2.0], [3.0, 6.0]])
    >>> objective = variants.linear((2, 1)).double()
    >>> history = aebook.lbfgs(objective, x)
    >>> round(history.loss[-1], 6)  # points on a line have one dimension: nothing is lost
    0.0
    """
    model = Autoencoder(*_networks(widths, None, None, None, tied, bias))
    return Objective(model, corruption, distance, penalties)


@_variant
def k_sparse(
    widths: Networks,
    k: int,
    *,
    by: Literal["value", "magnitude"] = "value",
    alpha: float = 1.0,
    activation: Activation | None = nn.ReLU,
    output: Activation | None = nn.Sigmoid,
    tied: bool = False,
    bias: bool = True,
    corruption: Corruption | None = None,
    distance: Distance = squared_error,
    penalties: Penalties | None = None,
    sparse_decode: bool = False,
) -> Objective:
    r"""The k-sparse autoencoder: :math:`x' = D(f_k(E(x)))`, f_k keeps the k largest activities.

    Makhzani & Frey 2013 use one linear layer with tied weights, keep the k highest activities, let
    k fall from a large value in training, and encode with αk at the end.

    Parameters
    ----------
    widths
        As in :func:`plain`; the code may be wider than the message.
    k, by, alpha
        See :class:`aebook.bottlenecks.TopK`.
    activation, output, tied, bias, corruption, distance, penalties
        As in :func:`plain`.
    sparse_decode
        Whether the decoder gathers the k active units' weights and leaves the others alone. The
        function is the same; from some thousands of code units on it is faster. A decoder of your
        own is changed in place, see :func:`aebook.sparse.sparse_decoder`.

    Examples
    --------
    >>> from aebook import variants
    >>> objective = variants.k_sparse((20, 50), k=3)
    >>> objective.model.encode(torch.rand(4, 20)).count_nonzero(1)
    tensor([3, 3, 3, 3])
    """
    encoder, decoder = _networks(widths, activation, None, output, tied, bias)
    if not _given(widths):
        whole("k", k, most=widths[-1], advice="ask for fewer, or widen the code")
    if sparse_decode:
        decoder = sparse_decoder(decoder)
    model = Autoencoder(encoder, decoder, TopK(k, by, alpha))
    return Objective(model, corruption, distance, penalties)


@_variant
def sparse(
    widths: Networks,
    weight: float | Sequence[float],
    *,
    target: float | Sequence[float] | None = 0.05,
    kind: Literal["kl", "l1", "l2"] = "kl",
    over: Literal["data", "units"] = "data",
    activation: Activation | None = nn.Sigmoid,
    output: Activation | None = nn.Sigmoid,
    tied: bool = False,
    bias: bool = True,
    unit_columns: bool = False,
    corruption: Corruption | None = None,
    distance: Distance = squared_error,
    penalties: Penalties | None = None,
) -> Objective:
    r"""The autoencoder with a sparsity loss: :math:`L + \sum_k w_k\, s(\hat ρ_k, ρ_k)`.

    The sum runs over the encoder's layers, the code included. The penalties are called
    ``"sparsity"``, or ``"sparsity_1"``, ``"sparsity_2"``, … if there are several layers.

    Parameters
    ----------
    widths
        As in :func:`plain`; the code may be wider than the message. Of an encoder of your own,
        an ``nn.Sequential``, say, the last layer is treated, or the last K for K weights.
    weight
        :math:`w_k`, 0 or more: one number for all layers, or one for each.
    target
        :math:`ρ_k`, likewise. None: the penalty is the norm of the activities, ``kind="l1"`` or
        ``"l2"``, see :func:`aebook.penalties.activity`. Larger columns of the decoder's weights
        make that small, unless they have unit norm.
    kind, over
        See :func:`aebook.penalties.sparsity`.
    activation
        Of the encoder's layers, the code included, and of the decoder's hidden layers.
    unit_columns
        Whether they have. A decoder of your own is changed in place, see
        :func:`aebook.sparse.unit_columns`.
    output, tied, bias, corruption, distance, penalties
        As in :func:`plain`.

    Examples
    --------
    >>> from aebook import variants
    >>> objective = variants.sparse((20, 10), 0.1, target=0.05)
    >>> loss = objective(torch.zeros(4, 20))  # ten activities of 1/2, far from 0.05
    >>> round(loss.terms["sparsity"].item(), 2)
    0.49
    """
    if target is None and kind == "kl":
        raise ValueError("got kind='kl' without a target, expected a target from 0 to 1")
    # of an encoder of one's own as many layers as there are weights
    layers = len(widths) - 1
    if _given(widths):
        layers = 1 if isinstance(weight, int | float) else len(weight)
    weights, targets = _each(weight, layers, "weight"), _each(target, layers, "target")
    encoder, decoder = _networks(widths, activation, activation, output, tied, bias)
    if unit_columns:
        with_unit_columns(decoder)
    own = {}
    for layer in range(layers):
        which = layer - layers
        desired = targets[layer]
        if desired is None:
            penalty = activity("l1" if kind == "l1" else "l2", which)
        else:
            penalty = sparsity(desired, kind, over, which)
        name = "sparsity" if layers == 1 else f"sparsity_{layer + 1}"
        own[name] = (weights[layer], penalty)
    model = Autoencoder(encoder, decoder)
    return Objective(model, corruption, distance, combined(own, penalties))


@_variant
def concrete(
    widths: Networks,
    *,
    temperature: float = 10.0,
    activation: Activation | None = nn.ReLU,
    output: Activation | None = nn.Sigmoid,
    bias: bool = True,
    corruption: Corruption | None = None,
    distance: Distance = squared_error,
    penalties: Penalties | None = None,
) -> Objective:
    r"""The concrete autoencoder: :math:`x' = D(Mx)`, M selects k of the m features.

    The encoder is a :class:`aebook.concrete.ConcreteSelector`, and the decoder imputes all features
    from those selected (Balın et al. 2019). Give :func:`aebook.fit` the temperature's schedule,
    ``anneal=aebook.training.annealing()``: without it the temperature stays where it is, at 10,
    where nothing is selected.

    Parameters
    ----------
    widths
        From message to code: the first is m, the last k, and those in between are the decoder's
        hidden layers, ``(784, 75, 50)``. The selector itself has none. Or ``(selector, decoder)``.
    temperature
        τ of the selector that is made, until a schedule sets it.
    activation
        Of the decoder's hidden layers. For the authors' leaky ReLU and dropout give
        ``lambda: nn.Sequential(nn.LeakyReLU(0.2), nn.Dropout(0.1))``.
    output, bias, corruption, distance, penalties
        As in :func:`plain`.

    Examples
    --------
    >>> from aebook import variants
    >>> model = variants.concrete((6, 4, 2)).model.eval()
    >>> x = torch.rand(5, 6)
    >>> torch.equal(model.encode(x), x[:, model.encoder.selected])
    True
    """
    if _given(widths):
        selector, decoder = widths
        taken("the encoder", selector, ConcreteSelector)
    else:
        decoder = mlp(tuple(widths)[::-1], activation=activation, output=output, bias=bias)
        selector = ConcreteSelector(widths[0], widths[-1], temperature)
    return Objective(Autoencoder(selector, decoder), corruption, distance, penalties)


@_variant
def denoising(
    widths: Networks,
    corruption: Corruption | None,
    *,
    activation: Activation | None = nn.ReLU,
    code: Activation | None = None,
    output: Activation | None = nn.Sigmoid,
    tied: bool = False,
    bias: bool = True,
    distance: Distance = squared_error,
    penalties: Penalties | None = None,
) -> Objective:
    r"""The denoising autoencoder: :math:`\min E_x E_T[d(x, D(E(T(x))))]` (Vincent et al. 2008).

    Parameters
    ----------
    widths
        As in :func:`plain`.
    corruption
        T, for instance ``aebook.corruptions.masking(0.3)``, or any map of a batch to one of the
        same shape.
    activation, code, output, tied, bias, distance, penalties
        As in :func:`plain`.

    Examples
    --------
    >>> from aebook import corruptions, variants
    >>> objective = variants.denoising((784, 32), corruptions.masking(0.3))
    >>> seen = objective.corrupted(torch.ones(10, 784))
    >>> round(seen.mean().item(), 1)  # three in ten are hidden
    0.7
    """
    model = Autoencoder(*_networks(widths, activation, code, output, tied, bias))
    return Objective(model, corruption, distance, penalties)


@_variant
def variational(
    widths: Networks,
    *,
    beta: float = 1.0,
    activation: Activation | None = nn.ReLU,
    output: Activation | None = nn.Sigmoid,
    bias: bool = True,
    corruption: Corruption | None = None,
    distance: Distance = bernoulli,
    penalties: Penalties | None = None,
) -> Objective:
    r"""The variational autoencoder: :math:`E_q[-\log p(x|z)] + β D_{KL}(q(z|x) \| N(0, I))`.

    With β = 1 the loss is the negative evidence lower bound, in nats (Kingma & Welling 2014).

    Parameters
    ----------
    widths
        Units from message to code; the encoder's last layer has twice as many as the code, for
        means and log-variances. An encoder of your own gives these 2p numbers, its decoder takes p.
    beta
        β, 0 or more (Higgins et al. 2017). The weight of the penalty ``"kl"``, which a schedule
        may set: ``fit(..., anneal=lambda o, t: o.set_weight("kl", min(1, 4 * t)))``.
    activation, output, bias, corruption, penalties
        As in :func:`plain`.
    distance
        A negative log-likelihood: :func:`aebook.distances.bernoulli`, or a
        :class:`aebook.distances.Gaussian` with an ``output`` that suits the data.

    Examples
    --------
    >>> from aebook import variants
    >>> objective = variants.variational((784, 256, 8))
    >>> loss = objective(torch.zeros(5, 784))
    >>> round(loss.terms["kl"].item(), 6)  # at 0 the posterior is the prior
    0.0
    >>> round(loss.terms["distance"].item() / 784, 1)  # near log 2 a pixel before any training
    0.7
    """
    if _given(widths):
        encoder, decoder = widths
    else:
        encoder = mlp((*widths[:-1], 2 * widths[-1]), activation=activation, bias=bias)
        decoder = mlp(tuple(widths)[::-1], activation=activation, output=output, bias=bias)
    model = Autoencoder(encoder, decoder, Gaussian())
    return Objective(model, corruption, distance, combined({"kl": (beta, kl_to_prior)}, penalties))


@_variant
def binary(
    widths: Networks,
    *,
    kind: Literal["straight_through", "bernoulli", "noise"] = "straight_through",
    sigma: float = 1.0,
    centred: bool = True,
    activation: Activation | None = nn.ReLU,
    output: Activation | None = nn.Sigmoid,
    tied: bool = False,
    bias: bool = True,
    corruption: Corruption | None = None,
    distance: Distance = squared_error,
    penalties: Penalties | None = None,
) -> Objective:
    r"""The binary autoencoder of semantic hashing: :math:`x' = D(1[E(x) > 0])`.

    Messages with like contents get codes that differ in few bits, so that a code can be used as an
    address (Salakhutdinov & Hinton 2009): see :mod:`aebook.applications.retrieval`.

    Parameters
    ----------
    widths
        As in :func:`plain`; ``(784, 256, 32)`` for 32 bits.
    kind, sigma
        What stands for the step in training, see :class:`aebook.bottlenecks.Binary`.
    centred
        Whether the encoder ends in :class:`aebook.networks.Standardised`. Each bit then divides the
        messages about in half, and σ has a scale that the encoder cannot grow away from. Without,
        as in 2009, some bits come out the same for all messages.
    activation, output, tied, bias, corruption, penalties
        As in :func:`plain`.
    distance
        As in :func:`plain`. For words, :func:`aebook.distances.categorical` with
        ``output=None``, and their shares as the target.

    Examples
    --------
    >>> from aebook import variants
    >>> model = variants.binary((20, 16, 8)).model.eval()
    >>> codes = model.encode(torch.randn(50, 20))
    >>> codes.shape, codes.unique()
    (torch.Size([50, 8]), tensor([0., 1.]))
    """
    scale = partial(Standardised, widths[-1]) if centred and not _given(widths) else None
    encoder, decoder = _networks(widths, activation, scale, output, tied, bias)
    model = Autoencoder(encoder, decoder, Binary(kind, sigma))
    return Objective(model, corruption, distance, penalties)


@_variant
def contractive(
    widths: Networks,
    weight: float,
    *,
    kind: Literal["exact", "hutchinson"] = "exact",
    activation: Activation | None = nn.Sigmoid,
    code: Activation | None = nn.Sigmoid,
    output: Activation | None = nn.Sigmoid,
    tied: bool = True,
    bias: bool = True,
    corruption: Corruption | None = None,
    distance: Distance = squared_error,
    penalties: Penalties | None = None,
) -> Objective:
    r"""The contractive autoencoder: :math:`L + λ\, E_x \|J_E(x)\|_F^2` (Rifai et al. 2011).

    Weights are tied, as in the paper. Untied, a small code and a decoder that scales it up again
    escape the penalty.

    Parameters
    ----------
    widths
        As in :func:`plain`, ``(784, 256)``.
    weight
        λ, 0 or more.
    kind
        ``"exact"``, or ``"hutchinson"`` for a cheaper estimate: see
        :func:`aebook.jacobian.contractive`.
    activation, code, output, tied, bias, corruption, distance, penalties
        As in :func:`plain`.

    Examples
    --------
    >>> from aebook import variants
    >>> objective = variants.contractive((20, 10), 1.0)
    >>> weight = objective.model.encoder[0].map.weight
    >>> norm = objective.per_sample(torch.zeros(1, 20))["contractive"]
    >>> torch.allclose(norm, weight.square().sum() / 16)  # at 0 the sigmoid's slope is 1/4
    True
    """
    model = Autoencoder(*_networks(widths, activation, code, output, tied, bias))
    own = {"contractive": (weight, contractive_penalty(kind))}
    return Objective(model, corruption, distance, combined(own, penalties))


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
