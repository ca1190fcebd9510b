"""Run chapters in a fresh kernel and store their outputs.

    python tools/refresh.py                                    every chapter
    python tools/refresh.py book/foundations/training.ipynb    the chapters named

A chapter that fails is left as it was. What is stored is what a second run would store: no timings,
no editor's metadata, outputs and execution counts kept. Cells that show what was trained get the
tag that says so.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import rounding

rounding.apply("canonical")
# A progress bar never prints the same twice.
os.environ["TQDM_DISABLE"] = "1"
os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")

# On a new machine this builds the font cache, and says so; that must not happen in a chapter.
import matplotlib.font_manager  # noqa: E402, F401
import nbformat  # noqa: E402
from nbclient import NotebookClient  # noqa: E402
from nbclient.exceptions import CellExecutionError  # noqa: E402
from trained import TAG, trained_cells  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
CELL_METADATA = {"mystnb", "tags"}


def clean(notebook: nbformat.NotebookNode) -> None:
    """Drop what changes from machine to machine or from editor to editor."""
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": KERNEL, "language_info": {"file_extension": ".py", "name": "python"}}
    )
    for cell in notebook.cells:
        cell.metadata = {key: cell.metadata[key] for key in cell.metadata if key in CELL_METADATA}
        cell.pop("attachments", None)
        for output in cell.get("outputs", []):
            if "metadata" in output:
                output.metadata = {}


def mark(notebook: nbformat.NotebookNode) -> None:
    """Tag the cells whose numbers another rounding changes."""
    for index in trained_cells(notebook):
        tags = notebook.cells[index].metadata.setdefault("tags", [])
        if TAG not in tags:
            tags.append(TAG)


def refresh(path: Path) -> float:
    """Run one notebook, store it, and return the seconds that it took."""
    notebook = nbformat.read(path, as_version=4)
    start = time.perf_counter()
    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],  # the kernel's own log, not the chapter's output
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    seconds = time.perf_counter() - start
    clean(notebook)
    mark(notebook)
    # Written beside and renamed: an interruption never leaves half a chapter.
    temporary = path.with_name(f".{path.name}.new")
    try:
        nbformat.write(notebook, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return seconds


def main() -> int:
    """Refresh the chapters named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chapters", nargs="*", type=Path, help="default: all in book/")
    chapters = parser.parse_args().chapters or sorted((ROOT / "book").rglob("[!.]*.ipynb"))
    failed = 0
    for path in map(Path.resolve, chapters):
        if ".ipynb_checkpoints" in path.parts:
            continue
        name = os.path.relpath(path)
        try:
            print(f"{name}: {refresh(path):.1f} s", flush=True)
        except (CellExecutionError, OSError, nbformat.reader.NotJSONError) as error:
            failed += 1
            print(f"{name}: left as it was\n{error}", file=sys.stderr, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
