"""Tests of tools/builders/popularity.py and rdata.py: R's data bases, and posts made of them."""

import bz2
import gzip
import lzma
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aebook.datasets import POST_COLUMNS, verified

ROOT = Path(__file__).resolve().parents[1]
with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(ROOT / "tools")
    from builders import popularity, rdata, sources


# R's serialization, as R Internals describes it -------------------------------------------------


def string(text: str | None) -> bytes:
    if text is None:
        return struct.pack(">2i", 9, -1)
    return struct.pack(">2i", 0x8009, len(text.encode())) + text.encode()


def vector(kind: int, items: list, attributes: bytes = b"") -> bytes:
    """Logicals (10), integers (13), doubles (14), strings (16), or a list (19)."""
    if kind in (10, 13, 14):
        content = struct.pack(f">{len(items)}{'d' if kind == 14 else 'i'}", *items)
    else:
        content = b"".join(string(item) if kind == 16 else item for item in items)
    return (
        struct.pack(">2i", kind | (0x200 if attributes else 0), len(items)) + content + attributes
    )


def named(items: dict[str, bytes]) -> bytes:
    """A list with names, its only attribute."""
    tag = struct.pack(">i", 1) + string("names")
    names = struct.pack(">i", 0x402) + tag + vector(16, [*items]) + struct.pack(">i", 254)
    return vector(19, [*items.values()], names)


def serialized(content: bytes, version: int = 3) -> bytes:
    head = b"X\n" + struct.pack(">3i", version, 0x40101, 0x30500)
    return head + (struct.pack(">i", 5) + b"UTF-8" if version == 3 else b"") + content


def raw_lzma(content: bytes) -> bytes:
    return lzma.compress(content, lzma.FORMAT_RAW, filters=rdata._FILTERS)


def data_base(content: bytes, how: str = "zlib", name: str = "table") -> tuple[bytes, bytes]:
    """Index and store, with something else in front of the object."""
    pack = {
        "zlib": zlib.compress,
        "bzip2": lambda data: b"2" + bz2.compress(data),
        "xz": lambda data: b"Z" + raw_lzma(data),
    }[how]
    entry = struct.pack(">i", len(content)) + pack(content)
    index = named(
        {
            "variables": named({"before": vector(13, [0, 3]), name: vector(13, [3, len(entry)])}),
            "references": vector(19, []),
            "compressed": vector(13, [2]),
        }
    )
    return gzip.compress(serialized(index)), b"???" + entry


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("how", ["zlib", "bzip2", "xz"])
def test_a_data_base_is_decoded(how: str, version: int) -> None:
    content = serialized(named({"a": vector(14, [1.5, -2]), "é": vector(16, ["ü", None])}), version)
    found = rdata.read_lazy(*data_base(content, how), "table")
    assert found.attributes["names"].values == ["a", "é"]
    assert found.values[0].values.tolist() == [1.5, -2]
    assert found.values[1].values == ["ü", None]


def test_other_data_bases_are_refused() -> None:
    index, store = data_base(serialized(vector(13, [1])))
    with pytest.raises(ValueError, match="the index has no other, but before, table"):
        rdata.read_lazy(index, store, "other")
    with pytest.raises(ValueError, match="not the index"):
        rdata.read_lazy(b"nothing", store, "table")
    with pytest.raises(ValueError, match="not the index"):
        rdata.read_lazy(gzip.compress(serialized(vector(19, [struct.pack(">i", 254)]))), store, "a")
    with pytest.raises(ValueError, match="not serialized by R"):
        rdata.read_lazy(gzip.compress(b"nothing"), store, "table")
    changed = store[:3] + struct.pack(">i", 99) + store[7:]
    with pytest.raises(ValueError, match="should have 99 bytes"):
        rdata.read_lazy(index, changed, "table")
    with pytest.raises(ValueError, match="version 2 or 3"):
        rdata.unserialize(serialized(vector(13, [1]), 4))


# Posts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("I don't know", {"length": 12, "words": 3, "capitals": 1}),
        (
            "SEE https://t.co/AB1?x=2 NOW!!",
            {"length": 30, "words": 2, "links": 1, "exclamations": 2, "capitals": 6,
             "capital_words": 2},
        ),
        (
            '"@one: are you 42?" #yes #no',
            {"length": 28, "words": 5, "mentions": 1, "hashtags": 2, "questions": 1,
             "quotation_marks": 2, "digits": 2},
        ),
        ("“Été” @ # 5", {"length": 11, "words": 1, "quotation_marks": 2, "digits": 1,
                          "capitals": 1}),
    ],
)  # fmt: skip
def test_a_text_becomes_eleven_numbers(text: str, expected: dict[str, int]) -> None:
    found = dict(zip(POST_COLUMNS[:11], popularity.numbers(text), strict=True))
    assert found == dict.fromkeys(POST_COLUMNS[:11], 0) | expected


@given(st.lists(st.integers(0, 2**24 - 1), min_size=1, max_size=20))
def test_three_bytes_hold_what_they_should(values: list[int]) -> None:
    rows = popularity.three_bytes(np.array(values))
    assert rows.dtype == np.uint8
    assert [int.from_bytes(bytes(column), "little") for column in rows.T] == values


@pytest.mark.parametrize("value", [-1, 2**24])
def test_three_bytes_refuse_the_rest(value: int) -> None:
    with pytest.raises(ValueError, match="expected 0 to 16777215"):
        popularity.three_bytes(np.array([5, value]))


@pytest.fixture
def dslabs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five posts in place of the package's, declared to be the right ones."""
    start = popularity.POSTS_EPOCH
    content = serialized(
        named(
            {
                "source": vector(16, ["Twitter for iPhone", "Elsewhere", "TweetDeck", "Vine", "x"]),
                "text": vector(16, ["A &amp; b", "@one no", "RT @one: yes", '"No"', "y" * 300]),
                "created_at": vector(
                    14, [start + 599.0, start + 60.0, start + 5.0, start + 120.0, start + 600.0]
                ),
                "retweet_count": vector(13, [70_000, 1, 9_999, 2, 3]),
                "in_reply_to_user_id_str": vector(16, [None, None, None, None, "7"]),
                "favorite_count": vector(13, [5, 6, 7, 8, 9]),
            }
        )
    )
    index, store = data_base(content, "xz", "trump_tweets")
    for name, data in (("Rdata.rdx", index), ("Rdata.rdb", store)):
        (tmp_path / name).write_bytes(data)
        monkeypatch.setitem(popularity.DSLABS_SHA256, name, verified.sha256(data))
    return tmp_path


def test_posts_are_put_in_order_and_reduced(dslabs: Path) -> None:
    arrays = popularity.posts(dslabs)
    features = dict(zip(POST_COLUMNS, arrays["features"].T.tolist(), strict=True))
    assert arrays["features"].flags.f_contiguous
    # the one that passes on another's is left out, and "&amp;" is one letter
    assert features["length"] == [7, 4, 5, 255]
    assert features["source"] == [4, 4, 2, 4]
    assert features["reply"] == [1, 0, 0, 1]
    assert features["quote"] == [0, 1, 0, 0]
    assert arrays["minutes"].tolist() == [[1, 1, 7, 1], [0] * 4, [0] * 4]
    assert (arrays["reposts"].T @ [1, 256, 65536]).tolist() == [1, 2, 70_000, 3]
    assert arrays["favourites"][0].tolist() == [6, 8, 5, 9]


def test_a_wrong_source_is_refused(dslabs: Path) -> None:
    (dslabs / "Rdata.rdb").write_bytes(b"changed")
    with pytest.raises(sources.SourceError, match="has SHA-256"):
        popularity.posts(dslabs)


def test_an_installed_package_is_used_and_otherwise_debians(
    dslabs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = popularity.posts(dslabs)
    asked: list[str] = []

    def unpack(package: str, folder: Path) -> Path:
        asked.append(package)
        target = folder / popularity.DSLABS
        target.mkdir(parents=True)
        for name in popularity.DSLABS_SHA256:
            (target / name).write_bytes((dslabs / name).read_bytes())
        return folder

    monkeypatch.setattr(popularity, "debian", unpack)
    place: Callable[[Path], None] = lambda path: monkeypatch.setattr(popularity, "DSLABS", path)  # noqa: E731
    place(Path("no/such/folder"))
    found = popularity.posts(None)
    assert asked == ["r-cran-dslabs"]
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    place(dslabs)
    popularity.posts(None)
    assert asked == ["r-cran-dslabs"]
