"""R's data files, decoded: what plain data frames are made of, and nothing else.

The format is R's serialization in big-endian binary ("R Internals", section 1.8), versions 2 and
3. The Python package `rdata` reads all of it, but needs pandas and xarray; these few lines read
what plain data frames are made of, and refuse the rest.
"""

import bz2
import gzip
import lzma
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Vector(NamedTuple):
    """A vector of R: its values, and its attributes by name."""

    values: Any
    attributes: Mapping[str, Any]


def read_rda(data: bytes) -> Any:
    """Decode the objects that R's ``save`` wrote, by name: vectors, lists, factors, data frames.

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
    return unserialize(data[5:])


def read_lazy(index: bytes, store: bytes, name: str) -> Any:
    """Decode one object of a package's lazy-load data base, the files ``.rdx`` and ``.rdb``.

    The index gives each object's place and length in the store. What lies there is a length in
    four bytes, a letter that says how the rest is compressed, and the rest.

    Parameters
    ----------
    index, store
        The two files.
    name
        Of the object.

    Raises
    ------
    ValueError
        If the files are not such a data base, or there is no such object.
    """
    try:
        variables, *_ = unserialize(gzip.decompress(index)).values
        places = dict(zip(variables.attributes["names"].values, variables.values, strict=True))
    except (OSError, AttributeError, KeyError, zlib.error) as error:
        raise ValueError(f"not the index of a lazy-load data base: {error}") from error
    if name not in places:
        raise ValueError(f"the index has no {name}, but {', '.join(places)}")
    start, count = places[name].values
    size, kind = struct.unpack(">IB", store[start : start + 5])
    unpack: Mapping[int, Callable[[bytes], bytes]] = {
        ord("2"): bz2.decompress,
        ord("Z"): lambda packed: lzma.decompress(packed, lzma.FORMAT_RAW, filters=_FILTERS),
    }
    rest = store[start + 5 : start + count] if kind in unpack else store[start + 4 : start + count]
    content = unpack.get(kind, zlib.decompress)(rest)
    if len(content) != size:
        raise ValueError(f"{name} should have {size} bytes, but there are {len(content)}")
    return unserialize(content)


#: R writes raw LZMA2 streams at its strongest setting.
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]


def unserialize(data: bytes) -> Any:
    """Decode what R's ``serialize`` wrote in binary.

    Parameters
    ----------
    data
        Decompressed, from ``X`` and a line feed on.

    Raises
    ------
    ValueError
        If it is not that, or contains an object that is not decoded here.
    """
    version = int.from_bytes(data[2:6], "big")
    if data[:2] != b"X\n" or version not in (2, 3):
        raise ValueError(f"not serialized by R, version 2 or 3: it starts with {data[:6]!r}")
    position = 14  # after the version of the format and two versions of R
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
            return None if length == -1 else take(length).decode("utf-8")
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

    if version == 3:
        take(integer())  # the name of the native encoding
    return item()
