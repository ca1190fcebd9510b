r"""Bottlenecks b: what a code may be. Each maps the encoder's output to the code."""

from __future__ import annotations

import functools
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from aebook._internal.checks import number, whole
from aebook._internal.contract import checked

__all__ = ["Binary", "Gaussian", "Posterior", "TopK"]


class TopK(nn.Module):
    r"""Keep the k largest activities of each sample and set the others to zero.

    The gradient passes only through the units that were kept (Makhzani & Frey 2013).

    Parameters
    ----------
    k
        Units to keep in training, 1 or more and at most the width of the code. A buffer, so that a
        schedule can lower it (:meth:`set_k`) and a checkpoint knows it.
    by
        ``"value"`` keeps the highest activities, as the paper does; ``"magnitude"`` those that are
        largest in absolute value.
    alpha
        In evaluation :math:`αk` units are kept, rounded, at most all.

    Examples
    --------
    >>> from aebook.bottlenecks import TopK
    >>> TopK(2)(torch.tensor([[1.0, 3.0, -4.0]]))
    tensor([[1., 3., 0.]])
    >>> TopK(2, by="magnitude")(torch.tensor([[1.0, 3.0, -4.0]]))
    tensor([[ 0.,  3., -4.]])
    """

    k: Tensor
    #: See :func:`aebook.core.settings`.
    settings = ("k",)

    @checked
    def __init__(
        self, k: int, by: Literal["value", "magnitude"] = "value", alpha: float = 1.0
    ) -> None:
        super().__init__()
        self.by, self.alpha = by, number("alpha", alpha)
        self.register_buffer("k", torch.tensor(whole("k", k)))
        self._read: tuple[Tensor, int, int] | None = None
        _leave_to_python()

    def set_k(self, k: int) -> None:
        """Set k, for instance from a schedule: ``fit(..., anneal=lambda o, t: ...)``.

        Makhzani & Frey 2013 let k fall along a straight line in the first half of the training, so
        that units which are never among the best few are trained before they are left behind.
        """
        self.k.fill_(whole("k", k))

    def now(self) -> int:
        """The number k, read again only if it was set: on a GPU reading waits for the device."""
        if self.k.is_cpu or self.k.is_inference():
            return int(self.k)
        if self._read is None or self._read[0] is not self.k or self._read[1] != self.k._version:
            self._read = self.k, self.k._version, int(self.k)
        return self._read[2]

    def __getstate__(self) -> dict[str, Any]:
        # a copy has a k of its own
        return {**self.__dict__, "_read": None}

    def forward(self, h: Tensor) -> Tensor:
        """The code, (B, n), with k entries of each row of ``h`` (B, n) and zeros."""
        return self.keep(h, self.now())

    def keep(self, h: Tensor, k: int) -> Tensor:
        """The same for a k that was read before."""
        if not self.training:
            k = self.in_use(k, h.shape[-1])
        if k > h.shape[-1]:
            raise ValueError(f"got k={k} for a code of {h.shape[-1]} units, expected at most that")
        size = h.abs() if self.by == "magnitude" else h
        kept = size.topk(k, dim=-1, sorted=False).indices
        return torch.zeros_like(h).scatter(-1, kept, h.gather(-1, kept))

    def in_use(self, k: int, n: int) -> int:
        """How many of n units are kept in evaluation, α k, rounded."""
        return max(1, min(n, round(self.alpha * k)))

    def arguments(self) -> dict[str, Any]:
        """What makes another like it, for files: see :mod:`aebook.storage.architecture`."""
        return {"k": int(self.k), "by": self.by, "alpha": self.alpha}

    def extra_repr(self) -> str:
        """What ``print`` shows between the brackets."""
        return f"k={int(self.k)}, by={self.by!r}, alpha={self.alpha}"


@functools.cache
def _leave_to_python() -> None:
    # which units win is not known before, so a compiler has nothing to fuse there; said when the
    # first one is made and not on import, since PyTorch then loads its compiler, for a second
    TopK.forward = cast(Any, torch.compiler.disable(TopK.forward))


class Posterior(NamedTuple):
    """A Gaussian with independent entries, one for each sample: q(z|x)."""

    mean: Tensor
    """Means, (B, p)."""
    log_variance: Tensor
    r"""Logarithms of the variances, :math:`\log σ^2`, (B, p)."""

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        r"""Draw :math:`z = μ + σ ε` with :math:`ε \sim N(0, I)`; gradients reach μ and σ.

        Parameters
        ----------
        generator
            Where ε comes from; None: PyTorch's global generator.
        """
        noise = torch.empty_like(self.mean).normal_(generator=generator)
        return self.mean + (self.log_variance / 2).exp() * noise

    def kl(self) -> Tensor:
        r"""Divergence from the prior :math:`D_{KL}(q(z|x) \,\|\, N(0, I))` in nats, (B,)."""
        terms = self.mean.square() + self.log_variance.exp() - self.log_variance - 1
        return terms.flatten(1).sum(1) / 2

    def log_ratio(self, z: Tensor) -> Tensor:
        r"""Prior against posterior, :math:`\log p(z) - \log q(z|x)` in nats.

        Codes are (..., B, p), any number for each sample; the result is (..., B).
        """
        standardised = (z - self.mean).square() * (-self.log_variance).exp()
        terms = standardised + self.log_variance - z.square()
        return terms.flatten(1 - self.mean.dim()).sum(-1) / 2


class Gaussian(nn.Module):
    r"""A code drawn from :math:`q(z|x) = N(μ(x), \mathrm{diag}\, σ^2(x))` (Kingma & Welling 2014).

    The encoder gives 2p numbers a sample: the p means, then the p logarithms of the variances. In
    training the code is a sample, in evaluation it is the mean, so that encoding is deterministic.

    Examples
    --------
    >>> from aebook.bottlenecks import Gaussian
    >>> bottleneck, h = Gaussian(), torch.tensor([[1.0, 2.0, 0.0, 0.0]])  # two means, two log σ²
    >>> bottleneck.posterior(h).kl()
    tensor([2.5000])
    >>> bottleneck.eval()(h)  # in training a sample, afterwards the mean
    tensor([[1., 2.]])
    """

    def arguments(self) -> dict[str, Any]:
        """What makes another like it, for files: see :mod:`aebook.storage.architecture`."""
        return {}

    def posterior(self, h: Tensor) -> Posterior:
        """Split the encoder's output (B, 2p) into means and log-variances."""
        if h.shape[-1] % 2:
            raise ValueError(
                f"got {h.shape[-1]} numbers a sample from the encoder, expected an even count: "
                "means and log-variances"
            )
        return Posterior(*h.chunk(2, dim=-1))

    def forward(self, h: Tensor) -> Tensor:
        """The code, (B, p), from the encoder's output (B, 2p)."""
        posterior = self.posterior(h)
        return posterior.sample() if self.training else posterior.mean


class Binary(nn.Module):
    r"""A code of zeros and ones, :math:`z_j = 1[h_j > 0]`, for semantic hashing.

    A step has no slope, so training puts something else in its place. With the sigmoid
    :math:`s(h) = 1 / (1 + e^{-h})`:

    .. math::

        \mathrm{straight\_through}:\; z = 1[h > 0], \qquad
        \mathrm{bernoulli}:\; z \sim \mathrm{Bernoulli}(s(h)), \qquad
        \mathrm{noise}:\; z = s(h + σε),\; ε \sim N(0, 1)

    The first two pass zeros and ones to the decoder and are treated as :math:`s(h)` on the way back
    (Bengio, Léonard & Courville 2013). Noise drowns what is not far from zero, and so drives
    :math:`s(h)` to its ends (Salakhutdinov & Hinton 2009, with a noise that stays the same for
    each message; here it is drawn anew). In evaluation all three are the step.

    Parameters
    ----------
    kind
        What stands for the step in training.
    sigma
        σ of the noise, 0 or more, in the unit of h; of no consequence for the other kinds.

    Examples
    --------
    >>> from aebook.bottlenecks import Binary
    >>> h = torch.tensor([[-3.0, 0.0, 2.0]], requires_grad=True)
    >>> z = Binary()(h)
    >>> z.sum().backward()
    >>> z.tolist(), h.grad[0, 1].item()  # the gradient is that of the sigmoid
    ([[0.0, 0.0, 1.0]], 0.25)
    """

    @checked
    def __init__(
        self,
        kind: Literal["straight_through", "bernoulli", "noise"] = "straight_through",
        sigma: float = 1.0,
    ) -> None:
        super().__init__()
        self.kind, self.sigma = kind, number("sigma", sigma, least=0)

    def forward(self, h: Tensor) -> Tensor:
        """The code, (B, p), from the encoder's output (B, p)."""
        if not self.training:
            return (h > 0).to(h.dtype)
        if self.kind == "noise":
            return (h + self.sigma * torch.randn_like(h)).sigmoid()
        mean = h.sigmoid()
        if self.kind == "bernoulli":
            # the draws of mean.bernoulli(), which compiled code makes in float32, whatever the type
            wide = mean if mean.dtype == torch.float64 else mean.float()
            bits = (torch.rand_like(wide) < wide).to(h.dtype)
        else:
            bits = (h > 0).to(h.dtype)
        # the value is that of the bits, to the bit; the gradient is that of the mean
        return bits + (mean - mean.detach())

    def arguments(self) -> dict[str, Any]:
        """What makes another like it, for files: see :mod:`aebook.storage.architecture`."""
        return {"kind": self.kind, "sigma": self.sigma}

    def extra_repr(self) -> str:
        """What ``print`` shows between the brackets."""
        return f"kind={self.kind!r}" + (f", sigma={self.sigma}" if self.kind == "noise" else "")
