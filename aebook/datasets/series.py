"""An electrocardiogram: five minutes of a heart, with beats that come too early."""

from typing import NamedTuple

import torch
from torch import Tensor

from aebook.datasets.verified import shipped_arrays

__all__ = ["Series", "electrocardiogram"]


class Series(NamedTuple):
    """Values at equal distances in time; unpacks as ``values, rate = electrocardiogram()``.

    Attributes
    ----------
    values
        float32 of shape (T,), as measured: neither filtered nor scaled.
    rate
        Values a second, in hertz.
    """

    values: Tensor
    rate: int


def electrocardiogram() -> Series:
    """Load an electrocardiogram: the voltage between two places on a chest, for five minutes.

    Minutes 19:35 to 24:35 of record 208 of the MIT-BIH Arrhythmia Database, lead MLII. Most beats
    are ordinary, with a spike (the R wave) some 20 ms wide at half its height. About a hundred are
    three or more times as wide, and a deep wave follows: ventricular beats, most of which come
    early. There is a slow drift, noise of muscles, and between them three stretches of some seconds
    without a usable signal (around seconds 43, 98 and 211).

    Caution: the annotations of the database, beat by beat, do not ship. What counts as an anomaly
    is for a rule to say, such as the width of the spike, and no cardiologist has looked at what it
    gives. One record is one person: nothing here says how a method does with another.

    Returns
    -------
    Series
        ``values``, float32 of shape (108000,), in millivolts, multiples of 1/200 from -3.485 to
        3.65; ``rate``, 360 Hz. New tensors at every call.

    Raises
    ------
    OSError
        If the shipped file is missing or damaged.

    Notes
    -----
    Source: G. B. Moody, R. G. Mark, "MIT-BIH Arrhythmia Database", PhysioNet, 2005,
    https://doi.org/10.13026/C2F305, by way of the Python package SciPy 1.11.4. Licence: Open Data
    Commons Attribution License 1.0, as PhysioNet states it for the files of the database.

    References
    ----------
    G. B. Moody, R. G. Mark, "The impact of the MIT-BIH Arrhythmia Database", IEEE Engineering in
    Medicine and Biology Magazine 20(3), 45-50, 2001.

    A. L. Goldberger et al., "PhysioBank, PhysioToolkit, and PhysioNet", Circulation 101(23),
    e215-e220, 2000.

    Examples
    --------
    >>> values, rate = electrocardiogram()
    >>> len(values) / rate  # seconds
    300.0
    """
    stored = torch.from_numpy(shipped_arrays("electrocardiogram.npz")["values"].astype("float32"))
    # zero and gain of the converter, as the database gives them
    return Series((stored - 1024) / 200, 360)
