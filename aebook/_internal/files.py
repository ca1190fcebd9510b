"""Files that are replaced as a whole or not at all."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["remove_unfinished", "replace"]


def replace(path: str | os.PathLike[str], write: Callable[[BinaryIO], Any]) -> None:
    """Write a file beside ``path`` first and then over it.

    A process that dies at any moment, or a disk that is full, leaves the previous file.

    Parameters
    ----------
    path
        Where the file will be; its folder exists. A link stays, and what it points to is replaced.
    write
        Writes the content to the binary file that it is given.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise ValueError(f"got path={str(path)!r}, but its folder does not exist")
    beside = target.with_name(_beside(target) + secrets.token_hex(8))
    # unlike a temporary file's, its permissions are those of any new file; "x": it is new
    file = open(beside, "xb")  # noqa: SIM115 - what fails from here on removes it
    try:
        with file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def remove_unfinished(path: str | os.PathLike[str]) -> None:
    """Remove what a process left beside ``path`` that was killed while it wrote there.

    Only for who alone writes to this path: what another is just writing goes too.
    """
    target = Path(os.path.realpath(path))
    for unfinished in target.parent.glob(_beside(target) + "*"):
        unfinished.unlink(missing_ok=True)


def _beside(target: Path) -> str:
    # a hash, since a name with something before it could be too long for a name
    return f".aebook-{hashlib.sha256(target.name.encode()).hexdigest()[:16]}-"
