"""Retrieval of binary codes by `FaissIndex`: what it adds to faiss, and what its tables save.

Two collections: random codes, and clusters of about a hundred codes that differ from their
centre in 5 % of their bits, as similar messages do behind a hasher. The contestants take turns in
one process, and the table shows medians of all queries together; on one thread the clock counts the
processor's time. The script stops if two of them find different things.

    python benchmarks/retrieval.py [--codes 1000000] [--queries 1000] [--k 10] [--rounds 5]
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import gc
import sys

import faiss
import numpy as np
from measure import Row, arguments, medians, report, rounded, status, turns
from numpy.typing import NDArray

from aebook.applications.retrieval import FaissIndex, hamming_distances, pack

Codes = NDArray[np.uint8]


def random(rng: np.random.Generator, options: argparse.Namespace) -> tuple[Codes, Codes]:
    """Codes and queries of independent bits."""
    shape = (options.codes + options.queries, options.bits // 8)
    drawn = rng.integers(0, 256, shape, dtype=np.uint8)
    return drawn[: options.codes].copy(), drawn[options.codes :].copy()


def clustered(rng: np.random.Generator, options: argparse.Namespace) -> tuple[Codes, Codes]:
    """Codes and queries near the same centres."""
    count = options.codes + options.queries
    centres = rng.integers(0, 256, (max(1, count // 100), options.bits // 8), dtype=np.uint8)
    drawn = centres[rng.integers(0, len(centres), count)]
    for part in np.array_split(drawn, 1 + count // 100_000):
        part ^= pack(rng.random((len(part), options.bits)) < 0.05)
    return drawn[: options.codes].copy(), drawn[options.codes :].copy()


def resident() -> int:
    """Bytes of memory that the process occupies; 0 where the system does not tell."""
    gc.collect()
    if sys.platform == "linux":
        # what was freed goes back to the system first, if this is glibc
        getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None)(0)
    return status("VmRSS")


def check(flat: FaissIndex, multi: FaissIndex, queries: Codes, codes: Codes, radius: int) -> int:
    """Compare what the contestants find within a radius; the number of entries."""
    found = flat.within(queries, radius), multi.within(queries, radius)
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a.ids, b.ids)
        np.testing.assert_array_equal(a.distances, b.distances)
    for near, distances in zip(found[0], hamming_distances(queries[:10], codes), strict=False):
        np.testing.assert_array_equal(np.sort(near.ids), np.flatnonzero(distances <= radius))
    return sum(len(near.ids) for near in found[0])


def measure(kind: str, codes: Codes, queries: Codes, options: argparse.Namespace) -> list[Row]:
    """Times and memory of one collection."""
    indexes, rows, packed = {}, [], (codes.nbytes + 8 * len(codes)) / 1e6
    for name in ("flat", "multi_hash"):
        before = resident()
        indexes[name] = FaissIndex(options.bits, name)
        indexes[name].add(codes)
        grown = (resident() - before) / 1e6
        rows.append((f"memory, {name} against codes and ids", "MB", grown, packed))
    flat, multi = indexes["flat"], indexes["multi_hash"]
    bare = faiss.IndexBinaryFlat(options.bits)
    bare.add(codes)
    for k in options.k:
        np.testing.assert_array_equal(flat.search(queries, k).distances, bare.search(queries, k)[0])
        work = {
            "ours": functools.partial(flat.search, queries, k),
            "faiss": functools.partial(bare.search, queries, k),
        }
        ms = medians(turns(work, options.rounds), 1e-3)
        rows.append((f"{k} nearest, flat against faiss itself", "ms", ms["ours"], ms["faiss"]))
    for radius in options.radius:
        hits = check(flat, multi, queries, codes, radius)
        work = {
            "multi": functools.partial(multi.within, queries, radius),
            "flat": functools.partial(flat.within, queries, radius),
        }
        ms = medians(turns(work, options.rounds), 1e-3)
        what = f"within {radius} ({hits} entries), multi_hash against flat"
        rows.append((what, "ms", ms["multi"], ms["flat"]))
    return [
        {
            "codes": kind,
            "what": what,
            "unit": unit,
            "FaissIndex": rounded(ours),
            "rival": rounded(theirs),
            "ratio": rounded(ours / theirs),
        }
        for what, unit, ours, theirs in rows
    ]


def main() -> None:
    """Measure both collections."""
    options = arguments(
        __doc__,
        codes=1_000_000,
        queries=1000,
        bits=64,
        rounds=5,
        k=[1, 10, 100],
        radius=[1, 2, 4, 8],
    )
    faiss.omp_set_num_threads(options.threads)
    rows = []
    for make in (random, clustered):
        data = make(np.random.default_rng(0), options)
        rows += measure(make.__name__, *data, options)
    report("retrieval", rows, options, faiss=faiss.__version__, numpy=np.__version__)


if __name__ == "__main__":
    main()
