"""The bar that shows how far a run is, at a terminal and in Jupyter."""

from __future__ import annotations

import sys
import warnings
from typing import Any

__all__ = ["bar"]


def bar(progress: bool | None, epochs: int, done: int) -> Any:
    """A bar of so many epochs, of which some are done; None shows it where somebody looks.

    Examples
    --------
    >>> from aebook.training.progress import bar
    >>> with bar(False, epochs=3, done=1) as shown:
    ...     shown.total
    3
    """
    if progress is None:
        progress = _in_jupyter() or sys.stderr.isatty()
    with warnings.catch_warnings():
        # without ipywidgets the bar is text, which is fine
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm
    # where TQDM_DISABLE is set, as when outputs are stored, its word counts
    options: dict[str, Any] = {} if progress else {"disable": True}
    return tqdm(total=epochs, initial=done, unit="epoch", leave=False, **options)


def _in_jupyter() -> bool:
    # that something imported ipykernel does not mean that this runs in a kernel
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config
