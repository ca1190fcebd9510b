"""Tests of aebook.datasets.chemistry, and of how its file is made from its source."""

import gzip
import hashlib
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from aebook.applications.molecules.measures import canonical, properties, scaffolds
from aebook.datasets import molecules, verified

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(Path(__file__).resolve().parents[1] / "tools")
    from builders import molecules as builder
    from builders import sources

SIZES = {"train": 25_000, "test": 5_000, "test_scaffolds": 5_000}


@pytest.fixture(scope="module")
def splits() -> dict[str, list[str]]:
    return {split: molecules(split) for split in SIZES}


def test_sizes_lengths_and_order(splits: dict[str, list[str]]) -> None:
    for split, lines in splits.items():
        assert len(lines) == SIZES[split]
        hashes = [hashlib.sha256(line.encode()).hexdigest() for line in lines]
        assert hashes == sorted(hashes)
        # a random 1 in 63 or 1 in 35 of all hashes
        assert int(hashes[-1][:8], 16) / 2**32 < 1 / 34
    lengths = [len(line) for lines in splits.values() for line in lines]
    assert (min(lengths), max(lengths), round(sum(lengths) / 35_000)) == (16, 54, 36)


def test_no_molecule_occurs_twice_within_or_across_splits(splits: dict[str, list[str]]) -> None:
    assert len(set().union(*splits.values())) == 35_000


def test_elements_and_bonds_are_those_that_the_docstring_names(
    splits: dict[str, list[str]],
) -> None:
    known = re.compile(r"(C|N|O|S|F|Cl|Br|c|n|o|s|\[nH\]|\[H\]|[-=#()]|[1-9])+")
    for lines in splits.values():
        assert all(known.fullmatch(line) for line in lines)


@pytest.mark.needs("rdkit")
def test_scaffolds_of_one_test_set_occur_in_no_other(splits: dict[str, list[str]]) -> None:
    held = set(scaffolds(splits["test_scaffolds"][:1000]))
    assert len(held) > 100
    assert held.isdisjoint(scaffolds([*splits["train"][:3000], *splits["test"][:1000]]))


@pytest.mark.needs("rdkit")
def test_rdkit_reads_them_and_weighs_them(splits: dict[str, list[str]]) -> None:
    for lines in splits.values():
        some = lines[:300]
        assert canonical(some) == some
        weight = properties(some).weight
        assert weight.min() > 250
        assert weight.max() < 350


def test_each_call_returns_a_new_list() -> None:
    molecules("test").clear()
    assert len(molecules("test")) == 5_000


@pytest.mark.parametrize("split", ["scaffolds", "Train", "", None, 0])
def test_a_wrong_split_is_refused(split: object) -> None:
    with pytest.raises(ValueError, match=r"got split=.*, expected") as error:
        molecules(split)
    assert repr(split) in str(error.value)


# The builder -------------------------------------------------------------------------------------


@pytest.fixture
def molsets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a wheel with these tables and declare that to be the right one; return its path."""

    def write(**tables: str) -> Path:
        path = tmp_path / "molsets.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for split, table in tables.items():
                name = f"moses/dataset/data/{split}.csv.gz"
                archive.writestr(name, gzip.compress(table.encode()))
        monkeypatch.setattr(builder, "MOLSETS_WHEEL", verified.sha256(path.read_bytes()))
        monkeypatch.setattr(builder, "TRAIN", 3)
        monkeypatch.setattr(builder, "TEST", 2)
        monkeypatch.setattr(builder, "SCAFFOLDS", 1)
        return path

    return write


def test_the_smallest_hashes_are_chosen_and_put_in_alphabetical_order(
    molsets: Callable[..., Path],
) -> None:
    train, test = ["C" * n for n in range(1, 9)], ["N" + "C" * n for n in range(5)]
    other = ["O" + "C" * n for n in range(4)]
    published = {"train": (train, 3), "test": (test, 2), "test_scaffolds": (other, 1)}
    tables = {name: "\n".join(["SMILES", *lines, ""]) for name, (lines, _) in published.items()}
    arrays = builder.molecules(molsets(**tables))
    assert list(arrays) == list(published)
    for array, (lines, count) in zip(arrays.values(), published.values(), strict=True):
        rank = {hashlib.sha256(line.encode()).digest(): line for line in lines}
        assert array.tobytes().decode().split("\n") == sorted(rank[k] for k in sorted(rank)[:count])


def test_a_source_that_is_another_one_is_refused(
    molsets: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    good = "SMILES\nC\nCC\nCCC\n"
    with pytest.raises(sources.SourceError, match="test has 1 molecules, expected 2"):
        builder.molecules(molsets(train=good, test="SMILES\nC\n", test_scaffolds=good))
    with pytest.raises(sources.SourceError, match="train starts with 'C', expected 'SMILES'"):
        builder.molecules(molsets(train="C\nCC\n", test=good, test_scaffolds=good))
    path = molsets(train=good, test=good, test_scaffolds=good)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(sources.SourceError, match="has SHA-256"):
        builder.molecules(path)


def test_without_a_copy_the_wheel_is_downloaded(
    molsets: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = molsets(train="SMILES\nC\nN\nO\n", test="SMILES\nS\nF\n", test_scaffolds="SMILES\nCl\n")
    asked = []
    monkeypatch.setattr(builder, "wheel", lambda name, folder: asked.append(name) or path)
    assert builder.molecules(None)["train"].tobytes() == b"C\nN\nO"
    assert asked == ["molsets==0.3.1"]
