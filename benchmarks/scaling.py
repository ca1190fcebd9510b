"""How the cost of training grows: with data, width, batch, and processes.

One thing changes at a time, from a network 784-256-32 and its mirror, 8,192 images, batch 256. The
time of an epoch is the median of those after the first, over all rounds; the lengths take turns.
Beside it stand the floating-point operations, counted in one step, and what part of the processor's
own speed in large products of matrices that is. ``memory`` is what the process itself came to hold
above what it held before, at any step, for an array and for the same in a memory-mapped file.

Processes are started by torchrun, one thread each, as many as there are cores at most. The time in
which they add up their gradients is measured apart: it does not shrink with the work of each.

    OMP_NUM_THREADS=1 python benchmarks/scaling.py [--rounds 3] [--device cuda]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
import torch.distributed as dist
from measure import Row, arguments, in_turn, report, rounded, status
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import aebook

WIDTHS = (784, 256, 32)
SIZES = {"small": WIDTHS, "large": (784, 2048, 256)}
SAMPLES = [1024, 2048, 4096, 8192, 16384, 32768, 65536]
HIDDEN = [64, 128, 256, 512, 1024, 2048, 4096]
BATCHES = [16, 32, 64, 128, 256, 512, 1024, 2048, 4096]


def images(samples: int) -> Tensor:
    """So many images; the shipped ones come round again."""
    x = aebook.datasets.fashion_mnist().images
    return x.repeat(-(-samples // len(x)), 1)[:samples]


def epoch(widths: tuple[int, ...], x: Tensor, batch: int, device: str = "cpu") -> float:
    """Seconds of an epoch of ``fit``, the median of those after the first."""
    torch.manual_seed(0)
    objective = aebook.variants.plain(widths)
    options = {"epochs": 3, "batch_size": batch, "device": device, "progress": False}
    return statistics.median(aebook.fit(objective, x, **options).seconds[1:])


def operations(widths: tuple[int, ...], samples: int, batch: int) -> float:
    """Floating-point operations of an epoch, in units of 10⁹."""
    objective = aebook.variants.plain(widths)
    counter = FlopCounterMode(display=False)
    with counter:
        objective(torch.rand(batch, widths[0])).total.backward()
    return counter.get_total_flops() * samples / batch / 1e9


def speed(device: str, size: int = 2048) -> float:
    """10⁹ operations a second in the product of two square matrices."""
    a, b = (torch.rand(size, size, device=device) for _ in range(2))
    times = []
    for _ in range(8):
        started = time.perf_counter()
        # reading a number waits for the device
        (a @ b)[0, 0].item()
        times.append(time.perf_counter() - started)
    return 2 * size**3 / statistics.median(times[1:]) / 1e9


def vary(axis: str, rounds: int, ceiling: float, device: str) -> list[Row]:
    """One axis, all its values in turn."""
    if axis == "samples":
        settings = {n: (WIDTHS, n, 256) for n in SAMPLES}
    elif axis == "width":
        settings = {h: ((784, h, 32), 4096, 256) for h in HIDDEN}
    else:
        settings = {b: (WIDTHS, 8192, b) for b in BATCHES}
    seconds: dict[int, list[float]] = {value: [] for value in settings}
    for number in range(rounds):
        for value in in_turn(settings, number):
            widths, samples, batch = settings[value]
            seconds[value].append(epoch(widths, images(samples), batch, device))
    rows = []
    for value, (widths, samples, batch) in settings.items():
        median = statistics.median(seconds[value])
        gflop = operations(widths, samples, batch)
        rows.append(
            {
                "axis": axis,
                "value": value,
                "samples": samples,
                "hidden": widths[1],
                "batch": batch,
                "seconds": rounded(median),
                "gflop": rounded(gflop),
                "ceiling": rounded(gflop / median / ceiling),
            }
        )
    return rows


def weigh(kind: str, path: str) -> None:
    """Print the bytes that this process came to hold while it trained for an epoch."""
    torch.manual_seed(0)
    objective = aebook.variants.plain(WIDTHS)
    options = {"epochs": 1, "batch_size": 256, "device": "cpu", "progress": False}
    aebook.fit(objective, torch.rand(512, 784), **options)
    most, before = 0, status("RssAnon")

    def note(*_: object) -> None:
        nonlocal most
        most = max(most, status("RssAnon"))

    x = np.load(path, mmap_mode="r" if kind == "memmap" else None)
    aebook.fit(objective, x, anneal=note, **options)
    print(most - before)


def memory(threads: int) -> list[Row]:
    """Array and memory-mapped file, as the data grow; each in a process of its own."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x.npy")
        for samples in SAMPLES:
            np.save(path, images(samples).numpy())
            found = {}
            for kind in ("array", "memmap"):
                command = [sys.executable, __file__, "--weigh", kind, path]
                command += ["--threads", str(threads)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found[kind] = rounded(int(done.stdout) / 1e6)
            rows.append({"samples": samples, "data_mb": rounded(samples * 784 * 4 / 1e6), **found})
    return rows


def work() -> None:
    """What each process does; the first prints a row for every network and batch."""
    members = aebook.processes.group()
    x = images(8192)
    rows = []
    for name, widths in SIZES.items():
        objective = aebook.variants.plain(widths)
        count = sum(p.numel() for p in objective.parameters())
        adding = statistics.median(_adding(count) for _ in range(9)) if members.size > 1 else 0.0
        for batch in (64, 256, 1024):
            seconds = epoch(widths, x, batch)
            rows.append(
                {
                    "network": name,
                    "parameters": count,
                    "batch": batch,
                    "processes": members.size,
                    "seconds": rounded(seconds),
                    "adding": rounded(adding * len(x) / batch),
                }
            )
    if members.rank == 0:
        print(json.dumps(rows))


def _adding(count: int) -> float:
    """Seconds in which the processes add up as many numbers as there are gradients."""
    gradients = torch.rand(count)
    dist.barrier()
    started = time.perf_counter()
    dist.all_reduce(gradients)
    return time.perf_counter() - started


def processes(rounds: int) -> list[Row]:
    """The same work by one process, and by as many as there are cores."""
    rows = []
    for _ in range(rounds):
        for size in range(1, os.cpu_count() + 1):
            command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
            command += ["--nproc-per-node", str(size), __file__, "--work", "1"]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rows += json.loads(done.stdout.splitlines()[-1])
    keys = ("network", "parameters", "batch", "processes")
    gathered: dict[tuple, list[Row]] = {}
    for row in rows:
        gathered.setdefault(tuple(row[key] for key in keys), []).append(row)
    result = []
    for key, found in gathered.items():
        medians = {
            name: rounded(statistics.median(row[name] for row in found))
            for name in ("seconds", "adding")
        }
        result.append(dict(zip(keys, key, strict=True)) | medians)
    alone = {(r["network"], r["batch"]): r["seconds"] for r in result if r["processes"] == 1}
    for row in result:
        row["speedup"] = rounded(alone[row["network"], row["batch"]] / row["seconds"])
    return sorted(result, key=lambda row: (-len(row["network"]), row["batch"], row["processes"]))


def main() -> None:
    """Measure every axis and print three tables."""
    options = arguments(__doc__, rounds=3, device="cpu", weigh=[""], work=0)
    if options.work:
        return work()
    if options.weigh[0]:
        return weigh(*options.weigh)
    ceiling = speed(options.device)
    rows = []
    for axis in ("samples", "width", "batch"):
        print(f"{axis} ...", file=sys.stderr)
        rows += vary(axis, options.rounds, ceiling, options.device)
    name = "scaling" if options.device == "cpu" else f"scaling_{options.device}"
    report(name, rows, options, products_gflop_s=rounded(ceiling))
    if options.device == "cpu":
        report("memory", memory(options.threads), options)
        report("processes", processes(options.rounds), options)


if __name__ == "__main__":
    main()
