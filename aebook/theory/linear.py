r"""What theory says of linear autoencoders.

The optimum of :math:`E\|x - (W_2(W_1 x + b_1) + b_2)\|^2` with p code units is the orthogonal
projection onto the space of the p leading principal components (Baldi & Hornik 1989). The code is
determined only up to an invertible map; with an L2 penalty on both matrices it is determined up
to a rotation, and the components can be read off the decoder (Kunin et al. 2019). When entries of x
are hidden from the encoder, the optimum is another map, and as well known (Chen et al. 2012).

Everything here is computed in float64.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.linalg import eigh
from torch import Tensor, nn
from torch.nn.functional import normalize

from aebook._internal.checks import array, as_many, number, rows, whole
from aebook._internal.contract import checked
from aebook.core import Autoencoder
from aebook.data import Data, blocks, vectors

__all__ = [
    "MaskedMap",
    "PrincipalComponents",
    "affine",
    "eckart_young",
    "masked_map",
    "principal_angles",
    "principal_components",
    "recover_components",
]


class PrincipalComponents(NamedTuple):
    """The p leading principal components of a data set with m dimensions."""

    mean: Tensor
    """The mean message, (m,)."""
    components: Tensor
    """Orthonormal columns, (m, p), by falling variance; the entry of largest size is positive."""
    variances: Tensor
    """Variance along each component, (p,), the eigenvalues of the covariance (divided by n)."""

    def encode(self, x: Tensor) -> Tensor:
        """Coordinates :math:`U^T(x - μ)` of messages (B, m), as (B, p) in the dtype of ``x``."""
        rows(x, len(self.mean))
        return (x - self.mean.to(x)) @ self.components.to(x)

    def decode(self, z: Tensor) -> Tensor:
        """Messages :math:`μ + Uz` of coordinates (B, p)."""
        rows(z, self.components.shape[1])
        return self.mean.to(z) + z @ self.components.to(z).T

    def reconstruct(self, x: Tensor) -> Tensor:
        """Projections :math:`μ + UU^T(x - μ)`, the best affine reconstructions of rank p."""
        return self.decode(self.encode(x))


@checked
def principal_components(x: Data, p: int | None = None) -> PrincipalComponents:
    r"""Principal components: the leading eigenvectors of the covariance, :math:`C = U V U^\top`.

    They are the right singular vectors of the centred messages, and the variances are the squared
    singular values over n. A standard deviation is therefore exact to some 10⁻¹⁶ of the largest
    one, where a covariance matrix would leave 10⁻⁸. That holds for data of any size too: of those
    that are read in parts a few thousand are in memory at a time, in double precision, and a matrix
    (m, m) of what came before (Golub & Van Loan 2013, § 6.5.3).

    Parameters
    ----------
    x
        Messages, (n, m), whatever :func:`aebook.fit` takes.
    p
        How many components to keep, from 1 to min(n, m); the default keeps all.

    Examples
    --------
    >>> from aebook.theory.linear import principal_components
    >>> x = torch.tensor([[3.0, 4.0], [-3.0, -4.0]])  # on a line
    >>> pca = principal_components(x, 1)
    >>> round(pca.variances.item(), 6), torch.allclose(pca.reconstruct(x), x)
    (25.0, True)
    """
    p = None if p is None else whole("p", p, least=0)
    mean, centred, n = _centred(x)
    most = min(n, len(mean))
    p = most if p is None else p
    if not 1 <= p <= most:
        raise ValueError(f"got p={p} for data of shape {(n, len(mean))}, expected 1 to {most}")
    _, s, ut = torch.linalg.svd(centred, full_matrices=False)
    return PrincipalComponents(mean, _signed(ut[:p].T), (s**2 / n)[:p])


@checked
def eckart_young(x: Data, p: int) -> float:
    r"""Least error of any affine decoder with p code units: :math:`\sum_{i>p} v_i`.

    With :math:`v_i` the variances along the principal components, it is the squared error, summed
    over dimensions and averaged over the given samples, of the projection onto the first p. By the
    theorem of Eckart & Young no encoder whatever goes below it *on these samples* when the decoder
    is affine. A decoder that bends may.

    Parameters
    ----------
    x
        Messages, (n, m), whatever :func:`aebook.fit` takes.
    p
        Code units, 0 or more.

    Examples
    --------
    >>> from aebook.theory.linear import eckart_young
    >>> x = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])  # variances 2 and 1/2
    >>> [round(eckart_young(x, p), 6) for p in (0, 1, 2)]
    [2.5, 0.5, 0.0]
    """
    p = whole("p", p, least=0)
    return float(principal_components(x).variances[p:].sum())


class MaskedMap(NamedTuple):
    r"""The linear autoencoder that is best at guessing hidden entries, by :func:`masked_map`."""

    matrix: Tensor
    """A, (m, m). Without a bottleneck the reconstruction of x is xA."""
    directions: Tensor
    """V, (m, p), orthonormal, most is guessed in the first; the message of a code z is zV'."""

    def encode(self, x: Tensor) -> Tensor:
        """Codes xAV of messages (n, m), in the dtype of ``x``."""
        rows(x, len(self.matrix))
        return x @ (self.matrix @ self.directions).to(x)


@checked
def masked_map(x: Data, share: float, p: int | None = None) -> MaskedMap:
    r"""The best linear map of messages whose entries are hidden: no training is needed.

    T hides each entry with probability :math:`ν`, as :func:`aebook.corruptions.masking` does. With
    :math:`S = X^\top X`, averaging over the masks gives (Chen et al. 2012)

    .. math::

        E_T \lVert X - T(X) A \rVert^2 \text{ is least for } A = Q^{-1} S, \quad
        Q = (1 - ν) S + ν \operatorname{diag}(S)

    Nothing is centred, since what is hidden is 0. Of all maps through p numbers the best is A
    followed by the projection on the p leading eigenvectors of :math:`S Q^{-1} S`.

    Parameters
    ----------
    x
        Messages, (n, m), whatever :func:`aebook.fit` takes.
    share
        :math:`ν`, how many of the entries are hidden, above 0 and below 1.
    p
        Code units, 1 to m; the default is m.

    Examples
    --------
    >>> from aebook.theory.linear import masked_map
    >>> x = torch.tensor([[1.0, 1.0, 0.0], [2.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    >>> best = masked_map(x, share=0.5)
    >>> # what has a twin is guessed from both, what stands alone by itself
    >>> best.matrix.round(decimals=4).tolist()
    [[0.6667, 0.6667, 0.0], [0.6667, 0.6667, 0.0], [0.0, 0.0, 1.0]]
    """
    x, share = vectors(x), number("share", share, below=1)
    p = x.shape[1] if p is None else whole("p", p, most=x.shape[1])
    s = x.T @ x
    own = s.diagonal()
    # an entry that is always 0 tells of no other, whatever stands here
    q = (1 - share) * s + torch.where(own > 0, share * own, 1).diag()
    matrix = torch.linalg.solve(q, s)
    _, v = eigh((s @ matrix).numpy(), subset_by_index=(len(s) - p, len(s) - 1))
    return MaskedMap(matrix, _signed(torch.from_numpy(np.ascontiguousarray(v[:, ::-1]))))


@checked
def principal_angles(a: ArrayLike, b: ArrayLike) -> Tensor:
    """Angles between the spaces spanned by the columns of two matrices, in radians, rising.

    The first is the smallest angle between a direction of one space and one of the other; if the
    last is 0, the smaller space lies in the larger. From cosines and sines, so that small angles
    are as exact as large ones (Björck & Golub 1973).

    Parameters
    ----------
    a, b
        (m, p) and (m, q), finite, of full column rank.

    Returns
    -------
    Tensor
        (min(p, q),) from 0 to π/2.

    Examples
    --------
    >>> from aebook.theory.linear import principal_angles
    >>> principal_angles([[1.0], [0.0]], [[1.0], [1.0]])  # π/4
    tensor([0.7854], dtype=torch.float64)
    """
    a, b = _matrix(a, "the first matrix"), _matrix(b, "the second matrix")
    advice = "one a dimension of the message, since directions are columns"
    as_many(advice, **{"rows of a": len(a), "rows of b": len(b)})
    for which, matrix in (("first", a), ("second", b)):
        # the length of a direction says nothing of the space
        if torch.linalg.matrix_rank(normalize(matrix, dim=0)) < matrix.shape[1]:
            raise ValueError(
                f"got a {which} matrix of shape {tuple(matrix.shape)} with linearly dependent "
                "columns; expected directions that span a space: leave some out"
            )
    large, small = (
        torch.linalg.qr(matrix)[0] for matrix in sorted((a, b), key=lambda m: -m.shape[1])
    )
    shared = large.T @ small
    cosines = torch.linalg.svdvals(shared)
    sines = torch.linalg.svdvals(small - large @ shared)
    return torch.atan2(sines.flip(0), cosines)


@checked
def affine(network: nn.Module, width: int) -> tuple[Tensor, Tensor]:
    """The matrix W, (out, width), and offset b, (out,), of a network that computes Wx + b.

    Parameters
    ----------
    network
        Any module from (B, width) to (B, out), for instance a chain of linear layers.
    width
        Number of inputs.

    Raises
    ------
    ValueError
        If the network is not affine.

    Examples
    --------
    >>> from aebook.theory.linear import affine
    >>> network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))
    >>> weight, offset = affine(network, 3)
    >>> x = torch.rand(5, 3)
    >>> torch.allclose(network(x), x @ weight.T.float() + offset.float(), atol=1e-6)
    True
    """
    width = whole("width", width)
    kind = next((p for p in network.parameters()), torch.zeros(0))
    with torch.no_grad():
        zero = torch.zeros(1, width, dtype=kind.dtype, device=kind.device)
        offset = network(zero)[0]
        matrix = (network(torch.eye(width).to(zero)) - offset).T
        probe = torch.linspace(-2, 3, 3 * width).reshape(3, width).to(zero)
        expected = probe @ matrix.T + offset
        error = (network(probe) - expected).abs().max() / expected.abs().max().clamp_min(1e-30)
    if error > 1e3 * torch.finfo(kind.dtype).eps:
        raise ValueError(
            f"got a network that is not affine, it departs from Wx + b by {float(error):.2g} of "
            "its size; expected linear layers only"
        )
    return matrix.double().cpu(), offset.double().cpu()


@checked
def recover_components(model: Autoencoder, *, tolerance: float = 0.05) -> Tensor:
    r"""Principal components from the weights of a linear autoencoder trained with L2.

    Every optimum of :math:`E\|x - x'\|^2 + λ(\|W_1\|_F^2 + \|W_2\|_F^2)` has
    :math:`W_1 = W_2^\top`, and the left singular vectors of :math:`W_2` are the principal
    components, with singular values :math:`\sqrt{1 - λ/v_i} < 1` where the variances are
    :math:`v_i` (Kunin et al. 2019). Without the penalty any invertible map may stand between the
    two matrices, the weights no longer determine the components, and this is refused; the
    reconstructions still do: ``principal_components(model.reconstruct(x), p)``. The penalty must
    be strong enough for the precision of the training to tell the singular values apart.

    Parameters
    ----------
    model
        Encoder and decoder of linear layers, p code units.
    tolerance
        How far, in the Frobenius norm and relative to it, the encoder may be from the decoder's
        transpose.

    Returns
    -------
    Tensor
        Orthonormal columns, (m, p), by falling variance.

    Raises
    ------
    ValueError
        If a part is not affine, the matrices are not each other's transpose, or the singular
        values of the decoder are not what a penalty leaves: distinct and less than 1.

    Examples
    --------
    >>> from aebook.theory.linear import recover_components
    >>> component = torch.tensor([[0.6], [0.8]])
    >>> encoder, decoder = torch.nn.Linear(2, 1), torch.nn.Linear(1, 2)
    >>> encoder.weight.data, decoder.weight.data = 0.9 * component.T, 0.9 * component
    >>> recover_components(aebook.Autoencoder(encoder, decoder)).abs()
    tensor([[0.6000],
            [0.8000]], dtype=torch.float64)
    """
    number("tolerance", tolerance, least=0)
    if not isinstance(model.bottleneck, nn.Identity):
        raise ValueError(
            f"got a model with the bottleneck {model.bottleneck}, expected none: a code that is "
            "changed on its way is not a linear map of the message"
        )
    width = _width(model)
    encoder, _ = affine(model.encoder, width)
    decoder, _ = affine(model.decoder, len(encoder))
    distance = float(torch.linalg.norm(encoder - decoder.T) / torch.linalg.norm(decoder))
    if distance > tolerance:
        raise ValueError(
            f"got an encoder that differs from the decoder's transpose by {distance:.2g} of its "
            f"size, expected at most {tolerance}: without an L2 penalty, or before it converged, "
            "the weights do not determine the components. Train with "
            "penalties={'l2': (0.01, weight_decay)}, or use "
            "principal_components(model.reconstruct(x), p)"
        )
    u, s, _ = torch.linalg.svd(decoder, full_matrices=False)
    gap = float((-s.diff() / s[0]).min()) if len(s) > 1 else 1.0
    if gap < 1e-6 or float(s[0]) >= 1:
        raise ValueError(
            f"got singular values of the decoder from {float(s[0]):.8g} to {float(s[-1]):.8g} with "
            f"a smallest gap of {gap:.1g}, expected distinct ones less than 1, as an L2 penalty "
            "leaves them: with equal ones, as those of a tied decoder, directions are arbitrary"
        )
    return _signed(u)


def _centred(x: Data) -> tuple[Tensor, Tensor, int]:
    """The mean, a matrix with the singular values of the centred messages, and how many they are.

    R of X = QR has the singular values of X and is small; X'X would have their squares, of which
    those below the rounding of the largest are lost.
    """
    parts = blocks(x)
    first = next(parts)
    n, mean = len(first), first.mean(0)
    r = first - mean
    if n > len(mean):
        r = torch.linalg.qr(r, mode="r")[1]
    for block in parts:
        # two sets have the squares of each and those of what is between their means
        k, between = len(block), block.mean(0) - mean
        apart = math.sqrt(n * k / (n + k)) * between
        r = torch.linalg.qr(torch.cat([r, block - mean - between, apart[None]]), mode="r")[1]
        n, mean = n + k, mean + k / (n + k) * between
    return mean, r, n


def _width(model: Autoencoder) -> int:
    shape = getattr(model.encoder, "shape", None)
    if shape is None:
        first = next((m for m in model.encoder.modules() if isinstance(m, nn.Linear)), None)
        shape = () if first is None else (first.in_features,)
    if len(shape) != 1:
        raise ValueError(
            f"got an encoder of inputs of shape {shape}, expected vectors and linear layers"
        )
    return shape[0]


def _signed(components: Tensor) -> Tensor:
    """Columns with the sign that makes the entry of largest size positive."""
    largest = components.gather(0, components.abs().argmax(0, keepdim=True))
    return components * largest.sign()


def _matrix(values: ArrayLike, what: str) -> Tensor:
    if not isinstance(values, Tensor):
        # a copy, since torch takes no array that is read-only or runs backwards
        values = torch.from_numpy(np.array(values, dtype=np.float64))
    values = values.detach().to("cpu", torch.float64)
    array(what, values, "(m, n)")
    return values
