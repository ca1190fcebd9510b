"""Files that are replaced as a whole or not at all."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["content", "locked", "remove_unfinished", "replace", "replaceable"]


def content(path: str | os.PathLike[str]) -> bytes:
    """What is in a file; a ValueError for what is none, FileNotFoundError where there is none."""
    try:
        return Path(path).read_bytes()
    except (FileNotFoundError, PermissionError):
        raise
    except (OSError, ValueError) as error:
        raise ValueError(
            f"got path={str(path)!r:.100}, expected the name of a file: {error}"
        ) from error


def replaceable(path: str | os.PathLike[str]) -> int | None:
    """The permissions of the file that would be replaced; None where there is none yet.

    Raises
    ------
    ValueError
        If there is no folder for it, or there is something else than a regular file: a folder, a
        device, a pipe; or no file can have such a name.
    """
    try:
        there = Path(os.path.realpath(path)).parent.is_dir()
        # through links, also such as /dev/stdout, which lead to no name
        mode = os.stat(path).st_mode if there and str(path) else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        # too long a name, links that go round, a byte that no name has
        raise ValueError(
            f"got path={str(path)!r:.100}, expected the name of a file: {error}"
        ) from error
    if not there:
        raise ValueError(f"got path={str(path)!r}, but its folder does not exist")
    if mode is None:
        raise ValueError("got path='', expected the name of a file")
    if not stat.S_ISREG(mode):
        raise ValueError(
            f"got path={str(path)!r}, which is no regular file and is not replaced: expected the "
            "name of a file"
        )
    return stat.S_IMODE(mode)


def replace(path: str | os.PathLike[str], write: Callable[[BinaryIO], Any]) -> None:
    """Write a file beside ``path`` first and then over it.

    A process that dies at any moment, or a disk that is full, leaves the previous file. The new
    one has the permissions of the one before, or those of any new file.

    Parameters
    ----------
    path
        Where the file will be; its folder exists. A link stays, and what it points to is replaced.
        What is no regular file is refused with a ValueError.
    write
        Writes the content to the binary file that it is given.
    """
    mode = replaceable(path)
    target = Path(os.path.realpath(path))
    beside = target.with_name(_beside(target) + secrets.token_hex(8))
    # nobody opens meanwhile what the file before was closed to; "x": it is new
    opener = functools.partial(os.open, mode=0o666 if mode is None else mode)
    try:
        file = open(beside, "xb", opener=opener)  # noqa: SIM115 - what fails from here on removes it
    except FileNotFoundError as error:
        raise ValueError(
            f"got path={str(path)!r}, but nothing can be made in its folder: expected one on a disk"
        ) from error
    except OSError as error:
        # whose name says nothing to anybody
        error.filename = str(path)
        raise
    try:
        with file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(beside, mode)
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


@contextlib.contextmanager
def locked(path: str | os.PathLike[str]) -> Iterator[None]:
    """Within it, ``path`` is this run's alone; the lock of a process that died holds nobody up.

    Where nothing can be written, or the file system knows no locks, there is none.

    Raises
    ------
    ValueError
        If another run holds it, in this process or in another.
    """
    target = Path(os.path.realpath(path))
    lock = target.with_name(f".aebook-lock-{_short(target)}")
    held = itself = None
    try:
        held = _hold(lock)
        if sys.platform != "win32" and target.exists():
            # which may have another name too; there, what is locked cannot be read
            itself = _hold(target)
    except BlockingIOError:
        if held is not None:
            _let_go(held, lock)
        raise ValueError(
            f"{path} belongs to a run that is still going on: wait for its end, or give another "
            "path"
        ) from None
    except OSError:
        # there is no lock, or none of a file that cannot be written
        pass
    try:
        yield
    finally:
        if itself is not None:
            os.close(itself)
        if held is not None:
            _let_go(held, lock)


def _let_go(held: int, lock: Path) -> None:
    # while it is held, so that it is this one that goes; Windows asks that it be closed
    with contextlib.suppress(OSError):
        lock.unlink()
    os.close(held)
    if sys.platform == "win32":
        with contextlib.suppress(OSError):
            lock.unlink()


def _hold(lock: Path) -> int:
    """An open file that is locked; BlockingIOError if another has it."""
    while True:
        held = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if sys.platform == "win32":
                import msvcrt

                try:
                    msvcrt.locking(held, msvcrt.LK_NBLCK, 1)
                except OSError as error:
                    raise BlockingIOError from error
            else:
                import fcntl

                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # who held it before may have removed it after it was opened here
            if lock.exists() and os.path.samestat(os.fstat(held), os.stat(lock)):
                return held
        except BaseException:
            os.close(held)
            raise
        os.close(held)


def _beside(target: Path) -> str:
    return f".aebook-{_short(target)}-"


def _short(target: Path) -> str:
    # a hash, since a name with something before it could be too long for a name
    return hashlib.sha256(target.name.encode()).hexdigest()[:16]
