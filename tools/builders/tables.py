"""The anomaly tables Satellite and Shuttle, from the R package mlbench."""

import lzma
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from builders.rdata import read_rda
from builders.sources import SourceError, debian, verified

MLBENCH = Path("usr/lib/R/site-library/mlbench/data")
RDA_SHA256 = {
    "Satellite": "29f8cf9bb1bc51b769d694c9caf740fd1c36ed6a7c87603edf5985962e330f64",
    "Shuttle": "5b1db218b76a47c83f575f1ff38d7a7d36e569b0e27d8bf4aa92eae6c0bcb826",
}
#: The class numbers of the original files, for the names that mlbench gave the classes.
SATELLITE_NUMBERS = {
    "red soil": 1,
    "cotton crop": 2,
    "grey soil": 3,
    "damp grey soil": 4,
    "vegetation stubble": 5,
    "very damp grey soil": 7,
}
SHUTTLE_NUMBERS = {
    "Rad.Flow": 1,
    "Fpv.Close": 2,
    "Fpv.Open": 3,
    "High": 4,
    "Bypass": 5,
    "Bpv.Close": 6,
    "Bpv.Open": 7,
}


def satellite(given: Path | None) -> dict[str, np.ndarray]:
    """Return uint8 features of shape (6435, 36) and uint8 labels of shape (6435,), as published.

    Parameters
    ----------
    given
        The folder with mlbench's Satellite.rda, or None to find or download Debian's package.

    Raises
    ------
    SourceError
        If the file cannot be had or differs from the one expected.
    """
    return _arrays(_rda("Satellite", given), "Satellite", SATELLITE_NUMBERS, np.uint8)


def shuttle(given: Path | None) -> dict[str, np.ndarray]:
    """Return int16 features of shape (58000, 9) and uint8 labels of shape (58000,), as published.

    The features are in column-major order, which compresses better; rows compress better in
    Satellite, whose pixels overlap.

    Parameters
    ----------
    given
        The folder with mlbench's Shuttle.rda, or None to find or download Debian's package.

    Raises
    ------
    SourceError
        If the file cannot be had or differs from the one expected.
    """
    arrays = _arrays(_rda("Shuttle", given), "Shuttle", SHUTTLE_NUMBERS, np.int16)
    return arrays | {"features": np.asfortranarray(arrays["features"])}


def _arrays(data: bytes, name: str, numbers: Mapping[str, int], dtype: type) -> dict:
    """Return features and labels of the data frame: numeric columns, and a factor as the last."""
    *columns, factor = read_rda(data)[name].values
    features = np.stack([column.values for column in columns], axis=1)
    whole = features.astype(dtype)
    if not np.array_equal(whole, features):
        raise SourceError(f"{name}: a value is not a whole number that {dtype.__name__} can hold")
    levels = [numbers[level] for level in factor.attributes["levels"].values]
    labels = np.array(levels, np.uint8)[factor.values - 1]
    return {"features": whole, "labels": labels}


def _rda(name: str, given: Path | None) -> bytes:
    """Return the verified and decompressed file."""
    member, digest = MLBENCH / f"{name}.rda", RDA_SHA256[name]
    installed = Path("/") / member
    if given or installed.is_file():
        packed = verified(given / member.name if given else installed, digest)
    else:
        with tempfile.TemporaryDirectory() as folder:
            packed = verified(debian("r-cran-mlbench", Path(folder)) / member, digest)
    return lzma.decompress(packed)
