"""Run chapters in a fresh kernel and store their outputs.

    python tools/refresh.py                                    every chapter
    python tools/refresh.py book/foundations/training.ipynb    the chapters named

A chapter that fails is left as it was. What is stored is what a second run would store: no timings,
no editor's metadata, outputs and execution counts kept.
"""

import argparse
import os
import sys
import time
from pathlib import Path

# One thread: results then agree across machines, and shared cores are not fought over.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
os.environ["NUMBA_NUM_THREADS"] = "1"
# And the instructions that all processors of ten years have, as the Makefile's.
os.environ.update(ATEN_CPU_CAPABILITY="avx2", MKL_CBWR="AVX2")
os.environ.update(ONEDNN_MAX_CPU_ISA="AVX2", OPENBLAS_CORETYPE="Haswell")
# A progress bar never prints the same twice.
os.environ["TQDM_DISABLE"] = "1"
os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")

# On a new machine this builds the font cache, and says so; that must not happen in a chapter.
import matplotlib.font_manager  # noqa: F401
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

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


def refresh(path: Path) -> float:
    """Run one notebook, store it, and return the seconds that it took."""
    notebook = nbformat.read(path, as_version=4)
    start = time.perf_counter()
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],  # the kernel's own log, not the chapter's output
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    seconds = time.perf_counter() - start
    clean(notebook)
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
