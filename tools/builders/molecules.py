"""Molecules as SMILES, from the benchmark MOSES."""

import gzip
import hashlib
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from builders.sources import SourceError, verified, wheel

MOLSETS = "molsets==0.3.1"
MOLSETS_WHEEL = "7f4450e3ebecebe79c3a2a55950c93daddee071120daf64a163d03481e811d34"
MEMBER = "moses/dataset/data/{split}.csv.gz"

TRAIN, TEST, SCAFFOLDS = 25_000, 5_000, 5_000


def molecules(given: Path | None) -> dict[str, np.ndarray]:
    """Choose 25,000 of MOSES' training molecules and 5,000 of each of its two test sets.

    Those with the smallest SHA-256 of their SMILES are taken: a random sample that needs no random
    generator. They are stored in alphabetical order, which makes a smaller file.

    Parameters
    ----------
    given
        The wheel of molsets 0.3.1, or None to download it.

    Returns
    -------
    dict
        For each split, the uint8 bytes of its SMILES, joined by line feeds.

    Raises
    ------
    SourceError
        If the wheel cannot be had, or is not the one expected.
    """
    counts = {"train": TRAIN, "test": TEST, "test_scaffolds": SCAFFOLDS}
    arrays = {}
    for split, lines in moses(given, counts).items():
        chosen = sorted(lines, key=digest)[: counts[split]]
        if len(chosen) < counts[split]:
            raise SourceError(f"{split} has {len(lines)} molecules, expected {counts[split]}")
        arrays[split] = np.frombuffer("\n".join(sorted(chosen)).encode("ascii"), np.uint8)
    return arrays


def moses(given: Path | None, splits: tuple[str, ...] | dict[str, int]) -> dict[str, list[str]]:
    """Read whole splits ("train", "test", "test_scaffolds") of MOSES, in the published order."""
    if given is None:
        with tempfile.TemporaryDirectory() as folder:
            return moses(wheel(MOLSETS, Path(folder)), splits)
    verified(given, MOLSETS_WHEEL)
    found = {}
    with zipfile.ZipFile(given) as archive:
        for split in splits:
            table = gzip.decompress(archive.read(MEMBER.format(split=split))).decode("ascii")
            head, *lines = table.splitlines()
            if head != "SMILES":
                raise SourceError(f"{split} starts with {head!r}, expected 'SMILES'")
            found[split] = lines
    return found


def digest(smiles: str) -> bytes:
    """Return the SHA-256 of a SMILES."""
    return hashlib.sha256(smiles.encode("ascii")).digest()
