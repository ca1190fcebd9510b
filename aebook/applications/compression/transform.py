r"""Lossy compression: a transform coder that is trained, and the model that prices its code.

The code is whole numbers, and a range coder writes them in as many bits as their probabilities
say. What is trained is the one equation, with that number of bits as its penalty:

.. math::

    L = E_x \Bigl[\, \|x - D_θ(z)\|^2 + λ \textstyle\sum_j -\log_2 p(z_j) \Bigr],
    \qquad z = b(E_φ(x))

:class:`Quantiser` is the bottleneck b and holds the prior p; :func:`rate` is the penalty;
:class:`Analysis` and :class:`Synthesis` are E and D, which start as the discrete cosine transform;
:func:`transform_coder` puts them together. A trained one becomes bytes in
:mod:`aebook.applications.compression.bitstream`.

>>> objective = transform_coder(step=25 / 255, photographs=x)
>>> history = aebook.fit(objective, x, epochs=20, lr=2e-3, batch_size=8)
>>> codec = bitstream.Codec(objective.model)
>>> data = codec.compress(image)
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from scipy.fft import dct
from torch import Tensor, nn
from torch.nn import functional as F

from aebook._internal.checks import number, whole, whole_numbers
from aebook._internal.contract import checked
from aebook.core import Autoencoder, Objective, Pass
from aebook.data import Form
from aebook.penalties import combined
from aebook.variants import Corruption, Penalties

__all__ = [
    "Analysis",
    "Quantiser",
    "Synthesis",
    "rate",
    "slope",
    "transform_coder",
]

#: Pixels along a side for which there is one column of the code.
STRIDE = 16

#: Logistics in the mixture that is the prior of one channel.
COMPONENTS = 3

# weights of the order of 1 everywhere, so that one learning rate suits all layers
_GAIN = 8


class Quantiser(nn.Module):
    r"""The bottleneck of a compressor: whole numbers, and what each of them costs.

    The code of h is one of its two whole neighbours, the cheaper in both currencies,

    .. math:: z = \operatorname{argmin}_{z \in \{⌊h⌋, ⌈h⌉\}} (z - h)^2 - κ \log_2 p(z),

    with κ = ln 2 / 6, the price of a bit that belongs to a step of 1 (:func:`slope`). That is
    rounding with a wider interval for what is more probable (Chou, Lookabaugh & Gray 1989).

    A choice has no slope. In training noise stands for it, :math:`h + u` with u uniform in
    :math:`[-½, ½]`: the error has the same variance, and the density of the sum is, at whole
    numbers, the probability of rounding to them (Ballé, Laparra & Simoncelli 2017).

    Each channel has its own prior, a mixture of logistic distributions with the cumulative
    distribution :math:`P`, and then :math:`p(z) = P(z + ½) - P(z - ½)`.

    Parameters
    ----------
    channels
        Channels of the code, C.
    kind
        What training sees. ``"mixed"``: the decoder gets z, as if z were h on the way back, and
        the noise is used for the price alone (Minnen & Singh 2020). ``"noise"``: both get the
        noise, as in 2017. While the encoder is frozen there is nothing to stand in for, and
        ``"mixed"`` prices z itself.

    Examples
    --------
    >>> from aebook.applications.compression import Quantiser
    >>> quantiser = Quantiser(channels=2).eval()
    >>> z = quantiser(5 * torch.randn(1, 2, 3, 3))
    >>> torch.equal(z, z.round()), quantiser.bits(z).shape
    (True, torch.Size([1]))
    """

    @checked
    def __init__(self, channels: int, kind: Literal["mixed", "noise"] = "mixed") -> None:
        super().__init__()
        shape = (whole("channels", channels), COMPONENTS)
        self.logits = nn.Parameter(torch.zeros(shape))
        self.means = nn.Parameter(torch.zeros(shape))
        self.log_scales = nn.Parameter(torch.arange(COMPONENTS).float().sub(1).repeat(channels, 1))
        self.kind = kind

    def arguments(self) -> dict[str, Any]:
        """What makes another like it, for files: see :mod:`aebook.storage.architecture`."""
        return {"channels": len(self.logits), "kind": self.kind}

    def forward(self, h: Tensor) -> Tensor:
        """The code, (B, C, H, W), from the encoder's output of the same shape."""
        if self.training and self.kind == "noise":
            return self.noisy(h)
        with torch.no_grad():
            two = torch.stack([h.floor(), h.ceil()])
            cost = (two - h).square() - slope(1) * self.probability(two).log2()
            z = torch.where(cost[0] <= cost[1], *two)
        # the value is that of z, to the bit; the gradient is that of h
        return z + (h - h.detach()) if self.training else z

    def noisy(self, h: Tensor) -> Tensor:
        """The sum h + u, with u uniform from -½ to ½."""
        return h + torch.rand_like(h) - 0.5

    def probability(self, z: Tensor) -> Tensor:
        """:math:`p(z_j)` of each entry of codes (..., C, H, W), at least 2⁻³⁰."""
        total = torch.zeros_like(z)
        for k, weight in enumerate(self.logits.softmax(1).unbind(1)):
            middle = (z - _column(self.means[:, k])).abs()
            scale = _column(self.log_scales[:, k]).neg().exp()
            # the distribution is symmetric, and below its middle nothing is lost to rounding
            inside = ((0.5 - middle) * scale).sigmoid() - ((-0.5 - middle) * scale).sigmoid()
            total = total + _column(weight) * inside
        return total.clamp_min(2**-30)

    def bits(self, z: Tensor) -> Tensor:
        r"""The length of a code, :math:`-\sum_j \log_2 p(z_j)`, (B,)."""
        return -self.probability(z).log2().flatten(1).sum(1)

    @torch.no_grad()
    def start(self, h: Tensor) -> None:
        """Set the priors to the means and deviations of encoder outputs (B, C, H, W)."""
        each = h.transpose(0, 1).flatten(1)
        if not each.numel() or not each.isfinite().all():
            raise ValueError(
                "got no codes, or NaN or infinite ones, expected finite ones: clean the "
                "photographs first"
            )
        self.means.copy_(each.mean(1, keepdim=True).expand_as(self.means))
        # a logistic of scale s has the deviation 1.8 s; the three lie around that of the data
        deviation = each.std(1, keepdim=True).clamp_min(0.05)
        around = torch.arange(COMPONENTS, device=h.device).sub(1.5)
        self.log_scales.copy_((deviation / 1.8).log() + around)


def _column(values: Tensor) -> Tensor:
    return values[:, None, None]


def rate(seen: Pass) -> Tensor:
    r"""The length of the code in bits, :math:`-\sum_j \log_2 p(z_j)`, (B,).

    It needs the prior of a :class:`Quantiser`, and an objective refuses it without one.

    Examples
    --------
    >>> from aebook.applications.compression import rate, transform_coder
    >>> model = transform_coder(step=0.1, hidden=8).model.eval()
    >>> objective = aebook.Objective(model, penalties={"rate": (1.0, rate)}).eval()
    >>> x = torch.rand(1, 3, 32, 32)
    >>> torch.allclose(objective.per_sample(x)["rate"], model.bottleneck.bits(model.encode(x)))
    True
    """
    quantiser, h = seen.model.bottleneck, seen.activations[-1]
    if quantiser.training and quantiser.kind == "mixed" and h.requires_grad:
        return quantiser.bits(quantiser.noisy(h))
    return quantiser.bits(seen.code)


def _check_quantiser(model: Autoencoder) -> None:
    if not isinstance(model.bottleneck, Quantiser):
        raise ValueError(
            f"got the penalty rate with the bottleneck {type(model.bottleneck).__name__}, expected "
            "compression.Quantiser: a code without probabilities has no length in bits"
        )


rate.check = _check_quantiser  # pyright: ignore[reportFunctionMemberAccess]


@checked
def slope(step: float) -> float:
    r"""The price of a bit that makes steps of size Δ the best: :math:`λ = Δ^2 \ln 2 / 6`.

    A uniform quantiser with small steps has the distortion :math:`Δ^2 / 12` and spends
    :math:`c - \log_2 Δ` bits a number. At the minimum of distortion + λ · bits the two derivatives
    in Δ balance, :math:`Δ / 6 = λ / (Δ \ln 2)`.

    Parameters
    ----------
    step
        Δ, in the unit of the message.

    Examples
    --------
    >>> from aebook.applications.compression import slope
    >>> round(slope(1.0), 4), round(slope(2.0) / slope(1.0), 4)  # (ln 2) / 6; twice the step
    (0.1155, 4.0)
    """
    return math.log(2) / 6 * number("step", step) ** 2


class _Transform(nn.Module):
    """What encoder and decoder have in common."""

    step: Tensor
    residual: nn.Sequential
    #: See :func:`aebook.core.settings`.
    settings = ("step",)

    def __init__(self, step: float, kept: tuple[int, int]) -> None:
        super().__init__()
        self.kept = tuple(kept)
        self.register_buffer("step", torch.tensor(number("step", step)))

    def arguments(self) -> dict[str, Any]:
        """What makes another like it, for files: see :mod:`aebook.storage.architecture`."""
        return {
            "step": float(self.step),
            "hidden": self.residual[0].out_channels,
            "kept": self.kept,
        }


class Analysis(_Transform):
    r"""The encoder: :math:`E(x) = W_2 (c + R(c)) / Δ` with :math:`c = W_1 * x`, as convolutions.

    :math:`W_1` takes blocks of 8 × 8 pixels in three colours and :math:`W_2` takes 2 × 2 of their
    coefficients, each channel by itself. At the start :math:`W_1` is the cosine transform of JPEG
    in orthonormal opponent colours, :math:`W_2` the Haar transform, and the residual network R,
    which sees the neighbouring blocks, gives zero.

    Parameters
    ----------
    step
        Δ, the step of the quantiser, in the unit of the image.
    hidden
        Channels inside R.
    kept
        Coefficients kept of the 64 of brightness and of each of the two differences of colour:
        the lowest frequencies, in squares.

    Examples
    --------
    >>> from aebook.applications.compression import Analysis
    >>> Analysis(hidden=8)(torch.rand(1, 3, 32, 48)).shape  # 4 (64 + 16 + 16) numbers a square
    torch.Size([1, 384, 2, 3])
    """

    @checked
    def __init__(
        self, step: float = 25 / 255, hidden: int = 64, kept: tuple[int, int] = (64, 16)
    ) -> None:
        super().__init__(step, kept)
        cosines, haar = _cosines(kept), _haar()
        n = len(cosines)
        self.blocks = nn.Conv2d(3, n, 8, stride=8)
        self.residual = _residual(n, hidden)
        self.levels = nn.Conv2d(n, 4 * n, 2, stride=2, groups=n, bias=False)
        with torch.no_grad():
            self.blocks.weight.copy_(_GAIN * cosines)
            self.blocks.get_parameter("bias").copy_(-cosines.sum((1, 2, 3)) / 2)
            self.levels.weight.copy_(haar.repeat(n, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """From images (B, 3, H, W), sides multiples of 16, to (B, C, H / 16, W / 16)."""
        if x.dim() != 4 or x.shape[1] != 3 or x.shape[2] % STRIDE or x.shape[3] % STRIDE:
            raise ValueError(
                f"got images of shape {tuple(x.shape)}, expected (B, 3, H, W) with H and W "
                f"multiples of {STRIDE}: cut or pad them; bitstream.Codec takes any size"
            )
        if not x.is_floating_point():
            raise ValueError(f"got images of type {x.dtype}, expected numbers from 0 to 1")
        c = self.blocks(x / _GAIN)
        return self.levels(c + self.residual(c)) / self.step


class Synthesis(_Transform):
    r"""The decoder that mirrors :class:`Analysis`: :math:`D(z) = W_1' * (c + R'(c))`.

    Here :math:`c = W_2' (Δ z)`, and all weights are its own. At the start it inverts
    :class:`Analysis` as far as coefficients were kept.

    Parameters
    ----------
    step, hidden, kept
        As in :class:`Analysis`.

    Examples
    --------
    >>> from aebook.applications.compression import Analysis, Synthesis
    >>> analysis, synthesis = (part(hidden=8, kept=(64, 64)) for part in (Analysis, Synthesis))
    >>> x = torch.rand(1, 3, 32, 32)
    >>> torch.allclose(synthesis(analysis(x)), x, atol=1e-4)  # its inverse where all is kept
    True
    """

    @checked
    def __init__(
        self, step: float = 25 / 255, hidden: int = 64, kept: tuple[int, int] = (64, 16)
    ) -> None:
        super().__init__(step, kept)
        cosines, haar = _cosines(kept), _haar()
        n = len(cosines)
        self.levels = nn.ConvTranspose2d(4 * n, n, 2, stride=2, groups=n, bias=False)
        self.residual = _residual(n, hidden)
        self.blocks = nn.ConvTranspose2d(n, 3, 8, stride=8)
        with torch.no_grad():
            self.levels.weight.copy_(haar.repeat(n, 1, 1, 1))
            self.blocks.weight.copy_(_GAIN * cosines)
            self.blocks.get_parameter("bias").fill_(_GAIN / 2)

    def forward(self, z: Tensor) -> Tensor:
        """From codes (B, C, H, W) to images (B, 3, 16 H, 16 W)."""
        c = self.levels(z * self.step)
        return self.blocks(c + self.residual(c)) / _GAIN


@checked
def transform_coder(
    step: float,
    photographs: Tensor | None = None,
    *,
    kind: Literal["mixed", "noise"] = "mixed",
    hidden: int = 64,
    kept: tuple[int, int] = (64, 16),
    corruption: Corruption | None = None,
    penalties: Penalties | None = None,
) -> Objective:
    r"""Squared error + λ · bits, with :math:`λ = Δ^2 \ln 2 / 6`: at the start, a cosine transform.

    Parameters
    ----------
    step
        Δ, in the unit of the image: more of it, fewer bits. 10/255 to 80/255 is the range of JPEG.
    photographs
        (N, 3, H, W) in [0, 1]: the priors start with the moments of their codes.
    kind
        As in :class:`Quantiser`.
    hidden, kept
        As in :class:`Analysis`.
    corruption, penalties
        As in :func:`aebook.variants.plain`, beside the rate.

    Examples
    --------
    >>> from aebook.applications.compression import transform_coder
    >>> photographs = torch.rand(2, 3, 32, 32)
    >>> objective = transform_coder(25 / 255, photographs, hidden=8)
    >>> list(objective(photographs).terms)
    ['distance', 'rate']
    """
    encoder = Analysis(step, hidden, kept)
    quantiser = Quantiser(encoder.levels.out_channels, kind)
    model = Autoencoder(encoder, Synthesis(step, hidden, kept), quantiser)
    if photographs is not None:
        with torch.no_grad():
            form = Form.of(encoder)
            model.bottleneck.start(encoder(form.move(form.take(photographs, 4))))
    own = {"rate": (slope(step), rate)}
    return Objective(model, corruption, penalties=combined(own, penalties))


def _cosines(kept: tuple[int, int]) -> Tensor:
    """The orthonormal cosine transform of 8 × 8 blocks in three opponent colours, (n, 3, 8, 8)."""
    sides = [math.isqrt(n) for n in whole_numbers("kept", kept, count=2)]
    if len(sides) != 2 or [side**2 for side in sides] != list(kept) or max(sides) > 8:
        raise ValueError(f"got kept={kept}, expected two squares from 1 to 64, such as (64, 16)")
    waves = torch.tensor(dct(np.eye(8), axis=0, norm="ortho"), dtype=torch.float32)
    colours = torch.tensor([[1.0, 1, 1], [1, 0, -1], [-1, 2, -1]])
    planes = []
    for colour, side in zip(F.normalize(colours), (sides[0], sides[1], sides[1]), strict=True):
        kept_waves = waves[:side]
        planes.append(torch.einsum("c,ui,vj->uvcij", colour, kept_waves, kept_waves).flatten(0, 1))
    return torch.cat(planes)


def _haar() -> Tensor:
    """The orthonormal Haar transform of 2 × 2 values, (4, 1, 2, 2)."""
    pair = torch.tensor([[1.0, 1], [1, -1]]) / math.sqrt(2)
    return torch.einsum("ui,vj->uvij", pair, pair).reshape(4, 1, 2, 2)


def _residual(channels: int, hidden: int) -> nn.Sequential:
    """Three convolutions, of which the last gives zero at the start."""
    last = nn.Conv2d(whole("hidden", hidden), channels, 1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.get_parameter("bias"))
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 1),
        nn.LeakyReLU(0.1),
        nn.Conv2d(hidden, hidden, 3, padding=1),
        nn.LeakyReLU(0.1),
        last,
    )
