"""Tests of aebook.datasets.news: the posts that ship, and news found, fetched or refused."""

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from aebook.datasets import NEWS_COLUMNS, POST_COLUMNS, news, online_news, posts, verified

# The posts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("replies", "rows", "columns"), [(False, 17_437, 30), (True, 20_736, 32)])
def test_shapes_types_and_ranges(replies: bool, rows: int, columns: int) -> None:
    data = posts(replies=replies)
    features, counts, times, names = data
    assert features is data.features
    assert features.shape == (rows, columns)
    assert features.dtype == torch.float32
    assert features.is_contiguous()
    assert counts.shape == times.shape == (rows,)
    assert counts.dtype == times.dtype == torch.int64
    assert len(names) == len(set(names)) == columns
    # whole numbers, 0 or more, none of the columns constant
    assert torch.equal(features, features.round())
    assert features.min() == 0
    assert (features.amax(0) > features.amin(0)).all()
    assert counts.min() == 0
    assert (times.diff() >= 0).all()


def test_times_are_those_of_the_period_and_give_the_day_and_the_hour() -> None:
    features, _, times, names = posts()
    # by the clock five hours behind UTC
    local = (times.numpy() - 5 * 3600).astype("datetime64[s]")
    assert local[0].astype("datetime64[Y]") == np.datetime64("2009")
    assert local[-1] < np.datetime64("2018-01-02")
    start = names.index("hour_0")
    assert names[start : start + 6] == (
        "hour_0",
        "hour_4",
        "hour_8",
        "hour_12",
        "hour_16",
        "hour_20",
    )
    assert names[start + 6 :][0] == "monday"
    hours = local.astype("datetime64[h]").astype(int) % 24
    assert (features[:, start : start + 6].argmax(1).numpy() == hours // 4).all()
    assert (features[:, start : start + 6].sum(1) == 1).all()
    # an independent calendar
    weekdays = [moment.weekday() for moment in local.astype(object)[::500]]
    assert features[::500, start + 6 : start + 13].argmax(1).tolist() == weekdays
    assert (features[:, start + 6 : start + 13].sum(1) == 1).all()


def test_gaps_are_the_minutes_between_all_posts() -> None:
    features, _, times, names = posts(replies=True)
    gaps = features[:, names.index("gap")].double()
    assert torch.equal(60 * gaps[1:], times.diff().double())
    assert gaps[0] == 0
    # and do not depend on which posts are kept
    flags = features[:, names.index("reply")] + features[:, names.index("quote")]
    some = posts()
    assert torch.equal(some.features[:, some.names.index("gap")].double(), gaps[flags == 0])


def test_replies_are_left_out_and_nothing_else() -> None:
    every, some = posts(replies=True), posts()
    assert every.names[:30] == some.names
    assert every.names[30:] == ("reply", "quote") == POST_COLUMNS[12:]
    keep = (every.features[:, 30:] == 0).all(1)
    assert torch.equal(every.features[keep, :30], some.features)
    assert torch.equal(every.counts[keep], some.counts)
    assert torch.equal(every.times[keep], some.times)
    # few people see them, when the level does not hide it
    early = slice(0, 10_000)
    reply = ~keep[early]
    assert every.counts[early][reply].median() < every.counts[early][~reply].median() / 3


def test_both_counts() -> None:
    reposts, favourites = posts(), posts("favourites")
    assert torch.equal(reposts.features, favourites.features)
    assert torch.equal(posts("reposts").counts, reposts.counts)
    assert (reposts.counts.max(), favourites.counts.max()) == (369_530, 633_253)
    assert reposts.counts.median() == 429
    # alike, and not the same
    a, b = reposts.counts.double().log1p(), favourites.counts.double().log1p()
    assert 0.8 < torch.corrcoef(torch.stack([a, b]))[0, 1] < 1
    with pytest.raises(ValueError, match="'reposts' or 'favourites'"):
        posts("likes")


def test_the_account_grew() -> None:
    _, counts, times, _ = posts()
    year = times.numpy().astype("datetime64[s]").astype("datetime64[Y]").astype(int) + 1970
    assert np.median(counts[year == 2009]) < 10
    assert np.median(counts[year == 2017]) > 10_000


def test_each_call_returns_new_tensors() -> None:
    first = posts()
    for tensor in first[:3]:
        tensor.fill_(1)
    assert posts().counts.unique().numel() > 2


def test_no_text_is_stored() -> None:
    # fourteen bytes a post, three numbers beside them, and no room for words
    with np.load(io.BytesIO(verified.read_shipped("posts.npz")), allow_pickle=False) as arrays:
        assert {arrays[name].dtype for name in arrays.files} == {np.dtype(np.uint8)}
        assert arrays["features"].shape == (20_736, len(POST_COLUMNS))
        assert {arrays[name].shape for name in arrays.files[1:]} == {(3, 20_736)}


# Online news -------------------------------------------------------------------------------------

HEADER = ", ".join(("url", "timedelta", *NEWS_COLUMNS, "shares"))


def table(days: list[int], shares: list[int], header: str = HEADER) -> bytes:
    """A small table as published: values 0.5, 1.5, ... in the features of each row."""
    lines = [header]
    for row, (day, share) in enumerate(zip(days, shares, strict=True)):
        values = ", ".join(f"{row + column / 100}" for column in range(58))
        lines.append(f"http://news.example/{row}#a/, {day}.0, {values}, {share}")
    return "\n".join(lines).encode() + b"\n"


def packed(content: bytes, name: str = "OnlineNewsPopularity/OnlineNewsPopularity.csv") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("OnlineNewsPopularity/OnlineNewsPopularity.names", "about")
        archive.writestr(name, content)
    return buffer.getvalue()


GOOD = table([731, 10, 731, 8], [593, 711, 1500, 3])


def check(found: news.Posts) -> None:
    # the earliest first: 731 days before 8 January 2015
    assert found.times.tolist() == [1_357_516_800, 1_357_516_800, 1_419_811_200, 1_419_984_000]
    assert found.counts.tolist() == [593, 1500, 711, 3]
    assert found.names == NEWS_COLUMNS
    assert found.features.shape == (4, 58)
    assert found.features.dtype == torch.float32
    assert found.features[:, 0].tolist() == [0, 2, 1, 3]
    np.testing.assert_allclose(found.features[1], 2 + np.arange(58) / 100, rtol=1e-6)


@pytest.mark.parametrize(
    "data",
    [GOOD, packed(GOOD), packed(GOOD, "OnlineNewsPopularity.csv")],
    ids=["table", "archive", "archive without folders"],
)
def test_news_are_decoded(data: bytes) -> None:
    check(news.read_news(data, rows=4))


def test_the_first_day_is_that_of_the_first_articles_address() -> None:
    # published: .../2013/01/07/..., 731 days before the collection
    assert np.datetime64(news.NEWS_EPOCH - 731 * news.DAY, "s") == np.datetime64("2013-01-07")
    assert len(NEWS_COLUMNS) == len(set(NEWS_COLUMNS)) == 58


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "got 1 columns"),
        (b"<html>not found</html>", "got 1 columns"),
        (packed(GOOD)[:-100], "not a whole archive"),
        (packed(GOOD, "other.csv"), "not a whole archive with one OnlineNewsPopularity.csv"),
        (packed(bytes(100_000_000)), "unpacks to more than 67,108,864 bytes"),
        (packed(GOOD)[:300] + b"?" + packed(GOOD)[301:], "not a whole archive"),
        (table([1], [1], HEADER.replace("LDA_00, ", "")), "got 60 columns"),
        (table([1], [1], HEADER.replace("LDA_00", "LDA_0")), "got 61 columns"),
        (table([1, 2, 3], [1, 2, 3]), "got 3 articles, expected 4"),
        (table([1, 2, 3, -1], [1, 2, 3, 4]), "not finite, or days or shares"),
        (table([1, 2, 3, 4], [1, 2, 3, 0]), "not finite, or days or shares"),
        (GOOD.replace(b"0.5,", b"nan,"), "not finite"),
        (GOOD.replace(b"0.5,", b"much,"), "could not convert"),
        (GOOD[:-200], "columns"),
    ],
)
def test_other_tables_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        news.read_news(data, rows=4)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with no data set on it and no network, where four articles are all there are."""
    monkeypatch.setenv("AEBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AEBOOK_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(verified, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setattr(verified, "RETRIES", 1)
    monkeypatch.setattr(news.read_news, "__defaults__", (4,))
    monkeypatch.setattr(news, "_download", no_network)
    return tmp_path


def no_network(url: str) -> bytes:
    raise OSError("network is unreachable")


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.mark.parametrize("name", news.NEWS_NAMES)
@pytest.mark.parametrize(
    "folder",
    ["data", "data/online-news-popularity", "system/online-news-popularity",
     "cache/online-news-popularity"],
)  # fmt: skip
def test_a_copy_on_this_machine_is_used(machine: Path, folder: str, name: str) -> None:
    put(machine / folder / name, packed(GOOD) if name.endswith(".zip") else GOOD)
    check(online_news())


def test_a_damaged_copy_is_passed_over_with_a_warning(machine: Path) -> None:
    put(machine / "data" / "OnlineNewsPopularity.csv", GOOD[:-200])
    put(machine / "system" / "online-news-popularity" / "OnlineNewsPopularity.csv", GOOD)
    with pytest.warns(UserWarning, match="looking elsewhere"):
        check(online_news())


@pytest.fixture
def served(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list], list[str]]:
    """Let the downloads give these bytes, one after the other; return what is asked for."""

    def serve(answers: list[bytes]) -> list[str]:
        asked: list[str] = []

        def answer(url: str) -> bytes:
            asked.append(url)
            return answers[len(asked) - 1]

        monkeypatch.setattr(news, "_download", answer)
        return asked

    return serve


def test_news_are_fetched_once(machine: Path, served: Callable[[list], list[str]]) -> None:
    asked = served([packed(GOOD)])
    check(online_news())
    check(online_news())
    assert asked == ["https://archive.ics.uci.edu/static/public/332/online+news+popularity.zip"]
    (kept,) = (machine / "cache" / "online-news-popularity").iterdir()
    assert kept.name == "online+news+popularity.zip"


def test_a_damaged_download_is_tried_again_and_never_kept(
    machine: Path, served: Callable[[list], list[str]]
) -> None:
    asked = served([packed(GOOD)[:-50], packed(GOOD)])
    check(online_news())
    assert len(asked) == 2
    served([b"<html>", b"<html>"])
    (machine / "cache" / "online-news-popularity" / "online+news+popularity.zip").unlink()
    with pytest.raises(ConnectionError, match="got 1 columns"):
        online_news()
    assert not list((machine / "cache" / "online-news-popularity").iterdir())


def test_a_damaged_copy_in_the_cache_is_fetched_again(
    machine: Path, served: Callable[[list], list[str]]
) -> None:
    target = machine / "cache" / "online-news-popularity" / "online+news+popularity.zip"
    put(target, packed(GOOD)[:-50])
    served([packed(GOOD)])
    with pytest.warns(UserWarning, match="looking elsewhere"):
        check(online_news())
    assert target.read_bytes() == packed(GOOD)


@pytest.mark.usefixtures("machine")
def test_without_a_network_the_error_says_what_to_do() -> None:
    with pytest.raises(ConnectionError) as error:
        online_news()
    message = str(error.value)
    for part in (
        "network is unreachable",
        "archive.ics.uci.edu/static/public/332/online+news+popularity.zip",
        "set AEBOOK_DATA",
        "AEBOOK_CACHE",
        "aebook.datasets.posts()",
    ):
        assert part in message


def test_the_download_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """What pooch is asked for, with a session that is no network."""
    import pooch

    def answer(self: object, url: str, output_file: io.BytesIO, _: None) -> None:
        assert re.fullmatch("https://a.example/b.zip", url)
        output_file.write(b"content")

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", answer)
    assert news._download("https://a.example/b.zip") == b"content"
