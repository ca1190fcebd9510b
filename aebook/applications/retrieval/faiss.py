"""The interface of :class:`aebook.applications.retrieval.index.HammingIndex` over faiss."""

from __future__ import annotations

import math
import os
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from aebook._internal.checks import need, whole
from aebook._internal.contract import checked
from aebook.applications.retrieval.codes import (
    Neighbours,
    check_ids,
    check_k,
    check_unknown,
    new_ids,
    read,
    write,
)
from aebook.applications.retrieval.scan import split
from aebook.hashing import check_bits, check_codes

__all__ = ["FaissIndex"]

Kind = Literal["flat", "multi_hash"]


class FaissIndex:
    """Binary codes in faiss, exact at every radius and for every k.

    Distances are those of :class:`HammingIndex`, and so is what :meth:`within` finds. Of several
    entries at the k-th distance, :meth:`search` returns those that faiss comes to first. faiss
    uses as many threads as ``faiss.omp_set_num_threads`` says.

    Parameters
    ----------
    bits
        p, the length of the codes.
    kind
        "flat": every question is an exhaustive scan by ``IndexBinaryFlat``. "multi_hash": beside
        it, ``IndexBinaryMultiHash`` has a table for each third, say, of a code of 64 bits (the
        parts have at most 24). A code within radius 8 of a query is within 2 in one of them, so
        :meth:`within` is fast at radii where flipping bits of the whole code is not; the tables
        take about 250 bytes a code.

    Raises
    ------
    ImportError
        Without faiss: ``pip install "aebook[scale]"``.

    Examples
    --------
    >>> from aebook.applications.retrieval import FaissIndex, pack
    >>> index = FaissIndex(3)
    >>> index.add(pack([[0, 0, 0], [0, 0, 1], [1, 1, 1]]))
    >>> index.search(pack([[0, 0, 1]]), k=2)
    Neighbours(distances=array([[0, 1]], dtype=int32), ids=array([[1, 0]]))
    """

    @checked
    def __init__(self, bits: int, kind: Kind = "flat") -> None:
        self.bits, self.kind = check_bits(bits), kind
        faiss = need("faiss", "faiss", "scale")
        size = -(-self.bits // 8) * 8
        if kind == "flat":
            self._index = self._flat = faiss.IndexBinaryFlat(size)
        else:
            tables = -(-size // 24)
            self._index = faiss.IndexBinaryMultiHash(size, tables, size // tables)
            self._flat = self._index.storage
        self._as_array = faiss.vector_to_array
        self._ids = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._ids)

    @checked
    def add(self, codes: NDArray[np.uint8] | Tensor, ids: NDArray[Any] | None = None) -> None:
        """As :meth:`HammingIndex.add`."""
        codes = check_codes(codes, self.bits)
        ids = new_ids(ids, len(codes), int(self._ids.max(initial=-1)))
        check_unknown(ids, self._ids)
        self._index.add(np.ascontiguousarray(codes))
        self._ids = np.append(self._ids, ids)

    @checked
    def remove(self, ids: NDArray[Any]) -> int:
        """As :meth:`HammingIndex.remove`; faiss' index is built again from what is left."""
        gone = np.isin(self._ids, check_ids(ids))
        if gone.any():
            codes = self._codes()[~gone]
            self._index.reset()
            self._index.add(codes)
            self._ids = self._ids[~gone]
        return int(gone.sum())

    @checked
    def search(self, queries: NDArray[np.uint8] | Tensor, k: int) -> Neighbours:
        """As :meth:`HammingIndex.search`, but for ties at the k-th distance."""
        queries, k = check_codes(queries, self.bits), check_k(k, len(self))
        distances, at = self._flat.search(np.ascontiguousarray(queries), k)
        ids = self._ids[at]
        order = np.lexsort((ids, distances))
        return Neighbours(
            np.take_along_axis(distances, order, axis=1), np.take_along_axis(ids, order, axis=1)
        )

    @checked
    def within(self, queries: NDArray[np.uint8] | Tensor, radius: int) -> list[Neighbours]:
        """As :meth:`HammingIndex.within`."""
        queries, radius = check_codes(queries, self.bits), whole("radius", radius, least=0)
        index = self._flat
        if self.kind == "multi_hash":
            tables, b = self._index.nhash, self._index.b
            flips = min(radius // tables, b)
            # addresses and the entries there cost some hundred times what a scan does for a code
            looks = tables * sum(math.comb(b, i) for i in range(flips + 1))
            if 512 * looks * (1 + len(self) / 2**b) <= len(self):
                index, self._index.nflip = self._index, flips
        # faiss' radius is one beyond
        limits, distances, at = index.range_search(
            np.ascontiguousarray(queries), min(radius, self.bits) + 1
        )
        rows = np.repeat(np.arange(len(queries)), np.diff(limits.astype(np.int64)))
        return split(rows, distances, self._ids[at], len(queries))

    @checked
    def save(self, path: str | os.PathLike[str]) -> None:
        """As :meth:`HammingIndex.save`, to the same kind of file: either loads the other's."""
        write(path, self.bits, self._codes(), self._ids)

    @classmethod
    @checked
    def load(cls, path: str | os.PathLike[str], kind: Kind = "flat") -> FaissIndex:
        """As :meth:`HammingIndex.load`."""
        bits, codes, ids = read(path)
        index = cls(bits, kind)
        index.add(codes, ids)
        return index

    def _codes(self) -> NDArray[np.uint8]:
        return self._as_array(self._flat.xb).reshape(len(self), -(-self.bits // 8))
