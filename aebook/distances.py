r"""How far a reconstruction is from its target: one value a sample, summed over the message.

Every distance takes ``(reconstruction, target)`` and returns a tensor of shape (B,). The mean over
the samples is taken once, by :class:`aebook.Objective`. Apart from the squared error, each is a
negative log-likelihood :math:`-\log p(x | z)` in nats with its constants, so that likelihoods can
be compared between models.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aebook._internal.checks import INTEGERS, number, tensors, whole
from aebook._internal.contract import checked
from aebook._internal.verdicts import is_deferred, judge
from aebook.processes import average

__all__ = ["DiscretisedLogistic", "Gaussian", "bernoulli", "categorical", "squared_error"]


def squared_error(reconstruction: Tensor, target: Tensor) -> Tensor:
    r"""Squared Euclidean distance :math:`\|x' - x\|^2`, summed over the message.

    Parameters
    ----------
    reconstruction, target
        Floating point, the same shape (B, ...). The result has the square of their unit.

    Returns
    -------
    Tensor
        (B,), at least 0.

    Examples
    --------
    >>> from aebook.distances import squared_error
    >>> squared_error(torch.tensor([[1.0, 2.0]]), torch.zeros(1, 2))
    tensor([5.])
    """
    _check_shapes(reconstruction, target)
    # one pass, also backward, where (x' - x)² takes three and as many temporary arrays
    return _sum(F.mse_loss(reconstruction, target, reduction="none"))


def bernoulli(reconstruction: Tensor, target: Tensor) -> Tensor:
    r"""Negative log-likelihood :math:`-\sum_j x_j \log x'_j + (1 - x_j) \log(1 - x'_j)` in nats.

    Parameters
    ----------
    reconstruction
        The means :math:`x'` of :math:`p(x | z)`, in [0, 1]: the decoder ends in a sigmoid. Each
        logarithm is cut off at -100, so that a confident mistake stays finite.
    target
        The same shape (B, ...), in [0, 1]. Values strictly inside give the cross-entropy, which
        is a likelihood only for binary targets.

    Returns
    -------
    Tensor
        (B,), at least 0.

    Examples
    --------
    >>> from aebook.distances import bernoulli
    >>> bernoulli(torch.tensor([[0.5, 0.5]]), torch.tensor([[0.0, 1.0]]))  # 2 log 2
    tensor([1.3863])
    """
    _check_shapes(reconstruction, target)
    _within_unit_interval("target", target)
    if not _within_unit_interval("reconstruction", reconstruction):
        # the weights have exploded, and the loss shall say so to whoever trains them
        return _sum(reconstruction * math.nan)
    # autocast refuses this loss in half precision, for good reason
    with torch.autocast(target.device.type, enabled=False):
        mean = reconstruction.to(target.dtype)
        if not is_deferred():
            return _sum(F.binary_cross_entropy(mean, target, reduction="none"))
        # there is no verdict yet, and a GPU would not survive what is outside
        there = (mean >= 0) & (mean <= 1)
        mean, target = mean.where(there, 0.5), target.clamp(0, 1)
        loss = F.binary_cross_entropy(mean, target, reduction="none")
        return _sum(loss.where(there, math.nan))


class Gaussian(nn.Module):
    r"""Negative log-likelihood :math:`\sum_j \frac{(x_j-x'_j)^2}{2σ^2} + \frac12\log 2πσ^2`, nats.

    One σ is shared by all dimensions of the message, whose unit it has.

    Parameters
    ----------
    sigma
        The standard deviation σ > 0, or where it starts.
    kind
        ``"fixed"``: σ stays. ``"learned"``: log σ is a parameter. ``"optimal"``: in training, σ² is
        the mean squared error of the batch, which minimises the loss in σ; the running mean of
        these is used in evaluation (Rybkin, Daniilidis & Levine 2021).

    Examples
    --------
    >>> from aebook.distances import Gaussian
    >>> Gaussian(sigma=1.0)(torch.zeros(1, 2), torch.zeros(1, 2))  # log 2π
    tensor([1.8379])
    >>> Gaussian(sigma=2.0)(torch.zeros(1, 2), torch.zeros(1, 2))  # and 2 log 2
    tensor([3.2242])
    """

    @checked
    def __init__(
        self, sigma: float = 1.0, kind: Literal["fixed", "learned", "optimal"] = "fixed"
    ) -> None:
        super().__init__()
        sigma = number("sigma", sigma)
        self.kind = kind
        log_sigma = torch.tensor(math.log(sigma))
        if kind == "learned":
            self.log_sigma = nn.Parameter(log_sigma)
        else:
            self.register_buffer("log_sigma", log_sigma)

    @property
    def settings(self) -> tuple[str, ...]:
        """A σ that is fixed is set. See :func:`aebook.core.settings`."""
        return ("log_sigma",) if self.kind == "fixed" else ()

    @property
    def sigma(self) -> Tensor:
        """The standard deviation σ, a scalar."""
        return self.log_sigma.exp()

    def forward(self, reconstruction: Tensor, target: Tensor) -> Tensor:
        """Return one value a sample, (B,); it can be negative, since it is a density's."""
        _check_shapes(reconstruction, target)
        squared = F.mse_loss(reconstruction, target, reduction="none")
        log_sigma = self.log_sigma
        if self.kind == "optimal" and self.training:
            # σ needs no gradient: the derivative in σ is zero at its optimum
            mean = average(squared.detach().mean(), len(squared))
            log_sigma = mean.clamp_min(1e-12).log() / 2
            variance = 0.9 * (2 * self.log_sigma).exp() + 0.1 * (2 * log_sigma).exp()
            # through a view: compiled code forgets what is written to a scalar of float64
            self.log_sigma.view(1).copy_(variance.log() / 2)
        return _sum(squared / (2 * (2 * log_sigma).exp()) + log_sigma + math.log(2 * math.pi) / 2)

    def arguments(self) -> dict[str, Any]:
        """What makes another like it, for files: see :mod:`aebook.storage.architecture`."""
        return {"sigma": self.sigma.item(), "kind": self.kind}

    def extra_repr(self) -> str:
        """What ``print`` shows between the brackets."""
        return f"kind={self.kind!r}"


class DiscretisedLogistic(nn.Module):
    r"""Negative log-likelihood of grey levels :math:`x_j = k/255`, a probability of each, in nats.

    A logistic distribution with a mean and a scale for each entry is cut into bins of width 1/255
    around the levels, of which the first and the last go on to infinity (Salimans et al. 2017):

    .. math::

        P(x_j) = F\Bigl(\frac{x_j + 1/510 - μ_j}{s_j}\Bigr)
               - F\Bigl(\frac{x_j - 1/510 - μ_j}{s_j}\Bigr),
        \qquad F(t) = \frac{1}{1 + e^{-t}} .

    The decoder gives twice as many numbers as the message has: means μ in the unit of the message,
    then log s, along the first axis after the batch, (B, 2m) or (B, 2C, H, W). It ends in no
    activation; log s is cut off at -7 and 7.

    Parameters
    ----------
    levels
        How many values from 0 to 1 there are, 2 or more; 256 for images of bytes.

    Examples
    --------
    >>> from aebook.distances import DiscretisedLogistic
    >>> distance = DiscretisedLogistic(levels=2)
    >>> given = torch.tensor([[0.5, 0.0]])  # the mean 1/2, and log s = 0
    >>> distance.probabilities(given), distance(given, torch.tensor([[1.0]]))
    (tensor([[[0.5000, 0.5000]]]), tensor([0.6931]))
    """

    @checked
    def __init__(self, levels: int = 256) -> None:
        super().__init__()
        self.levels = whole("levels", levels, least=2, most=2**16)

    def forward(self, reconstruction: Tensor, target: Tensor) -> Tensor:
        """Return one value a sample, (B,), at least 0, for targets (B, m) of such levels."""
        mean, log_scale = self._split(reconstruction.to(target.dtype))
        _check_shapes(mean, target)
        last = self.levels - 1
        if _readable(target):
            off = (target - (target * last).round() / last).abs().max() * last
            judge(torch.stack([off, *target.aminmax()]), self._refuse_levels)
        scale, half = log_scale.exp(), 0.5 / last
        above, below = (target + half - mean) / scale, (target - half - mean) / scale
        # F(a) - F(b) = F(a) F(-b) (1 - exp(b - a)), which loses no digits far from the mean
        log_p = (
            F.logsigmoid(above).masked_fill(target > 1 - half, 0)
            + F.logsigmoid(-below).masked_fill(target < half, 0)
            + (-torch.expm1(-2 * half / scale))
            .log()
            .masked_fill((target - 0.5).abs() > 0.5 - half, 0)
        )
        return -_sum(log_p)

    def probabilities(self, reconstruction: Tensor) -> Tensor:
        """The probability of each level at each entry, (B, ..., levels)."""
        tensors(reconstruction=reconstruction)
        mean, log_scale = self._split(reconstruction)
        scale, width = log_scale.exp().unsqueeze(-1), 1 / (self.levels - 1)
        edges = (torch.arange(1, self.levels, device=mean.device) - 0.5).to(mean.dtype) * width
        edges = (edges - mean.unsqueeze(-1)) / scale
        below, above = edges.sigmoid(), (-edges).sigmoid()
        inside = below[..., 1:] * above[..., :-1] * -torch.expm1(-width / scale)
        return torch.cat([below[..., :1], inside, above[..., -1:]], -1)

    def arguments(self) -> dict[str, Any]:
        """What makes another like it, for files: see :mod:`aebook.storage.architecture`."""
        return {"levels": self.levels}

    def extra_repr(self) -> str:
        """What ``print`` shows between the brackets."""
        return f"levels={self.levels}"

    def _refuse_levels(self, seen: list[float]) -> None:
        off, low, high = seen
        if not (off < 1e-3 and low >= 0 and high <= 1):
            last = self.levels - 1
            raise ValueError(
                f"got a target that is not made of the {self.levels} levels 0, 1/{last}, ..., "
                f"1: for images of bytes use x.float() / 255, else round x to levels"
            )

    def _split(self, reconstruction: Tensor) -> tuple[Tensor, Tensor]:
        if reconstruction.dim() < 2 or reconstruction.shape[1] % 2:
            raise ValueError(
                f"got a reconstruction of shape {tuple(reconstruction.shape)}, expected "
                "(B, 2m, ...): means, and then logarithms of scales"
            )
        mean, log_scale = reconstruction.chunk(2, dim=1)
        return mean, log_scale.clamp(-7, 7)


def categorical(reconstruction: Tensor, target: Tensor, *, ignore: int | None = None) -> Tensor:
    r"""Negative log-likelihood :math:`-\sum_j \log \mathrm{softmax}(x'_j)_{x_j}` in nats.

    Parameters
    ----------
    reconstruction
        Logits, (B, ..., K) with the K classes on the last axis.
    target
        Class numbers from 0 to K - 1, an integer tensor (B, ...); or, floating point and of the
        logits' shape, probabilities that sum to 1 over the last axis, to a hundredth. Where they
        are all 0, as the shares of words in an empty text, nothing is added.
    ignore
        A class number of the target that does not count, such as the padding after the end of a
        text.

    Returns
    -------
    Tensor
        (B,), at least 0.

    Examples
    --------
    >>> from aebook.distances import categorical
    >>> logits, target = torch.zeros(1, 3, 4), torch.tensor([[1, 2, 0]])
    >>> categorical(logits, target), categorical(logits, target, ignore=0)  # 3 log 4 and 2 log 4
    (tensor([4.1589]), tensor([2.7726]))
    """
    tensors(reconstruction=reconstruction, target=target)
    if ignore is not None and not torch.compiler.is_compiling():
        ignore = whole("ignore", ignore, least=-(2**31))
    if not reconstruction.is_floating_point() or target.is_complex():
        raise ValueError(
            f"got logits of {reconstruction.dtype} and a target of {target.dtype}, expected "
            "floating point, and class numbers or probabilities"
        )
    log_p = reconstruction.log_softmax(-1)
    if target.is_floating_point():
        _check_shapes(reconstruction, target)
        _check_probabilities(target)
        if ignore is not None:
            raise ValueError(
                f"got ignore={ignore} with probabilities as the target, expected class numbers: "
                "make the probabilities 0 where nothing counts"
            )
        return -_sum(target * log_p)
    if target.shape != reconstruction.shape[:-1]:
        raise ValueError(
            f"got classes of shape {tuple(target.shape)} for logits of shape "
            f"{tuple(reconstruction.shape)}; expected {tuple(reconstruction.shape[:-1])}"
        )
    classes = reconstruction.shape[-1]
    if _readable(target):
        judge(torch.stack(target.aminmax()), partial(_refuse_classes, classes))
    where = target.long()
    if is_deferred():
        # no verdict yet, and a GPU would not survive an index that is not there
        where = where.clamp(0, classes - 1)
    chosen = log_p.gather(-1, where.unsqueeze(-1)).squeeze(-1)
    return -_sum(chosen if ignore is None else chosen.masked_fill(target == ignore, 0))


def _sum(values: Tensor) -> Tensor:
    """Sum over the message, keeping the batch: (B, ...) to (B,)."""
    return values.flatten(1).sum(1) if values.dim() > 1 else values


def _check_shapes(reconstruction: Tensor, target: Tensor) -> None:
    tensors(reconstruction=reconstruction, target=target)
    if reconstruction.shape != target.shape:
        advice = "in a pair (x, target) the second part is what the decoder should give"
        if not target.is_floating_point():
            advice += "; leave class labels out, or take distances.categorical"
        raise ValueError(
            f"got a target of shape {tuple(target.shape)} for a reconstruction of shape "
            f"{tuple(reconstruction.shape)}; expected the same shape: {advice}"
        )
    if not (target.is_floating_point() and reconstruction.is_floating_point()):
        raise ValueError(
            f"got a target of dtype {target.dtype} for a reconstruction of {reconstruction.dtype}, "
            f"expected floating point: {INTEGERS}"
        )


def _readable(values: Tensor) -> bool:
    """Whether there are values to check; reading one would break a compiled graph in two."""
    return values.numel() > 0 and not torch.compiler.is_compiling()


def _check_probabilities(target: Tensor) -> None:
    if not _readable(target):
        return
    sums = target.sum(-1)
    off = ((sums - 1).abs() * (sums != 0)).max()
    judge(torch.stack([off, target.amin(), *sums.aminmax()]), _refuse_probabilities)


def _refuse_probabilities(seen: list[float]) -> None:
    off, least, low, high = seen
    if not (off <= 0.01 and least >= 0):
        raise ValueError(
            f"got a target with values from {least:.4g} and sums over the last axis "
            f"from {low:.4g} to {high:.4g}; the categorical distance "
            "expects probabilities, which sum to 1: for counts use x / x.sum(-1, keepdim=True)"
        )


def _refuse_classes(classes: int, extremes: list[float]) -> None:
    low, high = map(int, extremes)
    if low < 0 or high >= classes:
        raise ValueError(
            f"got classes from {low} to {high}, expected 0 to {classes - 1}: "
            "the last axis of the logits has one entry a class"
        )


def _within_unit_interval(what: str, values: Tensor) -> bool:
    """Refuse values outside [0, 1]; whether a reconstruction is free of NaN, as far as is read."""
    if not _readable(values):
        return True
    seen = judge(torch.stack(values.detach().aminmax()), partial(_refuse_outside, what))
    return not any(map(math.isnan, seen))


def _refuse_outside(what: str, extremes: list[float]) -> None:
    low, high = extremes
    if what == "reconstruction" and math.isnan(low):
        return
    if not (low >= 0 and high <= 1):
        advice = "scale the data" if what == "target" else "end the decoder in a sigmoid"
        raise ValueError(
            f"got a {what} with values from {low:.4g} to {high:.4g} for the Bernoulli distance, "
            f"expected [0, 1]: {advice}"
        )
