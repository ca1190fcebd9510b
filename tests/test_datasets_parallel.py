"""Tests of aebook.datasets.parallel: the segments and the characters that ship."""

import hashlib
import re
from collections import Counter
from importlib import resources

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer

from aebook.datasets import Segments, hanzi, segments

SIZES = {"train": 8_504, "validation": 1_000, "test": 1_000}
LANGUAGES = ("english", "french", "german", "chinese")
HAN = re.compile(r"[\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def data() -> dict[str, Segments]:
    return {split: segments(split) for split in SIZES}


def bare(text: str) -> str:
    """Without case, punctuation, spaces and English articles, by another way than the builder's."""
    kept = "".join(c if c.isalnum() or c == "_" else " " for c in text.casefold()).split()
    return " ".join(word for word in kept if word not in ("a", "an", "the"))


def test_sizes_and_names(data: dict[str, Segments]) -> None:
    for split, size in SIZES.items():
        assert data[split]._fields == LANGUAGES
        assert [len(texts) for texts in data[split]] == [size] * 4


def test_texts_are_clean(data: dict[str, Segments]) -> None:
    for split in data.values():
        for texts in split:
            for text in texts:
                assert text == " ".join(text.split())
                assert text.isprintable()
                assert not re.search(r"</?\w+>|&\w+;", text)
        for english, chinese in zip(split.english, split.chinese, strict=True):
            assert 2 <= len(english.split()) <= 12
            assert not re.search(r"\d", english)
            assert HAN.search(chinese)


def test_no_text_occurs_twice_within_or_across_splits(data: dict[str, Segments]) -> None:
    for language in LANGUAGES:
        texts = [bare(text) for split in data.values() for text in getattr(split, language)]
        assert max(Counter(texts).values()) == 1


def test_the_order_is_that_of_the_hashes(data: dict[str, Segments]) -> None:
    """Test, validation, training: one long list, in the order of the SHA-256 of the bare text."""
    texts = [bare(t) for split in ("test", "validation", "train") for t in data[split].english]
    digests = [hashlib.sha256(text.encode()).digest() for text in texts]
    assert digests == sorted(digests)


def test_translations_belong_together(data: dict[str, Segments]) -> None:
    """Names that are the same in all languages stand in the same rows; shifted by one, seldom."""
    train = data["train"]
    names = ("LibreOffice", "XML", "Basic", "Writer")
    for language in LANGUAGES[1:]:
        texts = getattr(train, language)
        for shift in (0, 1):
            both = [
                name in other
                for english, other in zip(train.english, texts[shift:] + texts[:shift], strict=True)
                for name in names
                if name in english
            ]
            share = sum(both) / len(both)
            assert share > 0.85 if shift == 0 else share < 0.15, (language, shift, share)


def test_languages_are_what_they_are_called(data: dict[str, Segments]) -> None:
    """The commonest words."""
    words = {"english": "the of to in", "french": "de la le les", "german": "die der sie den"}
    for language, expected in words.items():
        counter = CountVectorizer()
        counts = np.asarray(counter.fit_transform(getattr(data["train"], language)).sum(0))[0]
        names = counter.get_feature_names_out()
        assert {*names[counts.argsort()[-6:]]} >= {*expected.split()}
    characters = Counter(c for text in data["train"].chinese for c in text if HAN.match(c))
    assert characters.most_common(1)[0][0] == "的"


def test_every_chinese_character_has_a_description(data: dict[str, Segments]) -> None:
    used = {c for split in data.values() for text in split.chinese for c in text if HAN.match(c)}
    assert len(used) > 1_000
    assert used <= hanzi().keys()


def test_descriptions_are_trees_and_all_different() -> None:
    descriptions = hanzi()
    assert len(descriptions) == len({*descriptions.values()}) == 6_763
    for character, description in descriptions.items():
        assert len(character) == 1
        assert len(character.encode("gb2312")) == 2
        # each composition takes one place and opens two or three
        missing = 1
        for sign in description:
            assert missing > 0
            missing += {"⿲": 3, "⿳": 3}.get(sign, 2 if "⿰" <= sign <= "⿻" else 0) - 1
        assert missing == 0
        assert not {*description} & {*map(chr, range(0x31C0, 0x31F0))}


def test_known_characters() -> None:
    descriptions = hanzi()
    known = {"好": "⿰女子", "想": "⿱⿰木目心", "林": "⿰木木", "森": "⿱木⿰木木", "国": "⿴囗玉"}
    assert {character: descriptions[character] for character in known} == known
    assert [descriptions[c] for c in "木口心水"] == [*"木口心水"]
    assert sum(c == d for c, d in descriptions.items()) == 502


def test_a_part_is_not_taken_apart_further() -> None:
    descriptions = hanzi()
    parts = {sign for description in descriptions.values() for sign in description}
    assert all(descriptions.get(part, part) == part for part in parts)


def test_each_call_returns_new_objects(data: dict[str, Segments]) -> None:
    segments("test").french.clear()
    hanzi().clear()
    assert len(segments("test").french) == 1_000
    assert len(hanzi()) == 6_763


@pytest.mark.parametrize("split", ["training", "Test", "", None, 0])
def test_a_wrong_split_is_refused(split: object) -> None:
    with pytest.raises(ValueError, match=r"got split=.*, expected") as error:
        segments(split)
    assert repr(split) in str(error.value)


def test_the_licence_lies_beside_the_segments() -> None:
    folder = resources.files("aebook.datasets") / "files" / "libreoffice"
    assert "Mozilla Public License Version 2.0" in (folder / "LICENSE").read_text("utf8")
    notice = (folder / "NOTICE").read_text("utf8")
    assert "subject to the terms of the Mozilla Public License, v. 2.0" in notice
