"""Packed codes: their distances, and the file that holds a collection."""

from __future__ import annotations

import io
import math
import os
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from aebook._internal.checks import array, as_array, whole
from aebook._internal.contract import checked
from aebook._internal.files import replace
from aebook.hashing import check_bits, check_codes

__all__ = ["Neighbours", "hamming_distances"]

FORMAT = "aebook codes 1"


class Neighbours(NamedTuple):
    """Entries of an index, nearest first; of two at the same distance, the lower id first."""

    distances: NDArray[np.int32]
    """Hamming distances to the query, in differing bits."""
    ids: NDArray[np.int64]
    """Of the entries, in the same shape."""


@checked
def hamming_distances(
    queries: NDArray[np.uint8] | Tensor, codes: NDArray[np.uint8] | Tensor
) -> NDArray[np.int32]:
    r"""Differing bits of every pair, :math:`d_{qn} = \#\{j : b_{qj} \ne c_{nj}\}`.

    The bytes are joined by XOR, and the ones in the result are counted.

    Parameters
    ----------
    queries, codes
        Packed codes (Q, B) and (N, B), uint8.

    Returns
    -------
    ndarray
        (Q, N), int32. A stable ``argsort`` of it has the nearest first; :class:`FaissIndex` finds
        the nearest of many codes without this matrix.

    Examples
    --------
    >>> from aebook.applications.retrieval import hamming_distances, pack
    >>> hamming_distances(pack([[0, 0, 1]]), pack([[0, 0, 0], [1, 1, 1]]))
    array([[1, 2]], dtype=int32)
    """
    queries, codes = as_array(queries), as_array(codes)
    array("queries", queries, "(Q, B)", "uint8", empty=True, advice="use pack on bits")
    form = f"(N, {queries.shape[1]})"
    array("codes", codes, form, "uint8", empty=True, advice="use pack on bits")
    distances = np.zeros((len(queries), len(codes)), np.int32)
    pairs = list(zip(words(queries), words(codes), strict=True))
    # a few queries at a time: what is between XOR and count stays in the cache
    for first in range(0, len(queries), 16):
        for query, code in pairs:
            block = query[first : first + 16, None] ^ code
            distances[first : first + 16] += np.bitwise_count(block)
    return distances


def words(codes: NDArray[np.uint8]) -> NDArray[Any]:
    """Codes (N, B) as unsigned integers (w, N), the widest that fit: one integer up to 64 bits."""
    count, size = codes.shape
    width = min(8, 1 << max(size - 1, 0).bit_length())
    padded = np.zeros((count, -(-size // width) * width), np.uint8)
    padded[:, :size] = codes
    return np.ascontiguousarray(padded.view(f"<u{width}").T)


def check_ids(ids: Any, count: int | None = None) -> NDArray[np.int64]:
    """Ids as int64, if they are whole numbers and as many as there are codes."""
    ids = as_array(ids)
    if ids.size == 0:
        ids = ids.astype(np.int64)
    form = "(n,)" if count is None else f"({count},)"
    array("ids", ids, form, "integers", empty=True, advice="one for each code")
    if ids.dtype == np.uint64 and (ids > np.iinfo(np.int64).max).any():
        raise ValueError("got ids beyond 2**63 - 1, expected what fits into int64")
    return ids.astype(np.int64)


def new_ids(ids: Any, count: int, largest: int) -> NDArray[np.int64]:
    """Ids for new codes, without repeats; by default those after the largest so far."""
    if ids is None:
        first = max(largest, -1) + 1
        if first + count > np.iinfo(np.int64).max:
            raise ValueError(f"got no ids, but none are left after {largest}: give ids")
        return np.arange(first, first + count)
    ids = check_ids(ids, count)
    ordered = np.sort(ids)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(repeated):
        raise ValueError(f"got the id {repeated[0]} twice, expected each id once")
    return ids


def check_unknown(ids: NDArray[np.int64], held: NDArray[np.int64]) -> None:
    """Refuse ids that an index has already."""
    if (known := np.isin(ids, held)).any():
        raise ValueError(
            f"got the id {ids[known][0]}, which the index has already: remove it first"
        )


def check_k(k: int, count: int) -> int:
    """The number of neighbours as an int, if there are so many."""
    return whole("k", k, most=count, advice="add codes or ask for fewer neighbours")


def write(path: str | os.PathLike[str], bits: int, codes: NDArray[Any], ids: NDArray[Any]) -> None:
    """Write a collection: all of it, or nothing."""
    content: dict[str, Any] = {
        "format": np.array(FORMAT),
        "bits": np.array(bits),
        "codes": codes,
        "ids": ids,
    }
    replace(path, lambda file: np.savez(file, **content))


def read(path: str | os.PathLike[str]) -> tuple[int, NDArray[np.uint8], NDArray[np.int64]]:
    """Read what :func:`write` wrote: bits, codes and ids; no code in the file is run.

    Raises
    ------
    ValueError
        If the file is truncated, altered, or no collection of this version. Nothing larger than
        the file is made room for.
    """
    content = Path(path).read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            # nothing is compressed, so no array has memory that the file has not
            if sum(member.file_size for member in members) > len(content):
                raise zipfile.BadZipFile("more content than file")
            found = {m.filename.removesuffix(".npy"): _array(archive.read(m)) for m in members}
    except Exception as error:
        # what zipfile and numpy raise for bytes that are none of theirs may be anything
        raise ValueError(
            f"{path} cannot be read as codes: it is truncated, altered or something else. "
            "Build the index again and save it"
        ) from error
    version = str(found.get("format"))
    if version != FORMAT or found.keys() != {"format", "bits", "codes", "ids"}:
        raise ValueError(
            f"{path} has the format {version!r}, expected {FORMAT!r}: it is another program's or "
            "another version's. Build the index again and save it"
        )
    try:
        bits = check_bits(found["bits"].item())
        codes = check_codes(found["codes"], bits)
        ids = new_ids(found["ids"], len(codes), -1)
    except ValueError as error:
        raise ValueError(f"{path} is not what aebook writes: {error}") from error
    return bits, codes, ids


def _array(content: bytes) -> NDArray[Any]:
    """The array of an ``.npy`` file that has as many bytes as its shape says."""
    file = io.BytesIO(content)
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if min(shape, default=1) < 0 or file.tell() + math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError("another length than its shape says")
    file.seek(0)
    return np.load(file, allow_pickle=False)
