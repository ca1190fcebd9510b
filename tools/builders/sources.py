"""Files from which data sets are made: given, installed, or downloaded; always verified."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from aebook.datasets.verified import sha256


class SourceError(Exception):
    """A source that is missing, or is not the one expected."""


def verified(path: Path, digest: str) -> bytes:
    """Return the bytes of a file after comparing their SHA-256.

    Raises
    ------
    SourceError
        If the file cannot be read or is another one.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error}") from error
    if sha256(data) != digest:
        raise SourceError(f"{path} has SHA-256 {sha256(data)}, expected {digest}")
    return data


def wheel(requirement: str, folder: Path, *options: str) -> Path:
    """Download one wheel into a folder with pip, without what it depends on; return its path."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", *options, "--dest", str(folder), requirement]
    _run(command, folder)
    return _only(folder, "*.whl", command)


def debian(package: str, folder: Path) -> Path:
    """Download one Debian package into a folder with apt and unpack it, without installing it.

    Nothing is changed on the machine, and no privileges are needed.

    Returns
    -------
    pathlib.Path
        The folder that stands for the root of the file system.
    """
    command = ["apt-get", "download", package]
    _run(command, folder)
    root = folder / "root"
    _run(["dpkg-deb", "--extract", str(_only(folder, "*.deb", command)), str(root)], folder)
    return root


def npm(package: str, folder: Path) -> Path:
    """Download one package of npm, such as ``"name@1.0.0"``, into a folder; return its path."""
    command = ["npm", "pack", "--silent", "--pack-destination", str(folder), package]
    _run(command, folder)
    return _only(folder, "*.tgz", command)


def _run(command: Sequence[str], folder: Path) -> None:
    call = " ".join(command)
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=600
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceError(f"`{call}` failed: {error}") from error
    if done.returncode:
        raise SourceError(f"`{call}` failed: {done.stderr.strip()}")


def _only(folder: Path, pattern: str, command: Sequence[str]) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise SourceError(f"`{' '.join(command)}` left {len(found)} files {pattern}, expected one")
    return found[0]
