r"""Exhaustive search of binary codes by XOR and population count, exact and in little memory.

The codes are integers (w, N) of :func:`aebook.applications.retrieval.codes.words`: word i of all
codes is row i. Queries, (w, Q), are shared among ``torch.get_num_threads()`` threads.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aebook.applications.retrieval.codes import Neighbours

__all__ = ["distances_to", "nearest", "split", "within"]

# Queries and codes whose XOR stays in the cache, groups for each of k neighbours, and groups that
# share one least distance where the k-th is bounded; measured, and of no influence on results.
TILE, BLOCK, SPREAD, MERGE = 12, 10 * 2**10, 192, 4


def within(
    codes: NDArray[Any], ids: NDArray[np.int64], queries: NDArray[Any], radius: int
) -> list[Neighbours]:
    """All entries within the radius of each query.

    Examples
    --------
    >>> from aebook.applications.retrieval.scan import within
    >>> codes, ids = np.array([[0, 1, 3, 7]], np.uint64), np.arange(4)
    >>> within(codes, ids, np.array([[0]], np.uint64), radius=1)[0].ids.tolist()
    [0, 1]
    """

    def look(query: NDArray[Any], least: NDArray[Any]) -> Neighbours:
        return _ordered(*_at_most(codes, ids, query, least, radius))

    return _each(look, codes, queries, BLOCK)


def nearest(
    codes: NDArray[Any], ids: NDArray[np.int64], queries: NDArray[Any], k: int
) -> list[Neighbours]:
    """The k nearest entries of each query.

    Examples
    --------
    >>> from aebook.applications.retrieval.scan import nearest
    >>> codes, ids = np.array([[0, 1, 3, 7]], np.uint64), np.arange(4)
    >>> nearest(codes, ids, np.array([[7]], np.uint64), k=2)[0].ids.tolist()
    [3, 2]
    """

    def look(query: NDArray[Any], least: NDArray[Any]) -> Neighbours:
        merged = least[: len(least) // MERGE * MERGE].reshape(MERGE, -1).min(axis=0)
        if k <= len(merged):
            # each of k groups has an entry at most this far
            bound = int(np.cumsum(np.bincount(merged)).searchsorted(k))
        else:
            bound = np.iinfo(np.int32).max
        return _first(*_at_most(codes, ids, query, least, bound), k)

    return _each(look, codes, queries, max(BLOCK, SPREAD * k))


def distances_to(queries: NDArray[Any], codes: NDArray[Any]) -> NDArray[Any]:
    """Distances of codes (w, N) to one query (w, 1), or to one query each (w, N).

    Examples
    --------
    >>> from aebook.applications.retrieval.scan import distances_to
    >>> distances_to(np.array([[0]], np.uint64), np.array([[0, 1, 3, 7]], np.uint64)).tolist()
    [0, 1, 2, 3]
    """
    total = np.bitwise_count(queries[0] ^ codes[0])
    if len(codes) > 1:
        total = total.astype(np.int32)
    for query, code in zip(queries[1:], codes[1:], strict=True):
        total += np.bitwise_count(query ^ code)
    return total


def split(
    rows: NDArray[np.int64], distances: NDArray[Any], ids: NDArray[np.int64], count: int
) -> list[Neighbours]:
    """The entries of ``count`` queries, from one list that has the query of each entry.

    Examples
    --------
    >>> from aebook.applications.retrieval.scan import split
    >>> found = split(np.array([1, 0, 1]), np.array([5, 2, 4]), np.array([7, 8, 9]), count=2)
    >>> [entries.ids.tolist() for entries in found]
    [[8], [9, 7]]
    """
    order = np.lexsort((ids, distances, rows))
    distances, ids = distances[order].astype(np.int32), ids[order]
    limits = np.searchsorted(rows[order], np.arange(count + 1)).tolist()
    return [Neighbours(distances[a:b], ids[a:b]) for a, b in pairwise(limits)]


def _each(
    look: Callable[[NDArray[Any], NDArray[Any]], Neighbours],
    codes: NDArray[Any],
    queries: NDArray[Any],
    block: int,
) -> list[Neighbours]:
    """What ``look`` makes of each query (w, 1) and the least distance of each group to it.

    Group j has the entries j, j + block, j + 2 block, ... One pass over the codes, which never
    leaves the cache, yields the least of all groups; only a few of these need a second look.
    """
    count, rows = codes.shape[1], max(1, TILE * BLOCK // block)
    block = max(1, min(block, count))
    furthest = 8 * codes.itemsize * len(codes)
    found: list[Any] = [None] * queries.shape[1]

    def part(some: NDArray[np.int64]) -> None:
        xor, ones = np.empty((rows, block), codes.dtype), np.empty((rows, block), np.uint8)
        sums, least = np.empty((2, rows, block), np.min_scalar_type(furthest))
        for tile in np.split(some, range(rows, len(some), rows)):
            own = queries[:, tile, None]
            least.fill(furthest)
            buffers = [buffer[: len(tile)] for buffer in (xor, ones, sums, least)]
            for start in range(0, count, block):
                piece = codes[:, start : start + block]
                if piece.shape[1] < block:
                    buffers = [buffer[:, : piece.shape[1]] for buffer in buffers]
                different, more, distances, lowest = buffers
                np.bitwise_xor(own[0], piece[0], out=different)
                np.bitwise_count(different, out=distances)
                for query, code in zip(own[1:], piece[1:], strict=True):
                    np.bitwise_xor(query, code, out=different)
                    distances += np.bitwise_count(different, out=more)
                np.minimum(lowest, distances, out=lowest)
            for row, nearest_of in zip(tile.tolist(), least, strict=False):
                found[row] = look(queries[:, row, None], nearest_of)

    # a thread is worth its start from some millions of distances on
    threads = min(torch.get_num_threads(), len(found), 1 + (count * len(found) >> 22))
    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(part, np.array_split(np.arange(len(found)), threads)))
    else:
        part(np.arange(len(found)))
    return found


def _at_most(
    codes: NDArray[Any],
    ids: NDArray[np.int64],
    query: NDArray[Any],
    least: NDArray[Any],
    bound: int,
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Distances and ids of the entries within a bound, given the least of each group."""
    groups = np.flatnonzero(least <= bound)
    if 8 * len(groups) > len(least):
        # to fetch so many codes one by one would take longer than another pass
        distances = distances_to(query, codes)
        near = np.flatnonzero(distances <= bound)
        return distances[near], ids[near]
    at = (groups + np.arange(0, len(ids), len(least))[:, None]).ravel()
    at = at[at < len(ids)]
    distances = distances_to(query, codes.take(at, axis=1))
    near = distances <= bound
    return distances[near], ids[at[near]]


def _first(distances: NDArray[Any], ids: NDArray[np.int64], k: int) -> Neighbours:
    """The k first by distance and id; of what is further, nothing is sorted."""
    if len(ids) > k:
        last = np.partition(distances, k - 1)[k - 1]
        closer = distances < last
        ties = np.sort(ids[distances == last])[: k - np.count_nonzero(closer)]
        distances = np.concatenate([distances[closer], np.full(len(ties), last)])
        ids = np.concatenate([ids[closer], ties])
    return _ordered(distances, ids)


def _ordered(distances: NDArray[Any], ids: NDArray[np.int64]) -> Neighbours:
    order = np.lexsort((ids, distances))
    return Neighbours(distances[order].astype(np.int32), ids[order])
