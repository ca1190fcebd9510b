"""Chapters run under nbval within a time budget each.

Processors of different makers round sums in different orders, and training
makes something of it. So the words of an output must be the stored ones, and
its numbers nearly so: within three units of the last digit that is stored, or
one part in six. (Of 744 cells run on two makers' processors, five differed by
more than two units and one part in twenty, and none by more than this but one
whose code had changed.) What must hold exactly, a chapter asserts.
"""

import copy
import os
import re
from collections import defaultdict
from itertools import zip_longest

import pytest
from nbval.plugin import IPyNbCell

# The kernels inherit it: a progress bar never prints the same twice.
os.environ["TQDM_DISABLE"] = "1"

NUMBER = re.compile(r"(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")
BUDGET = 60.0  # seconds on two cores, kernel start included
LIMIT = 2 * BUDGET  # what no busy machine explains
seconds: defaultdict[str, float] = defaultdict(float)


def alike(found: str, stored: str) -> bool:
    """Whether two texts have the same words, and nearly the same numbers."""
    words = [NUMBER.sub("#", text).split() for text in (found, stored)]
    if words[0] != words[1]:
        return False
    pairs = zip_longest(NUMBER.findall(found), NUMBER.findall(stored))
    return all(_near(a, b) for a, b in pairs)


def _near(found: str, stored: str) -> bool:
    a, b = (float(text.replace(",", "")) for text in (found, stored))
    mantissa, _, exponent = stored.partition("e")
    decimals = len(mantissa.partition(".")[2])
    unit = 10.0 ** (int(exponent or 0) - decimals)
    return abs(a - b) <= max(3.01 * unit, abs(b) / 6)


def _as_stored(found: dict, stored: dict) -> dict:
    """An output, with the stored text in place of one that is alike."""
    if found.keys() != stored.keys():
        return found
    result = copy.deepcopy(found)
    for key, text in stored.items():
        if key == "data":
            result[key] = _as_stored(found[key], text)
        elif key in ("text", "text/plain") and alike(found[key], text):
            result[key] = text
    return result


exact = IPyNbCell.compare_outputs


def compare_outputs(self, test, ref, skip_compare=None):
    """What nbval does, after numbers that are near enough are made equal."""
    if len(test) == len(ref):
        test = [_as_stored(a, b) for a, b in zip(test, ref, strict=True)]
    return exact(self, test, ref, skip_compare)


IPyNbCell.compare_outputs = compare_outputs


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add every cell's time to its chapter's."""
    seconds[report.nodeid.partition("::")[0]] += report.duration


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter,
) -> None:
    """Print what each chapter took."""
    terminalreporter.section(f"seconds per chapter (budget {BUDGET:g})")
    for chapter, spent in sorted(seconds.items()):
        over = "  over budget" if spent > BUDGET else ""
        terminalreporter.write_line(
            f"{spent:6.1f}  {chapter}{over}", red=bool(over)
        )


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run when a chapter is far over budget."""
    if session.exitstatus == 0 and max(seconds.values(), default=0.0) > LIMIT:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
