"""Counts and derived numbers of one public account's posts, from the R package dslabs."""

import html
import re
import tempfile
from pathlib import Path

import numpy as np

from aebook.datasets.news import POSTS_EPOCH
from builders.rdata import read_lazy
from builders.sources import debian, verified

DSLABS = Path("usr/lib/R/site-library/dslabs/data")
DSLABS_SHA256 = {
    "Rdata.rdx": "97e59cc21906407fe85a369cd92a765ea050e69346d4043545471972bd02a6b3",
    "Rdata.rdb": "7f740c8802abcf5de56096417560b2d5be317c59f30d50c9d37548695952aa3b",
}

#: Numbers of the programs that posts were sent with; every other one is 4.
SOURCES = {
    "Twitter Web Client": 0,
    "Twitter for Android": 1,
    "Twitter for iPhone": 2,
    "TweetDeck": 3,
}

LINK = re.compile(r"https?://\S+")
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


def posts(given: Path | None) -> dict[str, np.ndarray]:
    """Reduce each post to its time, its two counts and fourteen numbers; no text is kept.

    Left out are posts that pass on another's (they begin with "RT "), whose counts are the
    other's. Posts are in the order of time.

    Parameters
    ----------
    given
        The folder with dslabs' Rdata.rdx and Rdata.rdb, or None to find or download Debian's.

    Returns
    -------
    dict
        ``features``, uint8 of shape (N, 14), column-major; ``minutes``, ``reposts`` and
        ``favourites``, whole numbers as three bytes each, lowest first, uint8 of shape (3, N).
        The minutes are those since the post before, and for the first those since 2009 began.

    Raises
    ------
    SourceError
        If the files cannot be had or differ from those expected.
    """
    table = read_lazy(*_files(given), "trump_tweets")
    columns = zip(table.attributes["names"].values, table.values, strict=True)
    data = {name: column.values for name, column in columns}
    texts = [html.unescape(text) for text in data["text"]]
    order = np.argsort(data["created_at"], kind="stable")
    order = [n for n in order if not texts[n].startswith("RT ")]
    rows = [
        (
            *numbers(texts[n]),
            SOURCES.get(data["source"][n], 4),
            data["in_reply_to_user_id_str"][n] is not None or texts[n].startswith("@"),
            texts[n].startswith(('"', "“")),
        )
        for n in order
    ]
    # 255 stands for 255 or more
    features = np.asfortranarray(np.minimum(rows, 255).astype(np.uint8))
    minutes = data["created_at"][order].astype(np.int64) // 60 - POSTS_EPOCH // 60
    return {
        "features": features,
        "minutes": three_bytes(np.diff(minutes, prepend=0)),
        "reposts": three_bytes(data["retweet_count"][order]),
        "favourites": three_bytes(data["favorite_count"][order]),
    }


def numbers(text: str) -> tuple[int, ...]:
    """Return eleven numbers of a text: the first eleven of `aebook.datasets.POST_COLUMNS`."""
    rest = LINK.sub("", text)
    words = WORD.findall(rest)
    return (
        len(text),
        len(words),
        len(LINK.findall(text)),
        len(re.findall(r"@\w", rest)),
        len(re.findall(r"#\w", rest)),
        rest.count("!"),
        rest.count("?"),
        len(re.findall('["“”]', rest)),
        sum(letter.isdigit() for letter in rest),
        sum(letter.isupper() for letter in rest),
        sum(len(word) > 1 and word.isupper() for word in words),
    )


def three_bytes(values: np.ndarray) -> np.ndarray:
    """Split whole numbers below 2²⁴ into three rows of bytes, the lowest first."""
    if values.min() < 0 or values.max() >= 2**24:
        raise ValueError(f"got {values.min()} to {values.max()}, expected 0 to {2**24 - 1}")
    return np.stack([(values >> shift) & 255 for shift in (0, 8, 16)]).astype(np.uint8)


def _files(given: Path | None) -> list[bytes]:
    """Return the verified index and store."""
    installed = Path("/") / DSLABS
    folder = given or (installed if installed.is_dir() else None)
    if folder:
        return [verified(folder / name, digest) for name, digest in DSLABS_SHA256.items()]
    with tempfile.TemporaryDirectory() as temporary:
        folder = debian("r-cran-dslabs", Path(temporary)) / DSLABS
        return [verified(folder / name, digest) for name, digest in DSLABS_SHA256.items()]
