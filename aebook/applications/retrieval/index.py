r"""Retrieval by Hamming distance: a table of addresses, and the scan that it saves.

Semantic hashing (Salakhutdinov & Hinton 2009) uses a binary code as an address in memory. Messages
that are alike get codes that differ in few bits, so the neighbours of a query are found by flipping
bits of its address, however large the collection is:

.. math::

    \#\{\text{addresses within radius } r\} = \sum_{i=0}^{r} \binom{b}{i}

:class:`HammingIndex` is that table and, where it does not pay, an exhaustive scan by XOR and
population count. :class:`FaissIndex` has the same methods over faiss (``pip install
"aebook[scale]"``). Codes are packed: :func:`pack` and :func:`unpack`.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from aebook._internal.checks import as_array, whole
from aebook._internal.contract import checked
from aebook.applications.retrieval import scan as hamming_scan
from aebook.applications.retrieval import table
from aebook.applications.retrieval.codes import (
    Neighbours,
    check_ids,
    check_k,
    check_unknown,
    hamming_distances,
    new_ids,
    read,
    words,
    write,
)
from aebook.applications.retrieval.faiss import FaissIndex
from aebook.hashing import check_bits, check_codes, pack, unpack

__all__ = ["FaissIndex", "HammingIndex", "Neighbours", "hamming_distances", "pack", "unpack"]

# How many times dearer it is to fetch one code than to pass it by in a scan, addresses that are
# looked up at once, and codes that are; measured, and of no influence on results.
FETCH, CHUNK, LIMIT = 32, 2**16, 2**20


class HammingIndex:
    r"""A hash table of binary codes, exact at every radius and for every k.

    The address of a code is b of its p bits: all of them if the codes are short, else as many as
    make about one address for each of the N codes, :math:`2^b \le 1.2\,N`. A table over all bits of
    a long code would be almost all empty. A code within radius r of a query has an address within
    radius r of the query's. So :meth:`within` flips up to r bits of the address, collects the
    entries there and keeps those whose whole code is within r.

    The bits that make up the address are those that differ most often between two codes: one that
    all codes share would leave half of the table empty. They are chosen anew each time the
    collection has doubled or halved.

    Memory is 4 bytes for each address, 8 for each id, and the codes as integers of 1, 2, 4 or a
    multiple of 8 bytes. Scans use ``torch.get_num_threads()`` threads.

    Parameters
    ----------
    bits
        p, the length of the codes.
    address_bits
        b, from 1 to 30 and at most ``bits``, if it should be another. With b = p the table is that
        of the paper to the letter.

    Examples
    --------
    >>> index = HammingIndex(3)
    >>> index.add(pack([[0, 0, 0], [0, 0, 1], [1, 1, 1]]))
    >>> index.search(pack([[0, 0, 1]]), k=2)
    Neighbours(distances=array([[0, 1]], dtype=int32), ids=array([[1, 0]]))
    """

    @checked
    def __init__(self, bits: int, address_bits: int | None = None) -> None:
        self.bits = check_bits(bits)
        most = min(self.bits, 30)
        if address_bits is not None:
            whole("address_bits", address_bits, most=most)
        self._fixed = address_bits
        # in the order of their addresses: entry n has the code _words[:, n] and the id _ids[n]
        self._words = words(np.zeros((0, -(-self.bits // 8)), np.uint8))
        self._ids = np.zeros(0, np.int64)
        self._largest = -1
        # address a holds the entries from _starts[a] to _starts[a + 1]
        self._starts = np.zeros(2, np.int32)
        self._picked = np.zeros(0, np.int64)
        self._level = 0
        # what was added and is not in the table yet
        self._added: list[tuple[NDArray[Any], NDArray[np.int64]]] = []

    def __len__(self) -> int:
        return len(self._ids) + sum(len(ids) for _, ids in self._added)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the codes, their ids and the table take."""
        self._settle()
        return self._words.nbytes + self._ids.nbytes + self._starts.nbytes + self._picked.nbytes

    @property
    def picked_bits(self) -> NDArray[np.int64]:
        """Which b of the p bits make up the address, ascending."""
        self._settle()
        return self._picked.copy()

    @checked
    def add(self, codes: NDArray[np.uint8] | Tensor, ids: NDArray[Any] | None = None) -> None:
        """Add packed codes, (N, ⌈bits/8⌉).

        ``ids`` are N different integers that the index does not have; by default those after the
        largest that it has, from 0 on. Additions enter the table together at the next question.
        """
        codes = check_codes(codes, self.bits)
        ids = new_ids(ids, len(codes), self._largest)
        if len(ids) == 0:
            return
        if ids.min() <= self._largest:
            self._settle()
            check_unknown(ids, self._ids)
        self._added.append((words(codes), ids))
        self._largest = max(self._largest, int(ids.max()))

    @checked
    def remove(self, ids: NDArray[Any]) -> int:
        """Remove the entries with these ids, and return how many there were."""
        ids = check_ids(ids)
        self._settle()
        gone = np.isin(self._ids, ids)
        if gone.any():
            address = table.addresses_of(self._words.compress(gone, axis=1), self._picked)
            self._words, self._ids, self._starts = (
                self._words.compress(~gone, axis=1),
                self._ids[~gone],
                table.moved(self._starts, address, -1),
            )
            self._largest = int(self._ids.max(initial=-1))
            self._settle()
        return int(gone.sum())

    @checked
    def search(self, queries: NDArray[np.uint8] | Tensor, k: int) -> Neighbours:
        """The k nearest entries of each query, exactly.

        Queries with k entries within radius 2 are answered by the table, the others by a scan.

        Returns
        -------
        Neighbours
            Distances and ids, (Q, k). Of the entries at the k-th distance, those with the lowest
            ids are taken.
        """
        queries, k = words(check_codes(queries, self.bits)), check_k(k, len(self))
        found = self._by_table(queries, 2)
        left = [row for row, near in enumerate(found) if near is None or len(near.ids) < k]
        rest = hamming_scan.nearest(self._words, self._ids, queries[:, left], k)
        for row, near in zip(left, rest, strict=True):
            found[row] = near
        return Neighbours(
            np.array([near.distances[:k] for near in found], np.int32).reshape(-1, k),
            np.array([near.ids[:k] for near in found], np.int64).reshape(-1, k),
        )

    @checked
    def within(self, queries: NDArray[np.uint8] | Tensor, radius: int) -> list[Neighbours]:
        """All entries within ``radius`` of each query, nearest first, by the table.

        The number of addresses grows like a power of the radius. Where they and what they hold
        would cost more than a look at all codes, that look is taken: the result is the same.

        Returns
        -------
        list of Neighbours
            One a query, with distances and ids (M,); M may be 0.
        """
        queries, radius = words(check_codes(queries, self.bits)), whole("radius", radius, least=0)
        found = self._by_table(queries, radius)
        left = [row for row, near in enumerate(found) if near is None]
        rest = hamming_scan.within(self._words, self._ids, queries[:, left], radius)
        for row, near in zip(left, rest, strict=True):
            found[row] = near
        return found

    @checked
    def scan(self, queries: NDArray[np.uint8] | Tensor, radius: int) -> list[Neighbours]:
        """The same as :meth:`within`, by a look at all codes."""
        queries, radius = words(check_codes(queries, self.bits)), whole("radius", radius, least=0)
        self._settle()
        return hamming_scan.within(self._words, self._ids, queries, radius)

    @checked
    def addresses(self, code: NDArray[np.uint8] | Tensor, radius: int) -> NDArray[np.int64]:
        r"""Addresses within ``radius`` of that of one packed code, (⌈bits/8⌉,): its own first.

        There are :math:`\sum_{i \le r} \binom{b}{i}` of them, in the order of flipped bits. Bit i
        of an address is bit ``picked_bits[i]`` of the code.
        """
        word = words(check_codes(as_array(code)[None], self.bits))
        self._settle()
        return table.addresses_of(word, self._picked) ^ table.flips_within(
            len(self._picked), whole("radius", radius, least=0)
        )

    @checked
    def bucket(self, address: int) -> NDArray[np.int64]:
        """Ids of the entries at an address, ascending."""
        self._settle()
        address = whole("address", address, least=0, most=len(self._starts) - 2)
        return np.sort(self._ids[self._starts[address] : self._starts[address + 1]])

    def buckets(self) -> NDArray[np.int32]:
        """How many entries each address has: (2**b,)."""
        self._settle()
        return np.diff(self._starts)

    @checked
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write codes and ids to one file, as a whole or not at all."""
        self._settle()
        codes = np.ascontiguousarray(self._words.T).view(np.uint8)[:, : -(-self.bits // 8)]
        write(path, self.bits, codes, self._ids)

    @classmethod
    @checked
    def load(cls, path: str | os.PathLike[str]) -> HammingIndex:
        """Read what :meth:`save` wrote; a file that is truncated or altered is refused.

        The file holds codes and ids; their table has as many bits of address as is usual.
        """
        bits, codes, ids = read(path)
        index = cls(bits)
        index.add(codes, ids)
        return index

    def _settle(self) -> None:
        """Bring what was added into the table, and the table to the size of the collection."""
        if not self._added and table.level_of(len(self._ids)) == self._level:
            return
        codes = np.concatenate([self._words[:, :0], *(w for w, _ in self._added)], axis=1)
        ids = np.concatenate([self._ids[:0], *(i for _, i in self._added)])
        before = self._words, self._ids, self._starts, self._picked
        level = table.level_of(len(self._ids) + len(ids))
        if level != self._level:
            # another table, which all entries enter anew
            codes, ids = np.append(self._words, codes, axis=1), np.append(self._ids, ids)
            b = self._fixed or min(self.bits, 30, max(level - 1, 0))
            starts = np.zeros(2**b + 1, np.int32 if level < 32 else np.int64)
            before = codes[:, :0], ids[:0], starts, table.most_balanced(codes, self.bits, b)
        held, held_ids, starts, picked = before
        address = table.addresses_of(codes, picked)
        order = np.argsort(address, kind="stable")
        at = starts[address[order] + 1]
        # all at once, so that an interruption leaves the index as it was
        self._words, self._ids, self._starts, self._picked, self._level, self._added = (
            np.insert(held, at, codes.take(order, axis=1), axis=1),
            np.insert(held_ids, at, ids[order]),
            table.moved(starts, address, 1),
            picked,
            level,
            [],
        )

    def _by_table(self, queries: NDArray[Any], radius: int) -> list[Any]:
        """Entries within the radius of each query; None where a scan would be cheaper."""
        self._settle()
        count, b = len(self._ids), len(self._picked)
        found: list[Neighbours | None] = [None] * queries.shape[1]
        size = sum(math.comb(b, i) for i in range(min(radius, b) + 1))
        if FETCH * size > count:
            return found
        own, flips = table.addresses_of(queries, self._picked), table.flips_within(b, radius)
        step = max(1, CHUNK // size)
        for first in range(0, len(found), step):
            addresses = own[first : first + step, None] ^ flips
            begins = self._starts.take(addresses)
            sizes = self._starts.take(addresses + 1) - begins
            totals = sizes.sum(axis=1)
            cheap = np.flatnonzero(FETCH * (size + totals) <= count)
            # where many queries have many entries, few at once
            edges = np.flatnonzero(np.diff(np.cumsum(totals[cheap]) // LIMIT)) + 1
            for rows in np.split(cheap, edges):
                each = self._entries(queries[:, first + rows], begins[rows], sizes[rows], radius)
                for row, near in zip((first + rows).tolist(), each, strict=True):
                    found[row] = near
        return found

    def _entries(
        self, queries: NDArray[Any], begins: NDArray[Any], sizes: NDArray[Any], radius: int
    ) -> list[Neighbours]:
        """The entries within the radius at some addresses of each query, (Q, A)."""
        totals, begins, sizes = sizes.sum(axis=1), begins.ravel(), sizes.ravel()
        ends = np.cumsum(sizes, dtype=sizes.dtype)
        # begin, begin + 1, ..., begin + size - 1 of one address after the other
        at = np.repeat(begins - (ends - sizes), sizes) + np.arange(totals.sum(), dtype=ends.dtype)
        asking = np.repeat(queries, totals, axis=1)
        distances = hamming_scan.distances_to(asking, self._words.take(at, axis=1))
        near = np.flatnonzero(distances <= radius)
        rows = np.searchsorted(np.cumsum(totals), near, side="right")
        return hamming_scan.split(rows, distances[near], self._ids[at[near]], len(totals))
