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
    return float((x - reconstruction).square().sum() / (x - x.mean(0)).square().sum())


def l0(codes: Tensor) -> float:
    """Mean number of entries of a code that are not zero; ``codes`` is (N, p)."""
    return float((codes != 0).sum(-1).double().mean())


def dead_units(codes: Tensor) -> int:
    """How many units are zero for every one of the codes (N, p)."""
    return int((codes == 0).all(0).sum())
