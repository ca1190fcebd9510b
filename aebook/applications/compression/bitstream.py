r"""Images as bytes: the code of a compressor, written by a range coder, and read back.

A :class:`Codec` takes uint8 images of any size and any number of channels. What is lost is lost in
the encoder's rounding; from the whole numbers of the code on nothing is, and the same bytes give
the same image in every process.

The bytes, little endian:

======  ==============================================================================
size    content
======  ==============================================================================
4       ``AEB1``: the format and its version
4       CRC-32 of everything that follows
4       the first bytes of the SHA-256 of the model: its weights and its tables
3 to 9  height, width, channels, each in groups of 7 bits; 0 channels: an array (H, W)
rest    the range coder's words of 32 bits
======  ==============================================================================

An image of three channels is coded as colours. Any other is coded plane by plane, each as a grey
picture. Sides that are no multiple of 16 are continued with the last row and column, and cut off
again.
"""

from __future__ import annotations

import copy
import hashlib
import struct
import zlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aebook._internal.checks import as_array, check_image, need
from aebook._internal.contract import checked
from aebook.applications.compression.transform import STRIDE, Quantiser
from aebook.core import Autoencoder

__all__ = ["Codec", "tables"]

_MAGIC = b"AEB1"
_LONGEST = 65_535

#: Whole numbers are written within this distance from 0; what is beyond is cut off.
_RANGE = 1 << 15

#: A table counts in units of 2⁻²⁰.
_UNIT = 1 << 20


class Codec:
    """A trained compressor as a pair of functions, from images to bytes and back.

    Both work on one thread or many, in float64: sums are rounded in another order on another
    processor, but by some 10⁻¹³, and the image is whole numbers.

    Parameters
    ----------
    model
        An autoencoder with a :class:`aebook.applications.compression.transform.Quantiser`, as
        :func:`aebook.applications.compression.transform.transform_coder` makes it; it is copied.

    Raises
    ------
    ImportError
        Without constriction: ``pip install "aebook[compression]"``.

    Examples
    --------
    >>> from aebook.applications.compression import Codec, transform_coder
    >>> codec = Codec(transform_coder(25 / 255, hidden=8).model)
    >>> image = np.zeros((20, 30, 3), np.uint8)
    >>> codec.decompress(codec.compress(image)).shape
    (20, 30, 3)
    """

    @checked
    def __init__(self, model: Autoencoder) -> None:
        if not isinstance(model, Autoencoder) or not isinstance(model.bottleneck, Quantiser):
            raise ValueError(
                f"got a {type(model).__name__}, expected an Autoencoder with a Quantiser: for an "
                "objective give objective.model"
            )
        constriction = need("constriction", "constriction", "compression")
        self._queue = constriction.stream.queue
        self._model = copy.deepcopy(model).double().cpu().eval()
        self._lowest, counts = tables(self._model.bottleneck)
        categorical = constriction.stream.model.Categorical
        self._priors = [categorical(c.astype(np.float64), perfect=False) for c in counts]
        self._escape = constriction.stream.model.Uniform(2 * _RANGE)
        self._last = np.array([len(c) - 1 for c in counts])
        # what 16 × 16 pixels cost if every number is its channel's likeliest
        self._least = sum(float(-np.log2(c.max() / c.sum())) for c in counts)

        digest = hashlib.sha256()
        for name, tensor in sorted(self._model.state_dict().items()):
            digest.update(name.encode() + tensor.numpy().tobytes())
        for low, count in zip(self._lowest, counts, strict=True):
            digest.update(struct.pack("<i", low) + count.tobytes())
        #: What tells this model's bytes from those of another.
        self.fingerprint = digest.digest()[:4]

    @checked
    def compress(self, image: NDArray[np.uint8]) -> bytes:
        """The bytes of an image.

        Parameters
        ----------
        image
            uint8, (H, W) or (H, W, C), no side 0 or above 65,535. Channels are last: up to 4, or
            fewer than rows and columns.
        """
        image = _checked(image)
        height, width = image.shape[:2]
        encoder = self._queue.RangeEncoder()
        for plane in _planes(image):
            below, right = -height % STRIDE, -width % STRIDE
            padded = np.pad(plane, ((0, below), (0, right), (0, 0)), mode="edge")
            x = torch.from_numpy(padded).permute(2, 0, 1)[None].double() / 255
            z = self._model.encode(x)[0].flatten(1).numpy()
            self._write(encoder, z.clip(-_RANGE, _RANGE - 1).astype(np.int32))
        channels = image.shape[2] if image.ndim == 3 else 0
        shape = b"".join(map(_to_groups, (height, width, channels)))
        words = encoder.get_compressed().astype("<u4").tobytes()
        content = self.fingerprint + shape + words
        return _MAGIC + struct.pack("<I", zlib.crc32(content)) + content

    @checked
    def decompress(self, data: bytes) -> NDArray[np.uint8]:
        """The image that bytes of :meth:`compress` stand for.

        Raises
        ------
        ValueError
            If they are truncated, altered, of another program, or of another model, or claim a
            larger image than so few bytes can hold: memory is a matter of their number.
        """
        shape, words = self._open(data)
        height, width = shape[:2]
        rows, columns = -(-height // STRIDE), -(-width // STRIDE)
        decoder = self._queue.RangeDecoder(words)
        image = np.empty(shape, np.uint8)
        for plane in _planes(image, writing=True):
            z = self._read(decoder, rows * columns).reshape(1, -1, rows, columns)
            x = self._model.decode(torch.from_numpy(z).double())[0].permute(1, 2, 0)
            pixels = x[:height, :width].numpy() * 255
            if plane.shape[2] == 1:
                pixels = pixels.mean(2, keepdims=True)
            plane[:] = pixels.round().clip(0, 255)
        if not decoder.maybe_exhausted():
            raise ValueError("the bytes go on after the end of the image: get them again")
        return image

    def _write(self, encoder: Any, z: NDArray[np.int32]) -> None:
        for prior, low, last, row in zip(self._priors, self._lowest, self._last, z, strict=True):
            symbols = row - low
            beyond = (symbols < 0) | (symbols >= last)
            encoder.encode(np.where(beyond, last, symbols).astype(np.int32), prior)
            if beyond.any():
                encoder.encode(row[beyond] + np.int32(_RANGE), self._escape)

    def _read(self, decoder: Any, size: int) -> NDArray[np.int32]:
        z = np.empty((len(self._priors), size), np.int32)
        for prior, low, last, row in zip(self._priors, self._lowest, self._last, z, strict=True):
            row[:] = _decoded(decoder, prior, size)
            beyond = row == last
            row += low
            if beyond.any():
                row[beyond] = _decoded(decoder, self._escape, int(beyond.sum())) - _RANGE
        return z

    def _open(self, data: bytes) -> tuple[tuple[int, ...], NDArray[np.uint32]]:
        """Shape and words of bytes that are what they were."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise ValueError(f"got {type(data).__name__}, expected the bytes of Codec.compress")
        data = bytes(data)
        if data[:3] != _MAGIC[:3]:
            raise ValueError(
                "got bytes that are not of Codec.compress: expected those that it made"
            )
        if data[3:4] != _MAGIC[3:]:
            raise ValueError(
                "got bytes of another version of the format, or altered, expected this one's"
            )
        if len(data) < 12 or struct.unpack("<I", data[4:8])[0] != zlib.crc32(data[8:]):
            raise ValueError("got bytes cut short or altered, expected all: get them again")
        if data[8:12] != self.fingerprint:
            raise ValueError(
                f"the bytes are of the model {data[8:12].hex()}, and this is "
                f"{self.fingerprint.hex()}: use the codec that compressed them"
            )
        rest, sides = data[12:], []
        for _ in range(3):
            side, rest = _from_groups(rest)
            sides.append(side)
        if not all(sides[:2]) or max(sides) > _LONGEST or len(rest) % 4:
            raise ValueError(f"the bytes claim an image of shape {sides}: get them again")
        height, width, channels = sides
        blocks = -(-height // STRIDE) * -(-width // STRIDE)
        blocks *= 1 if channels == 3 else max(channels, 1)
        # a range coder may end two words short of its tables; half allows for their rounding
        if blocks * self._least / 2 > 8 * len(rest) + 64:
            raise ValueError(
                f"the bytes claim an image of shape {sides}, which {len(data)} bytes of this model "
                "cannot hold: get them again"
            )
        shape = (height, width, channels) if channels else (height, width)
        return shape, np.frombuffer(rest, "<u4").astype(np.uint32)


@checked
def tables(prior: Quantiser) -> tuple[NDArray[np.int64], list[NDArray[np.uint32]]]:
    r"""The priors in whole numbers, :math:`\max(1, [2^{20} p(z)])`, the same in every process.

    A table covers what is likely; its last entry stands for all else, which is then written in
    16 bits.

    Parameters
    ----------
    prior
        The bottleneck of a compressor.

    Returns
    -------
    lowest : array
        For each channel the number for which the first entry stands, (C,).
    counts : list of arrays
        For each channel its table.

    Examples
    --------
    >>> from aebook.applications.compression import Quantiser, tables
    >>> lowest, counts = tables(Quantiser(channels=2))
    >>> lowest.shape, len(counts)
    ((2,), 2)
    """
    prior = copy.deepcopy(prior).double().cpu()
    grid = torch.arange(-1024, 1025).double()
    with torch.no_grad():
        p = prior.probability(grid.expand(len(prior.means), 1, -1)).squeeze(1).numpy()
    lowest, counts = [], []
    for row in p:
        likely = np.flatnonzero(row > 1 / _UNIT)
        if not len(likely):
            raise ValueError("a prior has no likely number: its weights are out of range")
        inside = row[likely[0] : likely[-1] + 1]
        both = np.append(inside, max(0.0, 1 - inside.sum()))
        counts.append(np.maximum(1, np.rint(both * _UNIT)).astype(np.uint32))
        lowest.append(likely[0] - 1024)
    return np.array(lowest), counts


def _decoded(decoder: Any, model: Any, size: int) -> NDArray[np.int32]:
    try:
        return decoder.decode(model, size)
    except AssertionError as error:
        # what constriction raises for words that no encoder of these tables writes
        raise ValueError("the bytes are no code of this model: get them again") from error


def _checked(image: Any) -> NDArray[np.uint8]:
    image = as_array(image)
    if image.dtype != np.uint8:
        raise ValueError(
            f"got an image of type {image.dtype}, expected uint8: for values from 0 to 1 use "
            "(255 * image).round().astype('uint8')"
        )
    check_image("an image", image.shape)
    if max(image.shape) > _LONGEST:
        raise ValueError(f"got an image of shape {image.shape}, expected sides up to {_LONGEST}")
    return image


def _planes(image: NDArray[np.uint8], writing: bool = False) -> list[NDArray[np.uint8]]:
    """What is coded in one go: (H, W, 3) to read; to write, views (H, W, 3) or (H, W, 1)."""
    if image.ndim == 3 and image.shape[2] == 3:
        return [image]
    planes = image.reshape(*image.shape[:2], -1)
    each = [planes[:, :, k : k + 1] for k in range(planes.shape[2])]
    return each if writing else [plane.repeat(3, axis=2) for plane in each]


def _to_groups(number: int) -> bytes:
    """A number in groups of 7 bits, low first; the high bit says that more follow."""
    groups = bytearray()
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    return bytes([*groups, number])


def _from_groups(data: bytes) -> tuple[int, bytes]:
    """The number at the beginning of the bytes, and what follows."""
    number = 0
    for k, group in enumerate(data[:5]):
        number |= (group & 127) << (7 * k)
        if group < 128:
            return number, data[k + 1 :]
    raise ValueError("the bytes end within the shape: get them again")
