"""Print the packages that the package asks for, each in the lowest version that it admits.

    python tools/lowest.py test scale > lowest.txt
    pip install -r lowest.txt
    pip install --no-deps -e .

Takes the names of extras; one with a minus, such as ``-onnx``, is left out where another brings it.
What these packages need in turn stays free, as it is for those who install the package. A bound
that is no version of its package fails at installation.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def lowest(project: dict, extras: list[str]) -> dict[str, str]:
    """The lowest version of each direct dependency of a project with these extras."""
    seen = {extra[1:] for extra in extras if extra.startswith("-")}
    asked, queue, found = list(project["dependencies"]), list(extras), {}
    while asked or queue:
        for extra in queue:
            if extra not in seen and not extra.startswith("-"):
                seen.add(extra)
                asked += project["optional-dependencies"][extra]
        requirement, queue = asked.pop(), []
        name, extras_of, rest = re.fullmatch(
            r"([\w.-]+)(?:\[(.*)\])?(.*)", requirement.replace(" ", "")
        ).groups()
        if name == project["name"]:
            queue = extras_of.split(",")
            continue
        bound = re.search(r">=([\w.]+)", rest)
        if bound is None:
            raise ValueError(f"{requirement!r} has no lowest version: write it as name>=version")
        found[name] = max(found.get(name, "0"), bound[1], key=_numbers)
    return found


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


if __name__ == "__main__":
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    for name, version in sorted(lowest(project, sys.argv[1:]).items()):
        print(f"{name}=={version}")
