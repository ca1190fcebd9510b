r"""Retrieval by Hamming distance: the nearest of many codes, by faiss.

Semantic hashing (Salakhutdinov & Hinton 2009) uses a binary code as an address in memory. Messages
that are alike get codes that differ in few bits, so the neighbours of a query are found by flipping
bits of its address, however large the collection is:

.. math::

    \#\{\text{addresses within radius } r\} = \sum_{i=0}^{r} \binom{p}{i}

With long codes nearly all addresses are empty, and there are too many of them. An index cuts the
codes into parts then, each with a table of its own (Norouzi et al. 2012). Where that does not pay
either, XOR and a count of ones for all codes do. :class:`FaissIndex` knows both
(``pip install "aebook[scale]"``). For a few thousand codes :func:`hamming_distances` is enough.
Codes are packed: :func:`aebook.hashing.pack`.
"""

from __future__ import annotations

import math
import os
from itertools import pairwise
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
from aebook.hashing import check_bits, check_codes

__all__ = ["FaissIndex"]

Kind = Literal["flat", "multi_hash"]

# How many times dearer it is to look at an address, or at an entry there, than to pass a code by
# in a scan; measured, and of no influence on results.
LOOK = 2048


class FaissIndex:
    """Binary codes in faiss, exact at every radius and for every k.

    faiss uses as many threads as ``faiss.omp_set_num_threads`` says.

    Parameters
    ----------
    bits
        p, the length of the codes.
    kind
        "flat": every question is an exhaustive scan by ``IndexBinaryFlat``, and memory is what
        codes and ids take. "multi_hash": beside it, ``IndexBinaryMultiHash`` has a table for each
        third, say, of a code of 64 bits (the parts have at most 24). A code within radius 8 of a
        query is within 2 in one of them, so :meth:`within` looks at few codes where the radius is
        small; the tables take up to some 230 bytes a code.

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
        """Add packed codes, (N, ⌈bits/8⌉).

        ``ids`` are N different integers that the index does not have; by default those after the
        largest that it has, from 0 on.
        """
        codes = check_codes(codes, self.bits)
        ids = new_ids(ids, len(codes), int(self._ids.max(initial=-1)))
        check_unknown(ids, self._ids)
        self._index.add(np.ascontiguousarray(codes))
        self._ids = np.append(self._ids, ids)

    @checked
    def remove(self, ids: NDArray[Any]) -> int:
        """Remove the entries with these ids, and return how many there were.

        faiss' index is built again from what is left.
        """
        gone = np.isin(self._ids, check_ids(ids))
        if gone.any():
            codes = self._codes()[~gone]
            self._index.reset()
            self._index.add(codes)
            self._ids = self._ids[~gone]
        return int(gone.sum())

    @checked
    def search(self, queries: NDArray[np.uint8] | Tensor, k: int) -> Neighbours:
        """The k nearest entries of each query, exactly, by a scan.

        Returns
        -------
        Neighbours
            Distances and ids, (Q, k). Of the entries at the k-th distance, those that were added
            first are taken.
        """
        queries, k = check_codes(queries, self.bits), check_k(k, len(self))
        distances, at = self._flat.search(np.ascontiguousarray(queries), k)
        ids = self._ids[at]
        order = np.lexsort((ids, distances))
        return Neighbours(
            np.take_along_axis(distances, order, axis=1), np.take_along_axis(ids, order, axis=1)
        )

    @checked
    def within(self, queries: NDArray[np.uint8] | Tensor, radius: int) -> list[Neighbours]:
        """All entries within ``radius`` of each query, nearest first.

        The number of addresses grows like a power of the radius. Where they and what they hold
        would cost more than a look at all codes, that look is taken: the result is the same.

        Returns
        -------
        list of Neighbours
            One a query, with distances and ids (M,); M may be 0.
        """
        queries, radius = check_codes(queries, self.bits), whole("radius", radius, least=0)
        index = self._flat
        if self.kind == "multi_hash":
            tables, b = self._index.nhash, self._index.b
            flips = min(radius // tables, b)
            looks = tables * sum(math.comb(b, i) for i in range(flips + 1))
            if LOOK * looks * (1 + len(self) / 2**b) <= len(self):
                index, self._index.nflip = self._index, flips
        # faiss' radius is one beyond
        limits, distances, at = index.range_search(
            np.ascontiguousarray(queries), min(radius, self.bits) + 1
        )
        limits, ids = limits.astype(np.int64), self._ids[at]
        rows = np.repeat(np.arange(len(queries)), np.diff(limits))
        order = np.lexsort((ids, distances, rows))
        distances, ids = distances[order].astype(np.int32), ids[order]
        return [Neighbours(distances[a:b], ids[a:b]) for a, b in pairwise(limits.tolist())]

    @checked
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write codes and ids to one file, as a whole or not at all."""
        write(path, self.bits, self._codes(), self._ids)

    @classmethod
    @checked
    def load(cls, path: str | os.PathLike[str], kind: Kind = "flat") -> FaissIndex:
        """Read what :meth:`save` wrote; a file that is truncated or altered is refused.

        The file holds codes and ids, and an index of either kind is made of them.
        """
        bits, codes, ids = read(path)
        index = cls(bits, kind)
        index.add(codes, ids)
        return index

    def _codes(self) -> NDArray[np.uint8]:
        return self._as_array(self._flat.xb).reshape(len(self), -(-self.bits // 8))
