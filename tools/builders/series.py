"""The electrocardiogram that SciPy distributed up to version 1.11."""

import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from builders.sources import verified, wheel

SCIPY = "scipy==1.11.4"
SCIPY_WHEEL = "530f9ad26440e85766509dbf78edcfe13ffd0ab7fec2560ee5c36ff74d6269ff"
#: One wheel on all machines, of those that hold the same file.
BUILD = ("--python-version", "3.11", "--platform", "manylinux2014_x86_64")
MEMBER = "scipy/misc/ecg.dat"


def electrocardiogram(given: Path | None) -> dict[str, np.ndarray]:
    """Return what the converter gave, uint16 of shape (108000,), as distributed.

    Parameters
    ----------
    given
        The wheel of scipy 1.11.4 for Python 3.11 on x86-64 Linux, or None to download it.

    Raises
    ------
    SourceError
        If the wheel cannot be had, or is not the one expected.
    """
    if given is None:
        with tempfile.TemporaryDirectory() as folder:
            return electrocardiogram(wheel(SCIPY, Path(folder), *BUILD))
    verified(given, SCIPY_WHEEL)
    with zipfile.ZipFile(given) as archive, np.load(io.BytesIO(archive.read(MEMBER))) as arrays:
        return {"values": arrays["ecg"]}
