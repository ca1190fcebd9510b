"""What training costs: the record of this package's benchmarks, as they came out on one machine.

``make bench`` in a checkout measures anew and replaces the record. Times on another machine are
others; ratios, and how they grow, are much the same.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any, NamedTuple

from aebook._internal.checks import one_of
from aebook._internal.contract import checked

__all__ = ["Record", "recorded"]


class Record(NamedTuple):
    """One benchmark; unpacks as ``machine, options, rows = recorded("peers")``.

    Attributes
    ----------
    machine
        Processor, cores, memory in GiB, threads, versions.
    options
        What the script was called with, defaults included.
    rows
        A dict a row, each with the same keys. Times are in seconds unless the key says ``_ms``.
    """

    machine: dict[str, Any]
    options: dict[str, Any]
    rows: list[dict[str, Any]]


@checked
def recorded(name: str) -> Record:
    """The record of a benchmark.

    Parameters
    ----------
    name
        ``"peers"``: ``fit`` against other libraries. ``"compiled"``: compilation and bfloat16.
        ``"scaling"``: data, width, batch. ``"memory"``: array and memory-mapped file.
        ``"processes"``: one and more. ``"contractive"``, ``"sparse_decode"``, ``"retrieval"``:
        parts of the package. The scripts, in ``benchmarks/``, say what their columns are.

    Raises
    ------
    ValueError
        If there is no record of that name.

    Examples
    --------
    >>> from aebook.timings import recorded
    >>> machine, options, rows = recorded("peers")
    >>> "processor" in machine, "seconds" in rows[0]
    (True, True)
    """
    files = resources.files(__name__)
    known = sorted(f.name[:-5] for f in files.iterdir() if f.name.endswith(".json"))
    one_of("name", name, known)
    return Record(**json.loads((files / f"{name}.json").read_text(encoding="utf-8")))
