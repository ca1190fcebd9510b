"""Retrieval of binary codes: `HammingIndex` against faiss' scan and its tables, in time and memory.

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

from aebook.applications.retrieval import FaissIndex, HammingIndex, pack

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


def check(index: HammingIndex, flat: faiss.IndexBinaryFlat, queries: Codes, k: int) -> int:
    """Compare what the contestants find; the number of entries within radius 2."""
    np.testing.assert_array_equal(index.search(queries, k).distances, flat.search(queries, k)[0])
    limits, distances, ids = flat.range_search(queries, 3)
    by_table, by_scan = index.within(queries, 2), index.scan(queries, 2)
    for row, (a, b) in enumerate(zip(by_table, by_scan, strict=True)):
        some = slice(int(limits[row]), int(limits[row + 1]))
        order = np.lexsort((ids[some], distances[some]))
        for found in (a, b):
            np.testing.assert_array_equal(found.ids, ids[some][order])
            np.testing.assert_array_equal(found.distances, distances[some][order])
    return int(limits[-1])


def measure(kind: str, codes: Codes, queries: Codes, options: argparse.Namespace) -> list[Row]:
    """Times and memory of one collection."""
    before = resident()
    index = HammingIndex(options.bits)
    index.add(codes)
    size = index.nbytes
    grown = resident() - before
    flat = faiss.IndexBinaryFlat(options.bits)
    flat.add(codes)
    hits = check(index, flat, queries, max(options.k))

    rows = []
    for k in options.k:
        work = {
            "ours": functools.partial(index.search, queries, k),
            "faiss": functools.partial(flat.search, queries, k),
        }
        ms = medians(turns(work, options.rounds), 1e-3)
        rows.append((f"{k} nearest", "ms", ms["ours"], ms["faiss"]))
    work = {
        "table": lambda: index.within(queries, 2),
        "scan": lambda: index.scan(queries, 2),
        "faiss": lambda: flat.range_search(queries, 3),
    }
    ms = medians(turns(work, options.rounds), 1e-3)
    rows.append((f"within radius 2, scan ({hits} entries)", "ms", ms["scan"], ms["faiss"]))
    fastest = min(ms["scan"], ms["faiss"])
    rows.append(("within radius 2, table against the faster scan", "ms", ms["table"], fastest))
    multi = FaissIndex(options.bits, "multi_hash")
    multi.add(codes)
    for radius in (4, 8):
        work = {
            "ours": functools.partial(index.within, queries, radius),
            "multi-hash": functools.partial(multi.within, queries, radius),
        }
        found = [work[name]() for name in work]
        for a, b in zip(*found, strict=True):
            np.testing.assert_array_equal(a.ids, b.ids)
        ms = medians(turns(work, options.rounds), 1e-3)
        rows.append((f"within radius {radius}, multi-hash", "ms", ms["ours"], ms["multi-hash"]))
    packed = (codes.nbytes + 8 * len(codes)) / 1e6
    rows.append(("memory against packed codes and ids", "MB", size / 1e6, packed))
    rows.append(("growth of the process, against the same", "MB", grown / 1e6, packed))
    return [
        {
            "codes": kind,
            "what": what,
            "unit": unit,
            "HammingIndex": rounded(ours),
            "rival": rounded(theirs),
            "ratio": rounded(ours / theirs),
        }
        for what, unit, ours, theirs in rows
    ]


def main() -> None:
    """Measure both collections."""
    options = arguments(__doc__, codes=1_000_000, queries=1000, bits=64, k=[1, 10, 100], rounds=5)
    faiss.omp_set_num_threads(options.threads)
    rows = []
    for make in (random, clustered):
        data = make(np.random.default_rng(0), options)
        rows += measure(make.__name__, *data, options)
    report("retrieval", rows, options, faiss=faiss.__version__, numpy=np.__version__)


if __name__ == "__main__":
    main()
