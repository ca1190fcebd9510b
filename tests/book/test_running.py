"""Tests of how a chapter is run and compared (``book/conftest.py``), with small chapters."""

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import rounding

ROOT = Path(rounding.__file__).parents[1]


def ran(folder, cells, mode="canonical"):
    """Outcomes of cells (source, stored text, tags), and what pytest prints."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    for count, (source, text, tags) in enumerate(cells, start=1):
        output = nbformat.v4.new_output("stream", text=text)
        cell = nbformat.v4.new_code_cell(source, outputs=[output], execution_count=count)
        cell.metadata["tags"] = tags
        notebook.cells.append(cell)
    nbformat.write(notebook, folder / "chapter.ipynb")
    shutil.copy(ROOT / "book" / "conftest.py", folder)
    (folder / "pytest.ini").write_text(
        f"[pytest]\npythonpath = {ROOT / 'tools'}\n", encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "--nbval", "--nbval-current-env", "chapter.ipynb"],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "ROUNDING": mode, "NO_COLOR": "1"},
    )
    return re.findall(r"::Cell \d+ (PASSED|FAILED)", done.stdout), done.stdout + done.stderr


#: What is printed, what is stored, and whether the cell shows what was trained; then whether it
#: passes on the machine that stores outputs, and whether it does elsewhere.
CELLS = {
    "words": ("print('PCA 0.5')", "AE 0.5\n", True, False, False),
    "exact": ("print('error 0.51')", "error 0.52\n", False, False, False),
    "last decimal": ("print('error 0.51')", "error 0.52\n", True, True, True),
    "decimal": ("print('error 0.53')", "error 0.57\n", True, False, True),
    "far": ("print('error 0.53')", "error 0.67\n", True, False, False),
    "count": ("print('7 of 90')", "7 of 91\n", True, False, True),
    "same": ("print('7 of 90')", "7 of 90\n", False, True, True),
    "check": ("assert 0.1 > 0.2", "", False, False, False),
    "rounding": (
        "import os\nprint(os.environ.get('MKL_CBWR'))",
        "COMPATIBLE\n",
        False,
        platform.machine() in rounding.X86,
        False,
    ),
    "no bar": (
        "from tqdm import tqdm\nprint(sum(tqdm(range(4))))",
        "6\n",
        False,
        True,
        True,
    ),
}


@pytest.mark.parametrize("mode", ["canonical", "native"])
def test_outputs_are_compared_as_strictly_as_the_rounding_allows(tmp_path, mode):
    cells = [(source, text, ["trained"] * trained) for source, text, trained, *_ in CELLS.values()]
    outcomes, text = ran(tmp_path, cells, mode)
    # what another architecture computes canonically is rounded otherwise too
    same = mode == "canonical" and platform.machine() in rounding.X86
    wanted = {name: cell[3 if same else 4] for name, cell in CELLS.items()}
    assert dict(zip(CELLS, outcomes, strict=True)) == {
        name: "PASSED" if passes else "FAILED" for name, passes in wanted.items()
    }, text


def test_the_time_of_a_chapter_is_said_and_how_far_off_it_was(tmp_path):
    cells = [("print('error 0.515')", "error 0.516\n", ["trained"])] * 2
    outcomes, text = ran(tmp_path, cells, "native")
    assert outcomes == ["PASSED", "PASSED"]
    # 0.001 of the tenth of 0.516 that is allowed
    assert re.search(r"\d+\.\d s +0\.02  .*chapter\.ipynb", text), text


def test_a_user_s_own_start_up_file_is_not_run(tmp_path, monkeypatch):
    own = tmp_path / "start.py"
    own.write_text("print('good morning')", encoding="utf-8")
    monkeypatch.setenv("PYTHONSTARTUP", str(own))
    outcomes, text = ran(tmp_path, [("print('hello')", "hello\n", [])])
    assert outcomes == ["PASSED"], text
