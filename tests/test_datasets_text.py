"""Tests of aebook.datasets.text: the definitions that ship, and what is said of them."""

import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.naive_bayes import MultinomialNB

from aebook.datasets import GLOSS_TOPICS, Glosses, glosses

SIZES = {"train": 16_100, "test": 2_800}
DATA_NOUN = Path("/usr/share/wordnet/data.noun")
# lexnames(5WN)
NUMBERS = {
    "act": 4, "animal": 5, "artifact": 6, "attribute": 7, "body": 8, "cognition": 9,
    "communication": 10, "food": 13, "group": 14, "location": 15, "person": 18, "plant": 20,
    "state": 26, "substance": 27,
}  # fmt: skip


@pytest.fixture(scope="module")
def train() -> Glosses:
    return glosses()


@pytest.fixture(scope="module")
def test() -> Glosses:
    return glosses("test")


@pytest.mark.parametrize("split", SIZES)
def test_sizes_and_types(split: str) -> None:
    data = glosses(split)
    words, texts, topics = data
    assert words is data.words
    assert texts is data.texts
    assert topics is data.topics
    assert len(words) == len(texts) == len(topics) == SIZES[split]
    assert topics.dtype == torch.int64
    assert topics.bincount().tolist() == [SIZES[split] // 14] * 14
    assert len(GLOSS_TOPICS) == 14 == len(set(GLOSS_TOPICS))


@pytest.mark.parametrize("split", SIZES)
def test_every_word_and_text_is_clean(split: str) -> None:
    words, texts, _ = glosses(split)
    for line in (*words, *texts):
        assert line
        assert line.isascii()
        assert line == " ".join(line.split())
        assert not re.search(r'["_|]', line)
    for text in texts:
        assert len(text.split()) >= 6
        assert not text.endswith((";", ":"))
        assert text.count("(") == text.count(")")


@pytest.mark.parametrize("split", SIZES)
def test_every_fourteen_hold_each_topic_once(split: str) -> None:
    blocks = glosses(split).topics.view(-1, 14)
    assert torch.equal(blocks.sort(dim=1).values, torch.arange(14).expand_as(blocks))
    # Each topic comes first with probability 1 / 14: within four standard deviations.
    n, p = len(blocks), 1 / 14
    first = blocks[:, 0].bincount(minlength=14) - n * p
    assert first.abs().max() < 4 * (n * p * (1 - p)) ** 0.5


def test_no_definition_occurs_twice_within_or_across_splits(train: Glosses, test: Glosses) -> None:
    counts = Counter(text.casefold() for text in train.texts + test.texts)
    assert max(counts.values()) == 1


def test_words_come_again_with_other_meanings(train: Glosses, test: Glosses) -> None:
    assert len(set(train.words)) < len(train.words)
    assert set(train.words) & set(test.words)


def test_the_near_copies_that_the_docstring_quotes(train: Glosses, test: Glosses) -> None:
    assert "tropical genus of small trees or shrubs" in test.texts
    assert "small genus of tropical shrubs or trees" in train.texts


def test_topics_are_those_of_the_things_defined(train: Glosses, test: Glosses) -> None:
    """Openings for which one topic is natural."""
    openings = {
        r"(a|the) (port )?city (in|of)\b": "location",
        r"any of (various|numerous) (plants|shrubs|trees|herbs)\b": "plant",
        r"(small|large) [\w -]*(bird|duck|lizard|snake|monkey|antelope|butterfly|moth)\b": "animal",
        r"(a|any) (bone|vein|muscle) (of|in|that)\b": "body",
        r"(an? )?(United States|English|French|German) (writer|painter|composer|poet)\b": "person",
        r"(an? )(enzyme|salt|ester)\b": "substance",
        r"the (act|action) of\b": "act",
    }
    for opening, topic in openings.items():
        found = [
            GLOSS_TOPICS[index]
            for data in (train, test)
            for text, index in zip(data.texts, data.topics, strict=True)
            if re.match(opening, text)
        ]
        assert len(found) >= 5, opening
        assert found.count(topic) >= 0.9 * len(found), opening


def test_words_and_texts_belong_together(train: Glosses, test: Glosses) -> None:
    """Compounds often share a word with their definition; shifted by one row, they seldom do."""

    def share(words: list[str], texts: list[str]) -> float:
        pairs = [
            bool({*word.lower().split()} & {*re.findall(r"\w+", text.lower())})
            for word, text in zip(words, texts, strict=True)
            if len(word.split()) == 2
        ]
        return sum(pairs) / len(pairs)

    for data in (train, test):
        shifted = data.words[1:] + data.words[:1]
        assert share(data.words, data.texts) > 5 * share(shifted, data.texts)


def test_topics_can_be_learned_from_the_texts(train: Glosses, test: Glosses) -> None:
    """Naive Bayes on words gets most of the test definitions right; chance is 1 / 14."""
    vectorizer = TfidfVectorizer()
    x = vectorizer.fit_transform(train.texts)
    model = MultinomialNB(alpha=0.1).fit(x, train.topics.numpy())
    assert model.score(vectorizer.transform(test.texts), test.topics.numpy()) > 0.5


def test_no_coarse_words_and_no_sex(train: Glosses, test: Glosses) -> None:
    pattern = r"\bslur\b|(offensive|derogatory|disparaging) (term|name)|\bsex(ual)?\b|prostitut"
    for text in train.texts + test.texts:
        assert not re.search(pattern, text)


def test_each_call_returns_new_objects() -> None:
    first = glosses("test")
    first.words.clear()
    first.texts.clear()
    first.topics.fill_(7)
    again = glosses("test")
    assert len(again.words) == len(again.texts) == 2_800
    assert again.topics.unique().numel() == 14


@pytest.mark.parametrize("split", ["training", "Train", "", None, 0])
def test_a_wrong_split_is_refused(split: object) -> None:
    with pytest.raises(ValueError, match=r"got split=.*, expected") as error:
        glosses(split)
    assert repr(split) in str(error.value)


@pytest.mark.skipif(
    not DATA_NOUN.is_file(), reason="Debian's package wordnet-base is not installed"
)
def test_every_gloss_is_in_wordnet_under_its_topic(train: Glosses, test: Glosses) -> None:
    """An independent reading of data.noun."""
    known = set()
    for line in DATA_NOUN.read_text(encoding="ascii").splitlines():
        if match := re.match(r'\d{8} (\d\d) n .. (\S+) .*? \| +([^"]*)', line):
            known.add((int(match[1]), match[2].replace("_", " "), match[3].rstrip(" ;:")))
    for data in (train, test):
        for word, text, topic in zip(*data, strict=True):
            assert (NUMBERS[GLOSS_TOPICS[topic]], word, text) in known
