"""Posts and articles with how often they were passed on: counts in the order of time."""

import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from aebook._internal.contract import checked
from aebook._internal.files import replace
from aebook.datasets import verified

__all__ = ["NEWS_COLUMNS", "POST_COLUMNS", "Posts", "online_news", "posts"]

#: Numbers that each post of `posts` is described by in the shipped file.
POST_COLUMNS: tuple[str, ...] = (
    "length", "words", "links", "mentions", "hashtags", "exclamations", "questions",
    "quotation_marks", "digits", "capitals", "capital_words", "source", "reply", "quote",
)  # fmt: skip
#: Features of `online_news`, by the names of the publication.
NEWS_COLUMNS: tuple[str, ...] = (
    "n_tokens_title", "n_tokens_content", "n_unique_tokens", "n_non_stop_words",
    "n_non_stop_unique_tokens", "num_hrefs", "num_self_hrefs", "num_imgs", "num_videos",
    "average_token_length", "num_keywords", "data_channel_is_lifestyle",
    "data_channel_is_entertainment", "data_channel_is_bus", "data_channel_is_socmed",
    "data_channel_is_tech", "data_channel_is_world", "kw_min_min", "kw_max_min", "kw_avg_min",
    "kw_min_max", "kw_max_max", "kw_avg_max", "kw_min_avg", "kw_max_avg", "kw_avg_avg",
    "self_reference_min_shares", "self_reference_max_shares", "self_reference_avg_sharess",
    "weekday_is_monday", "weekday_is_tuesday", "weekday_is_wednesday", "weekday_is_thursday",
    "weekday_is_friday", "weekday_is_saturday", "weekday_is_sunday", "is_weekend", "LDA_00",
    "LDA_01", "LDA_02", "LDA_03", "LDA_04", "global_subjectivity", "global_sentiment_polarity",
    "global_rate_positive_words", "global_rate_negative_words", "rate_positive_words",
    "rate_negative_words", "avg_positive_polarity", "min_positive_polarity",
    "max_positive_polarity", "avg_negative_polarity", "min_negative_polarity",
    "max_negative_polarity", "title_subjectivity", "title_sentiment_polarity",
    "abs_title_subjectivity", "abs_title_sentiment_polarity",
)  # fmt: skip

#: 1 January 2009, midnight UTC, in seconds since 1970: from where the posts' minutes are counted.
POSTS_EPOCH = 1_230_768_000
#: 8 January 2015, likewise: from where the articles' days are counted, backwards.
NEWS_EPOCH = 1_420_675_200
NEWS_ROWS = 39_644
#: A day in seconds, and how far the clock of the posts is behind UTC.
DAY, CLOCK = 86_400, 5 * 3_600

SOURCES = ("web", "android", "iphone", "deck", "other")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

# without checksums, which the publisher does not give: what comes is compared with the table that
# was published, by `read_news`, and only then kept
NEWS = verified.Archive(
    "online-news-popularity", "https://archive.ics.uci.edu/static/public/332/", checksums={}
)
#: The name under which the archive is published, and names under which it may be found.
NEWS_ZIP = "online+news+popularity.zip"
NEWS_CSV = "OnlineNewsPopularity.csv"
NEWS_NAMES = (
    NEWS_ZIP,
    "OnlineNewsPopularity.zip",
    NEWS_CSV,
    f"OnlineNewsPopularity/{NEWS_CSV}",
)


class Posts(NamedTuple):
    """Posts in the order of time; unpacks as ``features, counts, times, names = posts()``.

    Attributes
    ----------
    features
        float32 of shape (N, m), what is known of a post before anyone has seen it; neither centred
        nor scaled.
    counts
        int64 of shape (N,), how often it was passed on in the end.
    times
        int64 of shape (N,), when it appeared, in seconds since 1970 (UTC). It never falls.
    names
        What each column of ``features`` is.
    """

    features: Tensor
    counts: Tensor
    times: Tensor
    names: tuple[str, ...]


@checked
def posts(count: Literal["reposts", "favourites"] = "reposts", *, replies: bool = False) -> Posts:
    """Load numbers that describe the posts of one public account, 2009 to 2017, and their counts.

    17,437 posts, or 20,736 with replies. No text is stored, and no word of it. The features are
    counts of what the text has, the program it was sent with, and its time: 30 columns, all 0 or
    more, so that ``features.log1p()`` is a good start.

    - ``length`` in letters, ``words``, ``links``, ``mentions``, ``hashtags``, ``exclamations``,
      ``questions`` and ``quotation_marks``, ``digits``, ``capitals`` and ``capital_words``;
    - ``source_web``, ``source_android``, ``source_iphone``, ``source_deck``, ``source_other``:
      0 or 1;
    - ``gap``, minutes since the post before;
    - ``hour_0``, ``hour_4``, ..., ``hour_20``: whether the post appeared in these four hours, by a
      clock five hours behind UTC; ``monday`` to ``sunday``, by the same clock;
    - with ``replies``, also ``reply`` and ``quote``: whether the text answers a post or begins with
      a quotation mark, as it does when it repeats someone's.

    Caution: the account grew. The median of the reposts was under 10 in 2009 and over 10,000 in
    2017, so that a random split tells nothing: use `aebook.applications.popularity.time_split`. The
    counts are those at the time of collection, at the end of the period at the latest.

    Parameters
    ----------
    count
        Which count to return: how often a post was passed on, or marked as a favourite.
    replies
        Keep posts that answer or repeat another's. Few people see them, and for years they were a
        third of all.

    Returns
    -------
    Posts
        New tensors at every call.

    Raises
    ------
    OSError
        If the shipped file is missing or damaged.
    ValueError
        If there is no such count.

    Notes
    -----
    Source: ``trump_tweets`` of the R package dslabs 0.7.4 by R. A. Irizarry and A. Gill, from the
    Trump Twitter Archive, reduced to numbers. Licence: Artistic-2.0.

    Examples
    --------
    >>> features, counts, times, names = posts()
    >>> tuple(features.shape), int(counts.median())
    ((17437, 30), 429)
    """
    arrays: Any = verified.shipped_arrays("posts.npz")
    stored = arrays["features"]
    gaps, counts = (_whole(arrays[name]) for name in ("minutes", count))
    times = POSTS_EPOCH + 60 * np.cumsum(gaps)
    gaps[0] = 0
    local = times - CLOCK
    # the first of January 1970 was a Thursday
    hour, weekday = local % DAY // 3600, (local // DAY + 3) % 7
    blocks = {
        POST_COLUMNS[:11]: stored[:, :11],
        tuple(f"source_{name}" for name in SOURCES): np.eye(5)[stored[:, 11]],
        ("gap",): gaps[:, None],
        tuple(f"hour_{start}" for start in range(0, 24, 4)): np.eye(6)[hour // 4],
        WEEKDAYS: np.eye(7)[weekday],
    }
    keep = ~stored[:, 12:].any(1)
    if replies:
        blocks[POST_COLUMNS[12:]] = stored[:, 12:]
        keep[:] = True
    features = np.concatenate(list(blocks.values()), axis=1).astype(np.float32)
    arrays = (features[keep], counts[keep], times[keep])
    return Posts(*map(torch.from_numpy, arrays), names=sum(blocks, ()))


def online_news() -> Posts:
    """Load Online News Popularity: 39,644 articles of a news site, and how often each was shared.

    The data set does not ship. It is looked for, as ``online+news+popularity.zip``,
    ``OnlineNewsPopularity.zip`` or ``OnlineNewsPopularity.csv``, in the folder that the environment
    variable ``AEBOOK_DATA`` names (or its subfolder ``online-news-popularity``), in
    ``/usr/share/datasets/online-news-popularity`` and in the cache, and else downloaded into the
    cache. The publisher gives no checksum: the columns' names, their number, the number of rows and
    the ranges are compared with those published, not the bytes.

    Caution: the articles cover two years, in the order of time. The features ``kw_...`` and
    ``self_reference_...`` are shares of other articles, which the publication takes to be known
    beforehand.

    Returns
    -------
    Posts
        ``features``, float32 of shape (39644, 58), the columns `NEWS_COLUMNS`; ``counts``, the
        shares; ``times``, midnight of the day. New tensors at every call.

    Raises
    ------
    ConnectionError
        If no good copy is here and none can be downloaded. The message says where it was looked
        for, why each place failed, and what to do.

    Warns
    -----
    UserWarning
        If a copy on this machine is damaged and is therefore passed over.

    Notes
    -----
    Source: K. Fernandes, P. Vinagre, P. Cortez, P. Sernadela, "Online News Popularity", UCI Machine
    Learning Repository, 2015, https://doi.org/10.24432/C5NS3V. Licence: CC BY 4.0.

    References
    ----------
    K. Fernandes, P. Vinagre, P. Cortez, "A Proactive Intelligent Decision Support System for
    Predicting the Popularity of Online News", EPIA 2015.
    """
    return verified.look_for(
        NEWS,
        NEWS_ZIP,
        _news_copies(),
        _read_copy,
        lambda: _fetched(verified.RETRIES),
        [
            "use the posts that ship with the package: aebook.datasets.posts()",
            f"put {NEWS_ZIP} into a folder and set AEBOOK_DATA to its path",
        ],
        stacklevel=3,
    )


def read_news(data: bytes, rows: int = NEWS_ROWS) -> Posts:
    """Decode and verify the published table, or the archive that it comes in.

    Parameters
    ----------
    data
        The bytes of the ``.zip`` or of the ``.csv``.
    rows
        How many articles there must be.

    Raises
    ------
    ValueError
        If it is not that table: the message says what differs.
    """
    if data[:2] == b"PK":
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                (name,) = [n for n in archive.namelist() if Path(n).name == NEWS_CSV]
                data = verified.unpacked(archive.open(name))
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
            raise ValueError(f"not a whole archive with one {NEWS_CSV} ({error})") from error
    header, _, body = data.partition(b"\n")
    names = tuple(name.strip() for name in header.decode("ascii", "replace").split(","))
    expected = ("url", "timedelta", *NEWS_COLUMNS, "shares")
    if names != expected:
        raise ValueError(
            f"got {len(names)} columns that begin with {names[:3]}, expected {len(expected)} that "
            f"begin with {expected[:3]}"
        )
    table = np.loadtxt(
        io.BytesIO(body), delimiter=",", usecols=range(1, len(names)), comments=None, ndmin=2
    )
    if len(table) != rows:
        raise ValueError(f"got {len(table):,} articles, expected {rows:,}")
    days, shares = table[:, 0], table[:, -1]
    if not (
        np.isfinite(table).all()
        and (table[:, [0, -1]] == table[:, [0, -1]].round()).all()
        and days.min() >= 0
        and shares.min() >= 1
    ):
        raise ValueError("got values that are not finite, or days or shares that are no counts")
    order = np.argsort(-days, kind="stable")
    arrays = (
        table[order, 1:-1].astype(np.float32),
        shares[order].astype(np.int64),
        NEWS_EPOCH - DAY * days[order].astype(np.int64),
    )
    return Posts(*map(torch.from_numpy, arrays), names=NEWS_COLUMNS)


def _whole(rows: np.ndarray) -> np.ndarray:
    """Put together whole numbers from three rows of bytes, the lowest first."""
    return (rows.astype(np.int64) << np.array([[0], [8], [16]])).sum(0)


def _news_copies() -> Iterator[Path]:
    """Yield the copies on this machine, the cached one last."""
    for folder in (*verified.local_folders(NEWS), verified.cache_folder(NEWS)):
        yield from (path for name in NEWS_NAMES if (path := folder / name).is_file())


def _read_copy(path: Path) -> Posts:
    try:
        return read_news(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _fetched(retries: int) -> Posts:
    """Download the archive, verify it, and keep it in the cache."""
    try:
        data = _download(f"{NEWS.url}{NEWS_ZIP}")
        news = read_news(data)
    except (OSError, ValueError):
        if not retries:
            raise
        return _fetched(retries - 1)
    target = verified.cache_folder(NEWS) / NEWS_ZIP
    target.parent.mkdir(parents=True, exist_ok=True)
    replace(target, lambda file: file.write(data))
    return news


def _download(url: str) -> bytes:
    buffer = io.BytesIO()
    verified.downloader()(url, buffer, None)
    return buffer.getvalue()
