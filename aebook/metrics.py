"""Numbers that describe codes and reconstructions after training."""

from __future__ import annotations

from torch import Tensor

__all__ = ["dead_units", "fvu", "l0"]


def fvu(reconstruction: Tensor, target: Tensor) -> float:
    r"""Fraction of variance unexplained, :math:`\sum \|x - x'\|^2 / \sum \|x - \bar x\|^2`.

    Parameters
    ----------
    reconstruction, target
        The same shape (N, ...), N at least 2.

    Returns
    -------
    float
        0 for a perfect copy, 1 for the mean of the targets; more for anything worse.
    """
    if reconstruction.shape != target.shape or len(target) < 2:
        raise ValueError(
            f"got shapes {tuple(reconstruction.shape)} and {tuple(target.shape)}, expected the "
            "same with two samples or more"
        )
    x = target.double()
    variance = (x - x.mean(0)).square().sum()
    if variance == 0:
        raise ValueError("got targets that are all the same, expected some variance to explain")
    return float((x - reconstruction).square().sum() / variance)


def l0(codes: Tensor) -> float:
    r"""Active units a sample, :math:`\frac1N \sum_n \#\{j : z_{nj} \ne 0\}`; codes are (N, p)."""
    return float((_matrix(codes) != 0).sum(1).double().mean())


def dead_units(codes: Tensor) -> int:
    r"""Units that no sample activates, :math:`\#\{j : z_{nj} = 0 \text{ for all } n\}`.

    Parameters
    ----------
    codes
        (N, p). Take many and varied samples: a unit that is silent on ten of them may be rare and
        not dead.
    """
    return int((_matrix(codes) == 0).all(0).sum())


def _matrix(codes: Tensor) -> Tensor:
    if codes.dim() != 2 or len(codes) == 0:
        raise ValueError(f"got codes of shape {tuple(codes.shape)}, expected (N, p) with N > 0")
    return codes
