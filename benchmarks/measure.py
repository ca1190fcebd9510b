"""What the benchmarks share: a clock, contestants that take turns, a record of what came out."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import torch

RECORDS = Path(str(resources.files("aebook.timings")))

Row = dict[str, Any]
Name = TypeVar("Name")


def arguments(description: str | None, **defaults: Any) -> argparse.Namespace:
    """Options of a benchmark, each with its default; and ``--threads``, ``--record``."""
    parser = argparse.ArgumentParser(description=(description or "").split("\n", 1)[0])
    for name, default in defaults.items():
        many = isinstance(default, list)
        kind = type(default[0] if many else default)
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=kind, nargs="+" if many else None, default=default
        )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="keep the result in the package")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    return options


def clock() -> float:
    """Seconds of processor time on one thread, which other processes disturb less, or of wall."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def in_turn(names: Iterable[Name], number: int) -> list[Name]:
    """Contestants in the order of a round: backwards in the first, forwards in the next."""
    return list(names)[:: 1 if number % 2 else -1]


def turns(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each piece of work in each round; they take turns, also in going first."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name in in_turn(work, number):
            started = clock()
            work[name]()
            # the first round only warms up
            if number:
                seconds[name].append(clock() - started)
    return seconds


def medians(seconds: dict[str, list[float]], unit: float = 1.0) -> dict[str, float]:
    """Median of each, in multiples of a unit: 1e-3 for milliseconds."""
    return {name: statistics.median(values) / unit for name, values in seconds.items()}


def status(field: str) -> int:
    """Bytes of this process's memory by one of Linux's accounts; 0 where there is none.

    ``"VmRSS"``: held. ``"VmHWM"``: most held. ``"RssAnon"``: held and not mapped from a file.
    """
    path = Path("/proc/self/status")
    lines = path.read_text("utf8").splitlines() if path.exists() else []
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def machine() -> Row:
    """What it was measured on."""
    text = ""
    if os.path.exists("/proc/cpuinfo"):
        text = Path("/proc/cpuinfo").read_text("utf8")
    names = [s.split(":", 1)[1].strip() for s in text.splitlines() if s.startswith("model name")]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__.split("+")[0],
    }


def report(name: str, rows: Sequence[Row], options: argparse.Namespace, **more: Any) -> None:
    """Print a Markdown table; with ``--record`` also keep it, for the book to read."""
    about = machine() | more
    print("\n" + ", ".join(f"{key} {value}" for key, value in about.items()) + "\n")
    columns = list(rows[0])
    sides = ["---:" if isinstance(rows[0][c], int | float) else "---" for c in columns]
    print("| " + " | ".join(columns) + " |")
    print("| " + " | ".join(sides) + " |")
    for row in rows:
        print("| " + " | ".join(_cell(row[c]) for c in columns) + " |")
    if not options.record:
        return
    given = {key: value for key, value in vars(options).items() if key != "record"}
    text = json.dumps({"machine": about, "options": given, "rows": rows}, indent=1) + "\n"
    path = RECORDS / f"{name}.json"
    beside = path.with_suffix(".part")
    beside.write_text(text, "utf8")
    beside.replace(path)
    print(f"\nkept in {os.path.relpath(path)}")


def rounded(value: float) -> float:
    """Four significant digits, more than a measurement has."""
    return float(f"{value:.4g}")


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
