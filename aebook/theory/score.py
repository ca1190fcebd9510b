r"""What the best denoiser is, in closed form, and the score of the data that it knows.

A message x is seen through noise, :math:`\tilde x = x + σε` with :math:`ε \sim N(0, I)`. Among all
functions r, :math:`E\|r(\tilde x) - x\|^2` is least for the posterior mean
:math:`r^*(\tilde x) = E[x | \tilde x]`, and it points up the density :math:`p_σ` of the noisy
messages, exactly and for every σ (Tweedie's formula, Efron 2011; Vincent 2011):

.. math::

    \frac{r^*(\tilde x) - \tilde x}{σ^2} = \nabla \log p_σ(\tilde x)

:class:`Mixture` computes both sides for a mixture of Gaussians, of which a finite data set is a
limit. :func:`linear_denoiser` is the best r of the form Wx + b. Everything here is computed in
float64.
"""

from __future__ import annotations

import math
from itertools import chain
from typing import Any, NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from aebook._internal.checks import array, number, rows, whole
from aebook._internal.contract import checked
from aebook._internal.reading import as_tensor
from aebook.core import Autoencoder
from aebook.data import Data, Form, blocks, like
from aebook.inference import in_pieces
from aebook.theory.linear import affine, principal_components

__all__ = ["LinearDenoiser", "Mixture", "linear_denoiser", "linear_denoising_loss", "score"]


@checked
def score(model: Autoencoder, x: Data, sigma: float) -> Any:
    r"""Score of the noisy data that a denoiser estimates, :math:`(r(x) - x) / σ^2`.

    For a model trained with ``corruptions.gaussian(sigma)`` and the squared error it estimates
    :math:`\nabla \log p_σ(x)`, where :math:`p_σ` is the density of the *noisy* messages (Vincent
    2011; Alain & Bengio 2014). The output of the decoder must not be confined to [0, 1].

    Parameters
    ----------
    model
        The denoiser r, in evaluation mode.
    x
        Where to estimate it, (B, ...), in the unit of the messages, whatever :func:`aebook.fit`
        takes.
    sigma
        Standard deviation of the noise in training, above 0.

    Returns
    -------
    Tensor, ndarray or table
        (B, ...), one over the unit of the messages, of the kind that these came in.

    Examples
    --------
    >>> from aebook.theory.score import score
    >>> halved = torch.nn.Linear(1, 1, bias=False)  # the best denoiser of N(0, 1) for σ = 1
    >>> _ = torch.nn.init.constant_(halved.weight, 0.5)
    >>> model = aebook.Autoencoder(torch.nn.Identity(), halved).eval()
    >>> score(model, torch.tensor([[2.0], [-4.0]]), sigma=1.0).flatten()  # that of N(0, 2), -x/2
    tensor([-1.,  2.])
    """
    number("sigma", sigma)

    def found(x: Tensor) -> Tensor:
        return (model.reconstruct(x) - x) / sigma**2

    if isinstance(x, Tensor):
        form = Form.of(model)
        form.take(x, 2)
        # all at once, and differentiable in x
        return found(form.move(x)).to(x.device)
    return like(x, in_pieces(model, x, 2048, found), "x")


class Mixture:
    r"""The density :math:`p(x) = \sum_k w_k N(x; μ_k, s_k^2 I)`, seen through noise.

    Noise adds variances: :math:`p_σ(x) = \sum_k w_k N(x; μ_k, (s_k^2 + σ^2) I)`. With s = 0 and the
    messages of a data set as means it is the empirical distribution, and :meth:`denoise` is the
    best denoiser *of these messages*: a mean of them, weighted by how near they are.

    Parameters
    ----------
    means
        :math:`μ_k`, (K, m), finite.
    scale
        :math:`s_k`, one number or (K,), 0 or more, in the unit of the message.
    weights
        :math:`w_k`, (K,), 0 or more; they are scaled to sum to 1. The default gives all the same.

    Examples
    --------
    >>> from aebook.theory.score import Mixture
    >>> normal, x = Mixture([[0.0]], scale=1.0), torch.tensor([[2.0]])
    >>> normal.score(x), normal.denoise(x, sigma=1.0)  # -x, and half way to the mean
    (tensor([[-2.]]), tensor([[1.]]))
    """

    @checked
    def __init__(
        self, means: ArrayLike, scale: ArrayLike = 0.0, weights: ArrayLike | None = None
    ) -> None:
        self.means = as_tensor(means).double()
        array("means", self.means, "(K, m)")
        count = len(self.means)
        scale = as_tensor(scale).double()
        advice = "one number, or one a mean"
        array("scale", scale, f"({count},)" if scale.dim() else "()", least=0, advice=advice)
        self.scale = scale.expand(count)
        weights = torch.ones(count) if weights is None else as_tensor(weights)
        self.weights = weights.double() / weights.sum()
        if self.weights.shape != (count,) or not (self.weights >= 0).all():
            raise ValueError(
                f"got weights of shape {tuple(weights.shape)} for {count} means, expected one a "
                "mean, 0 or more and not all 0"
            )

    @checked
    def log_density(self, x: Tensor, sigma: float = 0.0) -> Tensor:
        r"""Logarithm of the density of the noisy messages, :math:`\log p_σ(x)`, in nats: (B,)."""
        return self._joint(x, sigma).logsumexp(1).to(x.dtype)

    @checked
    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        r"""The best denoiser, :math:`\sum_k γ_k (σ^2μ_k + s_k^2\tilde x) / (σ^2+s_k^2)`.

        It is the posterior mean :math:`E[x | \tilde x]`, and the :math:`γ_k` are the probabilities
        of the components given what was seen. The result is (B, m), in the dtype of ``x``.

        Parameters
        ----------
        x
            Noisy messages, (B, m).
        sigma
            Standard deviation of the noise, above 0.
        """
        number("sigma", sigma)
        share = sigma**2 / (sigma**2 + self.scale**2)
        posterior = self._joint(x, sigma).softmax(1)
        kept = posterior @ (1 - share)
        return (posterior @ (share[:, None] * self.means) + kept[:, None] * x).to(x.dtype)

    @checked
    def score(self, x: Tensor, sigma: float = 0.0) -> Tensor:
        r"""The score :math:`\nabla \log p_σ(x) = \sum_k γ_k (μ_k - x) / (s_k^2 + σ^2)`, (B, m)."""
        posterior = self._joint(x, sigma).softmax(1) / (self.scale**2 + sigma**2)
        # about a centre, since far from the origin two large numbers would cancel
        centre = self.means.mean(0)
        away = posterior.sum(1, keepdim=True) * (x - centre)
        return (posterior @ (self.means - centre) - away).to(x.dtype)

    @checked
    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Messages drawn from p, (count, m), in float64.

        Parameters
        ----------
        count
            How many.
        generator
            Where the randomness comes from; the default is PyTorch's own.
        """
        chosen = torch.multinomial(
            self.weights, whole("count", count), replacement=True, generator=generator
        )
        size = count, self.means.shape[1]
        noise = torch.randn(size, dtype=torch.float64, generator=generator)
        return self.means[chosen] + self.scale[chosen, None] * noise

    def _joint(self, x: Tensor, sigma: float) -> Tensor:
        r"""Logarithms of :math:`w_k N(x; μ_k, (s_k^2 + σ^2) I)`, (B, K)."""
        width = self.means.shape[1]
        _check_messages(x, width)
        sigma = number("sigma", sigma, least=0, most=1e150)
        variance = self.scale**2 + sigma**2
        if not (variance > 0).all():
            raise ValueError(
                f"got sigma={sigma} and a smallest scale of {float(self.scale.min())}, expected "
                "one of them above 0: points have no density"
            )
        # from differences: a product of matrices would be three times as fast, and in the squares
        # that it needs large numbers cancel
        apart = torch.cdist(x.double(), self.means, compute_mode="donot_use_mm_for_euclid_dist")
        constant = self.weights.log() - width / 2 * (2 * math.pi * variance).log()
        return constant - apart.square() / (2 * variance)


class LinearDenoiser(NamedTuple):
    r"""An affine reconstruction :math:`r(x) = Wx + b` of messages with m dimensions."""

    matrix: Tensor
    """W, (m, m)."""
    offset: Tensor
    """The vector b, (m,)."""

    def reconstruct(self, x: Tensor) -> Tensor:
        """Reconstructions Wx + b of messages (B, m), in the dtype of ``x``."""
        _check_messages(x, len(self.matrix))
        return x @ self.matrix.to(x).T + self.offset.to(x)


@checked
def linear_denoiser(x: Data, sigma: float, p: int | None = None) -> LinearDenoiser:
    r"""The best linear denoiser, :math:`W = Σ(Σ + σ^2 I)^{-1}` and :math:`b = (I - W)μ`.

    It has the data's principal components :math:`u_i` as eigenvectors and shrinks each by
    :math:`v_i / (v_i + σ^2)`, where :math:`v_i` is its variance: a direction with little signal in
    its noise is hardly passed on. With a code of p units the best is the same sum, cut after the
    p leading components. For σ = 0 that is PCA.

    Parameters
    ----------
    x
        Clean messages, (n, m), whatever :func:`aebook.fit` takes.
    sigma
        Standard deviation of the noise, 0 or more, in the unit of the messages.
    p
        Code units; the default has no bottleneck.

    Examples
    --------
    >>> from aebook.theory.score import linear_denoiser
    >>> x = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])  # variances 2 and 1/2
    >>> denoiser = linear_denoiser(x, sigma=0.5**0.5)
    >>> denoiser.reconstruct(torch.tensor([[5.0, 5.0]])).round(decimals=4).tolist()  # 4/5 and 1/2
    [[4.0, 2.5]]
    """
    number("sigma", sigma, least=0)
    mean, components, variances = principal_components(x, p)
    # a direction in which the data do not vary is not passed on, noise or not
    shrink = torch.where(variances > 0, variances / (variances + sigma**2), 0)
    matrix = (components * shrink) @ components.T
    return LinearDenoiser(matrix, mean - matrix @ mean)


@checked
def linear_denoising_loss(model: Autoencoder, x: Data, sigma: float) -> float:
    r"""Expected loss of a linear denoiser, :math:`E\|x - Wx - b\|^2 + σ^2\|W\|_F^2`.

    This is :math:`E_x E_ε\|x - r(x + σε)\|^2` for r(x) = Wx + b, exactly; no noise is drawn. The
    second term is a penalty on the size of the reconstruction's Jacobian, for a linear r just W.

    Parameters
    ----------
    model
        An autoencoder of linear layers.
    x
        Clean messages, (n, m), whatever :func:`aebook.fit` takes.
    sigma
        Standard deviation of the noise, 0 or more.

    Raises
    ------
    ValueError
        If the model is not affine.

    Examples
    --------
    >>> from aebook.theory.score import linear_denoising_loss
    >>> identity = aebook.Autoencoder(torch.nn.Identity(), torch.nn.Identity())
    >>> round(linear_denoising_loss(identity, torch.rand(10, 3), sigma=0.5), 6)  # 3 σ²
    0.75
    """
    number("sigma", sigma, least=0)
    parts = blocks(x)
    first = next(parts)
    matrix, offset = affine(model, first.shape[1])
    total, n = 0.0, 0
    for clean in chain([first], parts):
        residual = clean @ (matrix.T - torch.eye(len(matrix))) + offset
        total, n = total + residual.square().sum(1).sum(), n + len(clean)
    return float(total / n + sigma**2 * matrix.square().sum())


def _check_messages(x: Tensor, width: int) -> None:
    rows(x, width)
    array("messages", x, empty=True)
