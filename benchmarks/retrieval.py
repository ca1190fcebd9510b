"""Retrieval of binary codes: `HammingIndex` against faiss' exhaustive scan, in time and memory.

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
import os
import sys
from pathlib import Path

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from sparse_decode import turns

from aebook.applications.hamming import HammingIndex, pack

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
    if sys.platform != "linux":
        return 0
    # what was freed goes back to the system first, if this is glibc
    getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None)(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


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


def measure(codes: Codes, queries: Codes, options: argparse.Namespace) -> None:
    """Print the table of one collection."""
    before = resident()
    index = HammingIndex(options.bits)
    index.add(codes)
    size = index.nbytes
    grown = resident() - before
    flat = faiss.IndexBinaryFlat(options.bits)
    flat.add(codes)
    hits = check(index, flat, queries, max(options.k))

    print(f"{hits} entries within radius 2\n")
    print("| what | HammingIndex | faiss, flat | HammingIndex / faiss |")
    print("|---|---:|---:|---:|")
    for k in options.k:
        work = {
            "ours": functools.partial(index.search, queries, k),
            "faiss": functools.partial(flat.search, queries, k),
        }
        ms = turns(work, options.rounds)
        ratio = ms["ours"] / ms["faiss"]
        print(f"| {k} nearest | {ms['ours']:.0f} | {ms['faiss']:.0f} | {ratio:.2f} |", flush=True)
    work = {
        "table": lambda: index.within(queries, 2),
        "scan": lambda: index.scan(queries, 2),
        "faiss": lambda: flat.range_search(queries, 3),
    }
    ms = turns(work, options.rounds)
    for name in ("scan", "table"):
        print(
            f"| within radius 2, {name} | {ms[name]:.1f} | {ms['faiss']:.0f} "
            f"| {ms[name] / ms['faiss']:.3f} |"
        )
    fastest, packed = min(ms["scan"], ms["faiss"]), codes.nbytes + 8 * len(codes)
    print(
        f"\nThe table is {fastest / ms['table']:.0f} times as fast as the faster scan. Memory: "
        f"{size / packed:.3f} times the packed codes and ids; the process grew by "
        f"{grown / packed:.3f} times.",
        flush=True,
    )


def main() -> None:
    """Measure both collections."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--codes", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--bits", type=int, default=64, help="a multiple of 8, for faiss")
    parser.add_argument("--k", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    faiss.omp_set_num_threads(options.threads)

    print(
        f"NumPy {np.__version__}, faiss {faiss.__version__}, {options.threads} thread(s): "
        f"{options.queries} queries to {options.codes} codes of {options.bits} bits; ms, medians "
        f"of {options.rounds} rounds"
    )
    for make in (random, clustered):
        print(f"\n{make.__name__.capitalize()} codes, ", end="")
        measure(*make(np.random.default_rng(0), options), options)


if __name__ == "__main__":
    main()
