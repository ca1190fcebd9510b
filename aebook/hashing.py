r"""From messages to bits, and bits packed into bytes.

A code of p bits is a row of ⌈p/8⌉ bytes. Bit j of the code is bit j mod 8 of byte ⌊j/8⌋, the least
significant first; what is left of the last byte is zero. What finds the nearest of many codes is in
:mod:`aebook.applications.retrieval`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from aebook._internal.checks import array, as_array, whole
from aebook._internal.contract import checked
from aebook._internal.modes import unshared
from aebook.bottlenecks import Binary
from aebook.core import Autoencoder
from aebook.data import Data
from aebook.inference import in_pieces
from aebook.metrics import threshold

__all__ = ["SemanticHasher", "check_bits", "check_codes", "pack", "unpack"]

#: Messages encoded at once.
CHUNK = 4096


class SemanticHasher:
    r"""Bits of an autoencoder's code, :math:`1[h_j(x) > t_j]` with medians as thresholds.

    :math:`t_j` is the median of unit j over a collection, so that every bit divides it in half and
    no address is more crowded than it has to be. A unit that gives one value to more than half of
    the collection cannot be divided so; its bit says whether the message is above that value.

    Parameters
    ----------
    model
        A trained autoencoder with codes (B, p). For one with a
        :class:`aebook.bottlenecks.Binary` bottleneck h is what the bottleneck takes, for any other
        the code itself.
    x
        The collection, (N, ...), or a good sample of it. As everywhere in this class, whatever
        :func:`aebook.fit` takes; targets play no part. Bits and codes are NumPy's whatever came:
        packed, they are bytes, which an index keeps.
    sample_weight
        How many messages each of x stands for, (N,); only their ratios matter.

    Attributes
    ----------
    thresholds
        The medians, (p,).

    Examples
    --------
    >>> from aebook.hashing import SemanticHasher
    >>> model = aebook.Autoencoder(torch.nn.Identity(), torch.nn.Identity()).eval()
    >>> x = torch.tensor([[1.0, 7.0], [2.0, 6.0], [3.0, 9.0], [4.0, 8.0]])
    >>> hasher = SemanticHasher(model, x)  # each bit divides the four in half
    >>> hasher.bits(x).astype(int).tolist(), hasher.encode(x).flatten().tolist()
    ([[0, 0], [0, 0], [1, 1], [1, 1]], [0, 0, 3, 3])
    """

    @checked
    def __init__(self, model: Autoencoder, x: Data, sample_weight: ArrayLike | None = None) -> None:
        self.model = model
        h = self._activities(x)
        if sample_weight is None:
            self.thresholds = np.median(h, axis=0)
        else:
            half = {"quantile": 0.5, "interpolate": True, "sample_weight": sample_weight}
            self.thresholds = np.array([threshold(unit, **half) for unit in h.T])

    @checked
    def bits(self, x: Data) -> np.ndarray:
        """Bits of messages (N, ...), as booleans (N, p)."""
        return self._activities(x) > self.thresholds

    @checked
    def encode(self, x: Data) -> np.ndarray:
        """Codes of messages (N, ...): eight bits a byte, uint8 (N, ⌈p / 8⌉)."""
        return pack(self.bits(x))

    def _activities(self, x: Data) -> np.ndarray:
        h = as_array(in_pieces(self.model, x, CHUNK, self._chunk))
        array("codes", h, "(N, p)", finite=False, empty=True, advice="flatten them first")
        return h

    def _chunk(self, x: Tensor) -> Tensor:
        h = self.model.encoder(unshared(self.model.encoder, x))
        return h if isinstance(self.model.bottleneck, Binary) else self.model.bottleneck(h)


@checked
def pack(bits: NDArray[Any] | Tensor) -> NDArray[np.uint8]:
    r"""Bytes :math:`\sum_{i<8} 2^i b_{8j+i}` of the bits b.

    Parameters
    ----------
    bits
        (N, p), boolean or of zeros and ones.

    Returns
    -------
    ndarray
        Codes (N, ⌈p/8⌉), uint8.

    Examples
    --------
    >>> from aebook.hashing import pack
    >>> pack([[0, 1, 0, 0, 0, 0, 0, 0, 1]])  # 2, and the ninth bit in a byte of its own
    array([[2, 1]], dtype=uint8)
    """
    bits = as_array(bits)
    array("bits", bits, "(N, p)", finite=False, empty=0 not in bits.shape[1:])
    if bits.dtype != bool:
        if not np.isin(bits, (0, 1)).all():
            raise ValueError("got values other than 0 and 1, expected bits: compare with 0.5 first")
        bits = bits.astype(bool)
    return np.packbits(bits, axis=1, bitorder="little")


@checked
def unpack(codes: NDArray[np.uint8] | Tensor, bits: int) -> NDArray[np.bool_]:
    r"""The bits of packed codes, :math:`b_{8j+i}` from byte j: what :func:`pack` was given.

    Parameters
    ----------
    codes
        (N, ⌈bits/8⌉), uint8.
    bits
        p, which the bytes alone do not tell.

    Returns
    -------
    ndarray
        Booleans, (N, bits).

    Examples
    --------
    >>> from aebook.hashing import pack, unpack
    >>> unpack(pack([[1, 0, 1]]), bits=3).astype(int)
    array([[1, 0, 1]])
    """
    codes = check_codes(codes, check_bits(bits))
    return np.unpackbits(codes, axis=1, count=bits, bitorder="little").astype(bool)


def check_bits(bits: int) -> int:
    """The length of a code as an int, if it is one.

    Parameters
    ----------
    bits
        p, 1 or more.

    Examples
    --------
    >>> from aebook import hashing
    >>> hashing.check_bits(64.0)
    64
    """
    return whole("bits", bits)


def check_codes(codes: Any, bits: int) -> NDArray[np.uint8]:
    """Packed codes as an array, if they are codes of this many bits.

    Parameters
    ----------
    codes
        (N, ⌈bits/8⌉), uint8.
    bits
        p.

    Examples
    --------
    >>> from aebook import hashing
    >>> hashing.check_codes(torch.tensor([[7], [1]], dtype=torch.uint8), 3)
    array([[7],
           [1]], dtype=uint8)
    """
    codes, size = as_array(codes), -(-bits // 8)
    advice = f"for {bits} bits use pack on bits, and code[None] for a single code"
    array("codes", codes, f"(N, {size})", "uint8", empty=True, advice=advice)
    if bits % 8 and (codes[:, -1] >> (bits % 8)).any():
        raise ValueError(f"got codes with ones beyond bit {bits}, expected codes of {bits} bits")
    return codes
