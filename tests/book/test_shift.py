"""Tests of what shifts the seeds of a chapter, and of what sets its rounding."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import rounding
from nbclient import NotebookClient

TOOLS = Path(rounding.__file__).parent
SHIFTED = {"PYTHONSTARTUP": str(TOOLS / "shift_seeds.py"), "SHIFT": "2"}
BY = 2 * 1009

#: A seed, or what has been drawn after it, by each way in which a chapter may give one.
WAYS = {
    "torch": "torch.manual_seed({0}).initial_seed()",
    "torch, in full": "torch.random.manual_seed({0}).initial_seed()",
    "generator": "torch.Generator().manual_seed({0}).initial_seed()",
    "numpy": "int(np.random.default_rng({0}).integers(1 << 40))",
    "numpy, by name": "int(np.random.default_rng(seed={0}).integers(1 << 40))",
    "numpy, several": "int(np.random.default_rng([{0}, 1]).integers(1 << 40))",
    "numpy, of a tensor": "int(np.random.default_rng(torch.tensor({0}).item()).integers(1 << 40))",
    "torch, of a tensor": "torch.manual_seed(torch.tensor({0})).initial_seed()",
    "legacy, again": "(r := np.random.RandomState(1), r.seed({0}), int(r.randint(1 << 30)))[2]",
    "legacy": "int(np.random.RandomState({0}).randint(1 << 30))",
    "global": "(np.random.seed({0}), int(np.random.randint(1 << 30)))[1]",
    "scikit-learn": "int(check_random_state({0}).randint(1 << 30))",
    "standard library": "(random.seed({0}), random.random())[1]",
    "standard library, apart": "random.Random({0}).random()",
    "fit": "drawn({0})",
    "unseeded": "check_random_state(None) is np.random.mtrand._rand",
    "unseeded kept": "isinstance(np.random.mtrand._rand, np.random.RandomState)",
}
CODE = """
import random

import numpy as np
import torch
from sklearn.utils import check_random_state

from aebook._internal.randomness import seeded


def drawn(seed):
    with seeded(seed, torch.device("cpu")):
        return torch.rand(1).item()
"""


def run(seed, code=""):
    """What each way gives for a seed, in a process of its own."""
    lines = [f"print(repr({way.format(seed)}))" for way in WAYS.values()]
    script = "\n".join([code, CODE, *lines])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(zip(WAYS, done.stdout.splitlines(), strict=True))


def test_every_way_to_give_a_seed_is_shifted():
    start = f"import os; os.environ['SHIFT'] = '2'; exec(open({SHIFTED['PYTHONSTARTUP']!r}).read())"
    assert run(5, start) == run(5 + BY)


def test_a_kernel_reads_the_start_up_file(monkeypatch):
    for name, value in SHIFTED.items():
        monkeypatch.setenv(name, value)
    own = "import torch\ntorch.manual_seed(3).initial_seed()"
    # and so does what the kernel starts, and what that starts
    child = "import torch; print(torch.manual_seed(4).initial_seed())"
    command = f"subprocess.run([sys.executable, '-c', {child!r}], capture_output=True, text=True)"
    grandchild = f"import subprocess, sys; print({command}.stdout)"
    cells = [
        own,
        f"import subprocess, sys\nint({command}.stdout)",
        f"int(subprocess.run([sys.executable, '-c', {grandchild!r}], stdout=-1).stdout)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    NotebookClient(notebook, kernel_name="python3").execute()
    said = [int(cell.outputs[0]["data"]["text/plain"]) for cell in notebook.cells]
    assert said == [3 + BY, 4 + BY, 4 + BY]


@pytest.mark.parametrize("name", rounding.ROUNDINGS)
def test_a_rounding_replaces_another_whole(monkeypatch, name):
    for other in rounding.ROUNDINGS:
        for variable, value in rounding.settings(other).items():
            monkeypatch.setenv(variable, value or "left behind")
        rounding.apply(name)
        expected = {v: x for v, x in rounding.settings(name).items() if x is not None}
        assert {v: os.environ[v] for v in rounding.settings(name) if v in os.environ} == expected


def test_an_unknown_rounding_is_refused():
    with pytest.raises(ValueError, match="got rounding 'best', expected one of canonical, plain"):
        rounding.settings("best")
