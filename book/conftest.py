"""Chapters run under nbval within a time budget each."""

import os
from collections import defaultdict

import pytest

# The kernels inherit it: a progress bar never prints the same twice.
os.environ["TQDM_DISABLE"] = "1"

BUDGET = 60.0  # seconds on two cores, kernel start included
seconds: defaultdict[str, float] = defaultdict(float)


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
    """Fail the run when a chapter is over budget."""
    if (
        session.exitstatus == 0
        and max(seconds.values(), default=0.0) > BUDGET
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
