"""Satellite and Shuttle: tables of measurements in which some classes count as anomalies."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from aebook._internal.contract import checked
from aebook.datasets.verified import shipped_arrays

__all__ = [
    "SATELLITE_CLASSES",
    "SHUTTLE_CLASSES",
    "Table",
    "satellite",
    "shuttle",
]

#: Names of the classes of `satellite` by number. There is no class 6, which was kept for mixtures.
SATELLITE_CLASSES: Mapping[int, str] = {
    1: "red soil",
    2: "cotton crop",
    3: "grey soil",
    4: "damp grey soil",
    5: "soil with vegetation stubble",
    7: "very damp grey soil",
}
#: Names of the classes of `shuttle` by number.
SHUTTLE_CLASSES: Mapping[int, str] = {
    1: "Rad Flow",
    2: "Fpv Close",
    3: "Fpv Open",
    4: "High",
    5: "Bypass",
    6: "Bpv Close",
    7: "Bpv Open",
}


class Table(NamedTuple):
    """Measurements; unpacks as ``features, labels, anomalous = satellite()``.

    Attributes
    ----------
    features
        float32 of shape (N, m), whole numbers as published: neither centred nor scaled.
    labels
        int64 of shape (N,), the class by its published number, which starts at 1.
    anomalous
        bool of shape (N,), whether the class counts as an anomaly by convention.
    """

    features: Tensor
    labels: Tensor
    anomalous: Tensor


def satellite() -> Table:
    """Load Satellite: neighbourhoods of 3 x 3 pixels in an image of fields, in four colours.

    6,435 neighbourhoods, each with the soil or crop of its central pixel. The three smallest
    classes are the anomalies by the convention of Liu, Ting and Zhou (2008), which the library
    ODDS keeps: cotton crop (2), damp grey soil (4) and soil with vegetation stubble (5), 2,036
    rows or 31.6 %. Nothing is wrong with them; they are what the convention calls unusual.

    The features are whole numbers in 0..255 (27 to 157 occur), and none is constant. Feature
    4 j + b is band b of pixel j: the pixels are read row by row from the top left, the bands are
    two of visible light, green and red, and two of near infrared.
    ``features.view(-1, 3, 3, 4)`` makes small pictures of them.

    Caution: the neighbourhoods overlap. Nearly every row shares six of its nine pixels with
    another row, and in half of all cases with the next: the rows are in the order of the
    publication, which largely follows the image. No split of the rows is therefore independent.
    A random one puts near copies on both sides, and a score on the test side says little about
    another image. Mix the rows before taking a part.

    Returns
    -------
    Table
        ``features``, float32 of shape (6435, 36); ``labels``, int64 of shape (6435,), keys of
        `SATELLITE_CLASSES`; ``anomalous``, bool of shape (6435,). New tensors at every call.

    Raises
    ------
    OSError
        If the shipped file is missing or damaged.

    Notes
    -----
    Source: A. Srinivasan, "Statlog (Landsat Satellite)", UCI Machine Learning Repository, 1993,
    https://doi.org/10.24432/C55887, by way of the R package mlbench. The first 4,435 rows are the
    training file of that publication and the others its test file. Licence: CC BY 4.0.

    References
    ----------
    D. Michie, D. J. Spiegelhalter, C. C. Taylor, "Machine Learning, Neural and Statistical
    Classification", Ellis Horwood, 1994.

    F. T. Liu, K. M. Ting, Z.-H. Zhou, "Isolation Forest", Proceedings of the Eighth IEEE
    International Conference on Data Mining, 413-422, 2008.

    Shebuti Rayana, "ODDS Library", Stony Brook University, 2016, http://odds.cs.stonybrook.edu.

    Examples
    --------
    >>> features, labels, anomalous = satellite()
    >>> tuple(features.shape), round(anomalous.double().mean().item(), 3)
    ((6435, 36), 0.316)
    """
    features, labels = _read("satellite.npz")
    anomalous = (labels == 2) | (labels == 4) | (labels == 5)
    return Table(features, labels, anomalous)


@checked
def shuttle(*, full: bool = False) -> Table:
    """Load Shuttle: nine measurements around the radiators of a space shuttle, and their state.

    49,097 readings. Class 1 (Rad Flow) is normal, and classes 2, 3, 5, 6 and 7 are the anomalies,
    3,511 rows or 7.2 %, while class 4 (High) is left out: the convention of Liu, Ting and Zhou
    (2008), which the library ODDS keeps. 3,267 of the anomalies are of class 5 (Bypass) and only
    23 of classes 6 and 7, so a mean over all anomalies says little about the rare ones. Most are
    easy: the last feature by itself ranks them with an area under the ROC curve of 0.984.

    The features are whole numbers, and none is constant. Their scales differ greatly. Features 1,
    3 and 5, counted from 0, are near zero in most rows and in the thousands in a few: a mean and a
    standard deviation describe them badly. Three features follow from others but for rounding:
    feature 6 is feature 2 minus feature 0, within 1; feature 7 is feature 2 minus feature 4, and
    feature 8 is feature 7 minus feature 6, both within 2. All rows therefore lie near a space of
    six dimensions, the anomalies too.

    Parameters
    ----------
    full
        Return all 58,000 readings, with the 8,903 of class 4 among the anomalies, which are then
        21.4 %.

    Returns
    -------
    Table
        ``features``, float32 of shape (N, 9); ``labels``, int64 of shape (N,), keys of
        `SHUTTLE_CLASSES`; ``anomalous``, bool of shape (N,). No row occurs twice. New tensors at
        every call.

    Raises
    ------
    OSError
        If the shipped file is missing or damaged.

    Notes
    -----
    Source: "Statlog (Shuttle)", UCI Machine Learning Repository, https://doi.org/10.24432/C5WS31,
    by way of the R package mlbench. The rows are in the order of the publication, which is a
    random one: with ``full``, the first 43,500 are its training file and the others its test file.
    Licence: CC BY 4.0.

    References
    ----------
    D. Michie, D. J. Spiegelhalter, C. C. Taylor, "Machine Learning, Neural and Statistical
    Classification", Ellis Horwood, 1994.

    F. T. Liu, K. M. Ting, Z.-H. Zhou, "Isolation Forest", Proceedings of the Eighth IEEE
    International Conference on Data Mining, 413-422, 2008.

    Shebuti Rayana, "ODDS Library", Stony Brook University, 2016, http://odds.cs.stonybrook.edu.

    Examples
    --------
    >>> features, labels, anomalous = shuttle()
    >>> tuple(features.shape), round(anomalous.double().mean().item(), 3)
    ((49097, 9), 0.072)
    """
    features, labels = _read("shuttle.npz")
    if not full:
        features, labels = features[labels != 4], labels[labels != 4]
    return Table(features, labels, labels != 1)


def _read(name: str) -> tuple[Tensor, Tensor]:
    arrays = shipped_arrays(name)
    # order "C": the stored features may be column-major, which compresses better
    features = arrays["features"].astype(np.float32, order="C")
    return torch.from_numpy(features), torch.from_numpy(arrays["labels"].astype(np.int64))
