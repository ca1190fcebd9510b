"""Chapters run under nbval, and their outputs are compared with the stored.

Words have to be the same. Numbers too, but where a cell has the tag
``trained``: there the last decimal may flip, and where sums are rounded in
another order than when outputs were stored, numbers have to be nearly the
same (``tools/comparison.py``).

``ROUNDING=plain`` or ``native`` runs the chapters with other instructions
than those with which outputs are stored (``tools/rounding.py``).
"""

import contextlib
import copy
import os
import platform
import queue
from collections import defaultdict

import pytest
import rounding
from comparison import deviation
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell

# The kernels inherit the environment, and find the font cache that the import
# builds on a new machine.
ROUNDING = os.environ.get("ROUNDING", "canonical")
rounding.apply(ROUNDING)
import matplotlib.font_manager  # noqa: F401

# All x86 processors compute the same bits in the canonical way, others not.
SAME = ROUNDING == "canonical" and platform.machine() in rounding.X86

# A progress bar never prints the same twice.
os.environ["TQDM_DISABLE"] = "1"

seconds: defaultdict[str, float] = defaultdict(float)
largest: defaultdict[str, float] = defaultdict(float)


def _as_stored(
    found: dict, stored: dict, trained: bool, apart: list[float]
) -> dict:
    """An output, with the stored text in place of one that is alike."""
    if found.keys() != stored.keys():
        return found
    result = copy.deepcopy(found)
    for key, text in stored.items():
        if key == "data":
            result[key] = _as_stored(found[key], text, trained, apart)
        elif key in ("text", "text/plain", "text/html", "text/latex"):
            apart.append(deviation(found[key], text, trained, SAME))
            if apart[-1] <= 1:
                result[key] = text
    return result


exact = IPyNbCell.compare_outputs


def compare_outputs(self, test, ref, skip_compare=None):
    """What nbval does, after numbers that are near enough are made equal."""
    trained = "trained" in self.cell.metadata.get("tags", [])
    apart = [0.0]
    if len(test) == len(ref):
        test = [
            _as_stored(a, b, trained, apart)
            for a, b in zip(test, ref, strict=True)
        ]
    self.user_properties.append(("deviation", max(apart)))
    return exact(self, test, ref, skip_compare)


IPyNbCell.compare_outputs = compare_outputs

# nbval waits five seconds for a cell's last output and forty for the channel
# of a new kernel, which no option reaches. A busy machine needs more.
HOUR = 3600
begin = IPyNbCell.__init__


def patient(self, *arguments, **named):
    """A cell whose outputs one waits for."""
    begin(self, *arguments, **named)
    self.output_timeout = HOUR


def ready(self):
    """Ask a new kernel until its channel of outputs is there."""
    for _ in range(HOUR):
        request = self.kc.kernel_info()
        self.await_reply(request, timeout=HOUR)
        with contextlib.suppress(queue.Empty):
            return self.await_idle(request, 1)
    raise RuntimeError("the kernel does not send its outputs")


IPyNbCell.__init__ = patient
RunningKernel._ensure_iopub_up = ready


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add a cell's time to its chapter's, and keep the largest deviation."""
    chapter = report.nodeid.partition("::")[0]
    seconds[chapter] += report.duration
    if report.when == "call":
        apart = dict(report.user_properties).get("deviation", 0.0)
        largest[chapter] = max(largest[chapter], apart)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter,
) -> None:
    """Print what each chapter took, and how far off it was."""
    terminalreporter.section(
        "seconds, and the largest deviation as a share of what is allowed"
    )
    for chapter, spent in sorted(seconds.items()):
        terminalreporter.write_line(
            f"{spent:6.1f} s {largest[chapter]:6.2f}  {chapter}"
        )
