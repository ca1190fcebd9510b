"""Addresses of binary codes: which of their bits they are, and which addresses are near.

Codes are integers (w, N), as :func:`aebook.applications.retrieval.codes.words` makes them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["addresses_of", "flips_within", "level_of", "most_balanced", "moved"]


def level_of(count: int) -> int:
    """The table has one bit of address less than this."""
    return (6 * count // 5).bit_length()


def addresses_of(codes: NDArray[Any], picked: NDArray[np.int64]) -> NDArray[np.int64]:
    """The address of each code (w, N): the picked bits, side by side."""
    address = np.zeros(codes.shape[1], np.int64)
    for i, bit in enumerate(picked.tolist()):
        address |= _bit(codes, bit).astype(np.int64) << i
    return address


def moved(starts: NDArray[Any], address: NDArray[np.int64], sign: int) -> NDArray[Any]:
    """Where addresses start after entries came (1) or went (-1) at some."""
    change = np.bincount(address + 1, minlength=len(starts))
    return starts + sign * np.cumsum(change, dtype=starts.dtype)


def _bit(codes: NDArray[Any], bit: int) -> NDArray[Any]:
    """One bit of all codes (w, N)."""
    word, place = divmod(bit, 8 * codes.itemsize)
    return codes[word] >> place & 1


def most_balanced(codes: NDArray[Any], bits: int, b: int) -> NDArray[np.int64]:
    """The b bits that differ most often between two codes (w, N), judged by a sample."""
    if b == bits:
        return np.arange(bits)
    sample = codes[:, :: max(1, codes.shape[1] >> 14)]
    ones = np.array([_bit(sample, bit).mean() if sample.size else 0 for bit in range(bits)])
    return np.sort(np.argsort(np.abs(ones - 0.5), kind="stable")[:b])


def flips_within(b: int, radius: int) -> NDArray[np.int64]:
    """All numbers of b bits with at most ``radius`` ones, by the number of ones."""
    levels = [np.zeros(1, np.int64)]
    for ones in range(1, min(radius, b) + 1):
        # with the highest one at j, the others are the first of those before
        levels.append(
            np.concatenate(
                [levels[-1][: math.comb(j, ones - 1)] | 1 << j for j in range(ones - 1, b)]
            )
        )
    return np.concatenate(levels)
