"""The anomaly tables Satellite and Shuttle, from the R package mlbench."""

import lzma
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from builders.sources import SourceError, debian, verified

MLBENCH = Path("usr/lib/R/site-library/mlbench/data")
RDA_SHA256 = {
    "Satellite": "29f8cf9bb1bc51b769d694c9caf740fd1c36ed6a7c87603edf5985962e330f64",
    "Shuttle": "5b1db218b76a47c83f575f1ff38d7a7d36e569b0e27d8bf4aa92eae6c0bcb826",
}
#: The class numbers of the original files, for the names that mlbench gave the classes.
SATELLITE_NUMBERS = {
    "red soil": 1,
    "cotton crop": 2,
    "grey soil": 3,
    "damp grey soil": 4,
    "vegetation stubble": 5,
    "very damp grey soil": 7,
}
SHUTTLE_NUMBERS = {
    "Rad.Flow": 1,
    "Fpv.Close": 2,
    "Fpv.Open": 3,
    "High": 4,
    "Bypass": 5,
    "Bpv.Close": 6,
    "Bpv.Open": 7,
}


class Vector(NamedTuple):
    """A vector of R: its values, and its attributes by name."""

    values: Any
    attributes: Mapping[str, Any]


def satellite(given: Path | None) -> dict[str, np.ndarray]:
    """Return uint8 features of shape (6435, 36) and uint8 labels of shape (6435,), as published.

    Parameters
    ----------
    given
        The folder with mlbench's Satellite.rda, or None to find or download Debian's package.

    Raises
    ------
    SourceError
        If the file cannot be had or differs from the one expected.
    """
    return _arrays(_rda("Satellite", given), "Satellite", SATELLITE_NUMBERS, np.uint8)


def shuttle(given: Path | None) -> dict[str, np.ndarray]:
    """Return int16 features of shape (58000, 9) and uint8 labels of shape (58000,), as published.

    The features are in column-major order, which compresses better; rows compress better in
    Satellite, whose pixels overlap.

    Parameters
    ----------
    given
        The folder with mlbench's Shuttle.rda, or None to find or download Debian's package.

    Raises
    ------
    SourceError
        If the file cannot be had or differs from the one expected.
    """
    arrays = _arrays(_rda("Shuttle", given), "Shuttle", SHUTTLE_NUMBERS, np.int16)
    return arrays | {"features": np.asfortranarray(arrays["features"])}


def read_rda(data: bytes) -> Any:
    """Decode the objects that R's ``save`` wrote, by name: vectors, lists, factors, data frames.

    The format is R's serialization in big-endian binary ("R Internals", section 1.8), version 2.
    The Python package `rdata` reads all of it, but needs pandas and xarray; these fifty lines
    read what plain data frames are made of, and refuse the rest.

    Parameters
    ----------
    data
        The decompressed file.

    Raises
    ------
    ValueError
        If it is not such a file, or contains another kind of object.
    """
    if data[:7] != b"RDX2\nX\n" or data[7:11] != b"\0\0\0\2":
        raise ValueError(f"not R data in binary form, version 2: it starts with {data[:11]!r}")
    position = 19  # after the version of the format and two versions of R
    symbols: list[str] = []

    def take(count: int) -> bytes:
        nonlocal position
        position += count
        if position > len(data):
            raise ValueError(f"the R data end at byte {len(data)}, before an object is complete")
        return data[position - count : position]

    def integer() -> int:
        return struct.unpack(">i", take(4))[0]

    def item() -> Any:
        flags = integer()
        kind, has_attributes, has_tag = flags & 0xFF, bool(flags & 0x200), bool(flags & 0x400)
        if kind == 254:  # NULL
            return None
        if kind == 1:  # a symbol, and from then on a reference to it
            symbols.append(item())
            return symbols[-1]
        if kind == 255:
            return symbols[(flags >> 8) - 1]
        if kind == 9:  # one string
            length = integer()
            return None if length == -1 else take(length).decode("ascii")
        if kind == 2 and has_tag and not has_attributes:  # a pair list: name, value, the rest
            name, value = item(), item()
            return {name: value} | (item() or {})
        length = integer()
        if kind in (10, 13):  # logical and integer
            values: Any = np.frombuffer(take(4 * length), ">i4").astype(np.int32)
        elif kind == 14:
            values = np.frombuffer(take(8 * length), ">f8").astype(np.float64)
        elif kind in (16, 19):  # strings, and lists
            values = [item() for _ in range(length)]
        else:
            raise ValueError(f"R data of type {kind} are not decoded here")
        return Vector(values, item() if has_attributes else {})

    return item()


def _arrays(data: bytes, name: str, numbers: Mapping[str, int], dtype: type) -> dict:
    """Return features and labels of the data frame: numeric columns, and a factor as the last."""
    *columns, factor = read_rda(data)[name].values
    features = np.stack([column.values for column in columns], axis=1)
    whole = features.astype(dtype)
    if not np.array_equal(whole, features):
        raise SourceError(f"{name}: a value is not a whole number that {dtype.__name__} can hold")
    levels = [numbers[level] for level in factor.attributes["levels"].values]
    labels = np.array(levels, np.uint8)[factor.values - 1]
    return {"features": whole, "labels": labels}


def _rda(name: str, given: Path | None) -> bytes:
    """Return the verified and decompressed file."""
    member, digest = MLBENCH / f"{name}.rda", RDA_SHA256[name]
    installed = Path("/") / member
    if given or installed.is_file():
        packed = verified(given / member.name if given else installed, digest)
    else:
        with tempfile.TemporaryDirectory() as folder:
            packed = verified(debian("r-cran-mlbench", Path(folder)) / member, digest)
    return lzma.decompress(packed)
