"""Shifts the seeds of every Python that a shifted chapter starts: see ../shift_seeds.py."""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).parents[1] / "shift_seeds.py"))
