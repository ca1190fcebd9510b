"""The addresses of the repository and of the site, which stand in ``pyproject.toml``.

    python tools/address.py                                               say them
    python tools/address.py https://github.com/you/aebook https://you.github.io/aebook

With two addresses, every file of the repository gets them in place of the old ones: README, the
book's configuration, the first cell of each chapter, what is cited.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def addresses(root: Path = ROOT) -> tuple[str, str]:
    """Of the repository and of the site, without a slash at the end."""
    urls = tomllib.loads((root / "pyproject.toml").read_text("utf8"))["project"]["urls"]
    return urls["Repository"], urls["Homepage"]


def texts(root: Path = ROOT) -> dict[Path, str]:
    """Every text file that belongs to the repository."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
    )
    found = {}
    for name in done.stdout.decode().rstrip("\0").split("\0"):
        path = root / name
        if path.is_file() and b"\0" not in (data := path.read_bytes()):
            found[path] = data.decode("utf8", errors="surrogateescape")
    return found


def move(new: tuple[str, str], root: Path = ROOT) -> list[Path]:
    """Put new addresses in place of the old ones; the files that changed."""
    old = addresses(root)
    changed = []
    for path, text in texts(root).items():
        # by way of what stands in no file, since the new may hold the old
        for number, address in enumerate(old):
            text = text.replace(address, f"\0{number}\0")
        if "\0" in text:
            for number, address in enumerate(new):
                text = text.replace(f"\0{number}\0", address.rstrip("/"))
            path.write_bytes(text.encode("utf8", errors="surrogateescape"))
            changed.append(path)
    return changed


def main() -> None:
    """Say the addresses, or change them."""
    if len(sys.argv) == 3:
        for path in move((sys.argv[1], sys.argv[2])):
            print(path.relative_to(ROOT))
    elif len(sys.argv) == 1:
        print(*addresses(), sep="\n")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
