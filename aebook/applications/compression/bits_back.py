r"""Messages as bytes that a variational autoencoder writes and reads back, exactly.

A stack of bits is the sender's file and, meanwhile, a source of random choices: the code of a
message is *popped* off it by q(z|x), so that the bits which say what code was chosen are not lost.
Then message and code are *pushed*, by p(x|z) and p(z). The receiver pops both and pushes the choice
back (Frey & Hinton 1996; with an asymmetric numeral system, whose stack this is, Townsend, Bird &
Barber 2019)::

    sender     z ← pop q(z|x)      push x by p(x|z)    push z by p(z)
    receiver   z ← pop p(z)        x ← pop p(x|z)      push z by q(z|x)

What a message costs is that of :func:`aebook.theory.code_length.lengths`. The message that is
written first finds no bits to choose by. It takes the most probable code, and gets nothing back.

The bytes, little endian:

======  ==============================================================================
size    content
======  ==============================================================================
4       ``AEZ1``: the format and its version
4       CRC-32 of everything that follows
4       the first bytes of the SHA-256 of the model
8       the first bytes of the SHA-256 of the messages
7       bits of a bin (1), units of a code (2), messages (4)
rest    the stack, in words of 32 bits; zeros, so that no byte stands for over 4,096 values
======  ==============================================================================

The receiver has to compute the sender's probabilities to the last bit. So both compute in float64,
on one thread, one message at a time. Another processor or another version of PyTorch may round in
another way: bytes are for the kind of machine that wrote them. A wrong message is never returned:
its SHA-256 would be another.

>>> data = encode(objective, images)
>>> same = decode(objective, data)
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aebook._internal.checks import need, whole
from aebook._internal.contract import checked
from aebook.bottlenecks import Gaussian
from aebook.core import Objective
from aebook.data import Data
from aebook.distances import bernoulli
from aebook.inference import in_pieces
from aebook.theory.code_length import MOST_BITS, bin_centres, bin_probabilities

__all__ = ["decode", "encode"]

_MAGIC = b"AEZ1"
_HEADER = struct.Struct("<4s8sBHI")

#: Values of messages that a byte may stand for: no header of a short file asks for much memory.
_MOST_VALUES = 4096
_MOST_UNITS = 65_535


@checked
def encode(objective: Objective, x: Data, *, bits: int = 10) -> bytes:
    """The bytes of messages.

    Parameters
    ----------
    objective
        A variational autoencoder whose distance is :func:`aebook.distances.bernoulli` or
        :class:`aebook.distances.DiscretisedLogistic`. β, corruption and other penalties play no
        part, nor does its type: it is copied in float64.
    x
        Messages, whatever :func:`aebook.fit` takes, of the levels that the distance knows: 0 and
        1, or k/255.
    bits
        Each unit of the code has 2 ** bits bins, from 1 to 16. More come nearer to the bound,
        until at some 12 the 24 bits of the coder's own probabilities are felt.

    Raises
    ------
    ImportError
        Without constriction: ``pip install "aebook[compression]"``.
    ValueError
        If the model is no such autoencoder, or the messages have other values.

    Examples
    --------
    >>> from aebook.applications.compression import bits_back
    >>> objective, x = aebook.variants.variational((6, 2)), torch.ones(100, 6)
    >>> data = bits_back.encode(objective, x)
    >>> type(data).__name__, torch.equal(bits_back.decode(objective, data), x)
    ('bytes', True)
    """
    bits = whole("bits", bits, most=MOST_BITS)
    sender = _Coder(objective, bits)
    messages = in_pieces(sender.model, x, 2048, sender.to_levels).numpy()
    stack, units = sender.stack(), 0
    with _one_thread():
        # from the last to the first, so that the receiver finds the first on top
        for number, message in enumerate(messages[::-1]):
            q = sender.posterior(message)
            z = stack.decode(sender.table, q) if number else q.argmax(1).astype(np.int32)
            stack.encode_reverse(message.ravel(), sender.table, sender.likelihood(z))
            stack.encode_reverse(z, sender.prior)
            units = len(z)
    words = stack.get_compressed().astype("<u4").tobytes()
    words += bytes(max(0, -(-messages.size // _MOST_VALUES) - len(words) + 3) // 4 * 4)
    header = _HEADER.pack(sender.fingerprint, _digest(messages), bits, units, len(messages))
    return _MAGIC + struct.pack("<I", zlib.crc32(header + words)) + header + words


@checked
def decode(objective: Objective, data: bytes | bytearray | memoryview) -> Tensor:
    """The messages that bytes of :func:`encode` stand for, (N, ...), in float32.

    Parameters
    ----------
    objective
        The autoencoder that wrote them.
    data
        The bytes.

    Raises
    ------
    ImportError
        Without constriction: ``pip install "aebook[compression]"``.
    ValueError
        If the bytes are truncated, altered, of another program, of another model, or of a machine
        that rounds in another way.

    Examples
    --------
    >>> from aebook.applications.compression import bits_back
    >>> objective, x = aebook.variants.variational((6, 2)), torch.rand(10, 6).round()
    >>> torch.equal(bits_back.decode(objective, bits_back.encode(objective, x)), x)
    True
    """
    fingerprint, digest, bits, units, count, words = _opened(data)
    receiver = _Coder(objective, bits)
    if fingerprint != receiver.fingerprint:
        raise ValueError(
            f"the bytes are of the model {fingerprint.hex()}, and this is "
            f"{receiver.fingerprint.hex()}: use the objective that encoded them"
        )
    stack = receiver.stack(np.trim_zeros(words, "b"))
    messages = []
    with _one_thread():
        shape = receiver.shape(units)
        if count * math.prod(shape) > _MOST_VALUES * words.nbytes:
            raise ValueError(
                f"{words.nbytes:,} bytes claim {count:,} messages of {math.prod(shape):,} values: "
                "get them again"
            )
        for left in reversed(range(count)):
            z = stack.decode(receiver.prior, units)
            message = stack.decode(receiver.table, receiver.likelihood(z)).reshape(shape)
            if left:
                stack.encode_reverse(z, receiver.table, receiver.posterior(message))
            messages.append(message)
    found = np.stack(messages)
    if _digest(found) != digest or not stack.is_empty():
        raise ValueError(
            "the bytes give other messages here than those that were encoded: decode them with the "
            "versions of PyTorch and NumPy, and on the kind of processor, that encoded them"
        )
    return receiver.to_values(torch.from_numpy(found)).float()


class _Coder:
    """What sender and receiver have in common: a model, and its probabilities of one message."""

    def __init__(self, objective: Objective, bits: int) -> None:
        constriction = need("constriction", "constriction", "compression")
        if not isinstance(objective, Objective) or not isinstance(
            objective.model.bottleneck, Gaussian
        ):
            raise ValueError(
                f"got {type(objective).__name__}, expected an Objective with the bottleneck "
                "bottlenecks.Gaussian: use variants.variational"
            )
        self.distance: Any = objective.distance
        if self.distance is not bernoulli and not hasattr(self.distance, "probabilities"):
            raise ValueError(
                "got an objective whose distance gives no probability of each message: train with "
                "distances.bernoulli (black and white) or distances.DiscretisedLogistic (grey)"
            )
        self.last = 1 if self.distance is bernoulli else self.distance.levels - 1
        self.model = copy.deepcopy(objective.model).cpu().double().eval()
        self.stack = constriction.stream.stack.AnsCoder
        self.table = constriction.stream.model.Categorical(perfect=False)
        self.prior = constriction.stream.model.Uniform(2**bits)
        self.bits, self.centres = bits, bin_centres(bits)
        sha = hashlib.sha256(repr((type(self.distance).__name__, self.last)).encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            sha.update(name.encode() + tensor.numpy().tobytes())
        self.fingerprint = sha.digest()[:4]

    def to_levels(self, x: Tensor) -> Tensor:
        """Messages as whole numbers from 0 to the last level."""
        levels = (x * self.last).round() if x.is_floating_point() else torch.full(x.shape, -1)
        within = (levels >= 0) & (levels <= self.last)
        if not (within.all() and ((x * self.last - levels).abs() < 1e-3).all()):
            raise ValueError(
                f"got messages of type {x.dtype} with values other than k/{self.last}, k from 0 to "
                f"{self.last}, expected these alone: for images of bytes use x.float() / 255, for "
                "black and white (x > 0.5).float()"
            )
        return levels.int()

    def to_values(self, levels: Tensor) -> Tensor:
        """The messages that levels stand for, in float64."""
        return levels.double() / self.last

    def posterior(self, message: NDArray[np.int32]) -> NDArray[np.float64]:
        """Q of each bin of each unit, (p, bins)."""
        h = self.model.encoder(self.to_values(torch.from_numpy(message))[None])
        posterior = self.model.bottleneck.posterior(h)
        if posterior.mean.dim() != 2 or posterior.mean.shape[1] > _MOST_UNITS:
            raise ValueError(
                f"got codes of shape {tuple(posterior.mean.shape[1:])}, expected (p,) with p up to "
                f"{_MOST_UNITS:,}: let the encoder end in nn.Flatten()"
            )
        return _finite(bin_probabilities(posterior, self.bits)[0])

    def likelihood(self, z: NDArray[np.int32]) -> NDArray[np.float64]:
        """The probability of each level at each place, (m, levels)."""
        return _finite(self._probabilities(self.centres[torch.from_numpy(z).long()])).reshape(
            -1, self.last + 1
        )

    def shape(self, units: int) -> tuple[int, ...]:
        """The shape of a message."""
        try:
            return tuple(self._probabilities(torch.zeros(units).double()).shape[:-1])
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"the bytes claim codes of {units} units: get them again") from error

    def _probabilities(self, z: Tensor) -> Tensor:
        reconstruction = self.model.decoder(z[None])
        if self.distance is not bernoulli:
            return self.distance.probabilities(reconstruction)[0]
        if reconstruction.min() < 0 or reconstruction.max() > 1:
            raise ValueError(
                "the decoder gives means outside [0, 1], expected probabilities: let it end in "
                "nn.Sigmoid()"
            )
        return torch.stack([1 - reconstruction, reconstruction], -1)[0]


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Without gradients, and sums in one order however many processors there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(threads)


def _finite(table: Tensor) -> NDArray[np.float64]:
    if not table.sum().isfinite():
        raise ValueError("the model gives probabilities that are NaN: train it again")
    return table.numpy()


def _digest(messages: NDArray[np.int32]) -> bytes:
    shape = repr(messages.shape).encode()
    return hashlib.sha256(shape + messages.astype("<i4").tobytes()).digest()[:8]


def _opened(
    data: bytes | bytearray | memoryview,
) -> tuple[bytes, bytes, int, int, int, NDArray[np.uint32]]:
    """Header and words of bytes that are what they were."""
    data = bytes(data)
    if data[:4] != _MAGIC:
        raise ValueError(
            "got bytes that are not of encode, or of another version, expected those that it wrote"
        )
    start = 8 + _HEADER.size
    if len(data) < start or struct.unpack("<I", data[4:8])[0] != zlib.crc32(data[8:]):
        raise ValueError("the bytes were truncated or altered: get them again")
    *header, bits, units, count = _HEADER.unpack(data[8:start])
    if not (1 <= bits <= MOST_BITS and units and count) or len(data[start:]) % 4:
        raise ValueError(f"the bytes claim {count:,} messages of {units} units: get them again")
    words = np.frombuffer(data[start:], "<u4").astype(np.uint32)
    return header[0], header[1], bits, units, count, words
