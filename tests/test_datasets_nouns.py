"""Tests of aebook.datasets.wordnet and of how its file is made from WordNet's."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from aebook.applications.words import depths
from aebook.datasets import GLOSS_TOPICS, NOUN_TOPICS, Nouns, glosses, nouns, verified

ROOT = Path(__file__).resolve().parents[1]
with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(ROOT / "tools")
    from builders import nouns as builder
    from builders import sources


@pytest.fixture(scope="module")
def data() -> Nouns:
    return nouns()


# What ships --------------------------------------------------------------------------------------


def test_sizes_and_types(data: Nouns) -> None:
    words, topics, senses, names, parents = data
    assert len(words) == len(topics) == len(senses) == 3209 == len(set(words))
    assert len(names) == len(parents) == 11_904
    assert sum(map(len, senses)) == 10_945
    assert sum(map(len, parents)) == 12_262
    assert topics.dtype == torch.int64
    assert topics.min() == -1
    assert topics.max() < len(NOUN_TOPICS) == 26
    assert (topics >= 0).sum() == 1419
    assert names.count("-") == 50
    assert set(GLOSS_TOPICS) < set(NOUN_TOPICS)
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words)


def test_it_is_a_hierarchy_with_one_root(data: Nouns) -> None:
    depth = depths(data.parents)
    assert np.flatnonzero(depth == 1).tolist() == [0]
    assert data.names[0] == "entity"
    assert depth.max() < 20
    # everything there is above a meaning of a word
    above, waiting = set(), [sense for own in data.senses for sense in own]
    while waiting:
        sense = waiting.pop()
        if sense not in above:
            above.add(sense)
            waiting += data.parents[sense]
    assert above == set(range(len(data.names)))
    assert all(own and len(set(own)) == len(own) for own in data.senses)


def test_words_are_those_of_the_definitions_most_frequent_first(data: Nouns) -> None:
    texts = [text for split in ("train", "test") for text in glosses(split).texts]
    counts = Counter("".join(c if c.isalpha() else " " for c in "\n".join(texts).lower()).split())
    places = [(-counts[word], word) for word in data.words]
    assert places == sorted(places)
    assert counts[data.words[-1]] >= 5


@pytest.mark.parametrize(
    ("word", "topic"),
    [
        ("butter", "food"), ("lake", "object"), ("muscle", "body"), ("painter", "person"),
        ("doctrine", "cognition"), ("sodium", "substance"), ("city", "location"),
        ("pasta", "food"),  # never tagged
        ("plant", None), ("roots", None), ("edible", None), ("who", None), ("may", None),
    ],
)  # fmt: skip
def test_topics_of_some_words(data: Nouns, word: str, topic: str | None) -> None:
    number = int(data.topics[data.words.index(word)])
    assert (None if number < 0 else NOUN_TOPICS[number]) == topic


def test_what_a_trout_is(data: Nouns) -> None:
    """Its first meaning is the food, its second the fish, as in index.noun."""
    food, fish = data.senses[data.words.index("trout")]
    line, sense = [], fish
    while data.parents[sense]:
        (sense,) = data.parents[sense][:1]
        line.append(data.names[sense])
    assert "fish" in line
    assert line[-3:] == ["object", "physical entity", "entity"]
    assert "food" in [data.names[p] for p in data.parents[food]] or data.parents[food]


def test_each_call_gives_new_objects(data: Nouns) -> None:
    again = nouns()
    assert again.words == data.words
    assert again.words is not data.words
    assert again.topics is not data.topics


# How it is made ----------------------------------------------------------------------------------


def line(offset: int, words: str, *parents: tuple[str, int], gloss: str = "a thing") -> str:
    lemmas = words.split()
    lexical = " ".join(f"{lemma} 0" for lemma in lemmas)
    links = "".join(f"{sign} {above:08d} n 0000 " for sign, above in parents)
    return f"{offset:08d} 06 n {len(lemmas):02x} {lexical} {len(parents):03d} {links}| {gloss}\n"


def test_links_upward_are_read() -> None:
    data = (
        "  1 a licence @ 00000001 n \n"
        + line(1, "top")
        + line(2, "low", ("@", 1), ("@i", 7), ("~", 3), ("+", 4), gloss="not @ 00000009 n 0000")
    )
    up = builder.hypernyms(data)
    assert up == {"00000001": [], "00000002": ["00000001", "00000007"]}
    assert builder.closure(["a"], {"a": ["b", "c"], "b": ["c"], "c": [], "d": []}) == {*"abc"}


FILES = {
    "index.noun": "  1 a licence\n"
    "leaf n 2 1 @ 2 1 00000012 00000011\nrun n 1 1 @ 1 0 00000013\nlady n 1 1 @ 1 0 00000014\n",
    "index.verb": "run v 1 0 1 1 00000001\nbake v 1 0 1 1 00000002\n",
    "index.adj": "red a 1 0 1 1 00000003\n",
    "index.adv": "",
    "noun.exc": "leaves leaf\n",
    "verb.exc": "ran run\n",
    "cntlist.rev": "leaf%1:20:00:: 1 9\nleaf%1:10:00:: 2 3\nrun%1:04:00:: 1 2\nrun%2:38:00:: 1 9\n"
    "running%1:04:00:: 1 4\nwings%1:06:00:: 1 5\n",
}


@pytest.fixture
def dictionary() -> builder.Dictionary:
    return builder.read(FILES)


def test_lemmas_are_read(dictionary: builder.Dictionary) -> None:
    assert dictionary.senses["leaf"] == ["00000012", "00000011"]
    assert dictionary.others == {"verb": {"run", "bake"}, "adj": {"red"}, "adv": set()}
    assert dictionary.irregular == {"leaves", "ran"}
    assert dictionary.uses["leaf"] == {20: 9, 10: 3}
    assert dictionary.uses["run"] == {4: 2, 0: 9}


@pytest.mark.parametrize(
    ("word", "forms"),
    [
        ("leaf", False), ("leaves", True), ("leafs", True), ("ladies", True), ("lady", False),
        ("ran", True), ("running", True), ("baking", True), ("baked", True), ("red", False),
        ("ring", False), ("glass", False),
    ],
)  # fmt: skip
def test_forms_of_other_words(dictionary: builder.Dictionary, word: str, forms: bool) -> None:
    assert builder.inflected(word, dictionary) is forms


@pytest.mark.parametrize(
    ("word", "file_numbers", "topic"),
    [
        ("leaf", [20, 10], 17),  # three quarters of the uses
        ("run", [4], 255),  # a verb, mostly
        ("running", [4], 255),  # a form of a verb, tagged four times
        ("wings", [6, 5], 3),  # tagged five times
        ("oaktree", [20, 20], 17),  # never tagged, one topic
        ("oaktree", [20, 6], 255),
        ("oak", [20], 255),  # too short
        ("bake", [4], 255),  # a verb too
        ("while", [28], 255),
    ],
)
def test_a_topic_must_be_clear(
    dictionary: builder.Dictionary, word: str, file_numbers: list[int], topic: int
) -> None:
    assert builder.topic(word, file_numbers, dictionary) == topic


def test_names_are_for_every_reader() -> None:
    def synset(words: tuple[str, ...], definition: str = "a thing") -> builder.Synset:
        return builder.Synset("1", 6, words, frozenset(), definition)

    assert builder.name(synset(("Rude", "fine")), {"rude"}) == "fine"
    assert builder.name(synset(("Rude",)), {"rude"}) == "-"
    assert builder.name(synset(("fine",), "of a sexual kind"), set()) == "-"


def test_the_file_is_made_of_these_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = (
        line(1, "entity") + line(11, "page", ("@", 1)) + line(12, "leaf", ("@", 14), ("@i", 1))
        + line(13, "run", ("@", 1)) + line(14, "organ", ("@", 1)) + line(15, "other", ("@", 1))
    )  # fmt: skip
    for name, content in {**FILES, "data.noun": data}.items():
        content = content.encode()
        (tmp_path / name).write_bytes(content)
        monkeypatch.setitem(builder.SHA256, name, verified.sha256(content))

    class Some:
        texts = ["leaf " * 3, "The leaf: Leaf run run run run run xx xx xx xx xx"]  # noqa: RUF012

    monkeypatch.setattr(builder, "glosses", lambda split: Some)
    arrays = builder.nouns(tmp_path / "data.noun")
    assert arrays["words"].tobytes() == b"leaf\nrun"
    assert arrays["topics"].tolist() == [17, 255]
    assert arrays["names"].tobytes() == b"entity\npage\nleaf\nrun\norgan"
    assert arrays["sense_counts"].tolist() == [2, 1]
    assert arrays["senses"].tolist() == [2, 1, 3]
    assert arrays["parent_counts"].tolist() == [0, 1, 2, 1, 1]
    assert arrays["parents"].tolist() == [0, 4, 0, 0, 0]

    (tmp_path / "noun.exc").write_text("other", "utf8")
    with pytest.raises(sources.SourceError, match=r"noun\.exc has SHA-256"):
        builder.nouns(tmp_path / "data.noun")
    (tmp_path / "noun.exc").unlink()
    with pytest.raises(sources.SourceError, match=r"cannot read .*noun\.exc"):
        builder.nouns(tmp_path / "data.noun")


def test_an_installed_wordnet_is_used_and_otherwise_debians_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def debian(package: str, _: Path) -> Path:
        asked.append(package)
        return tmp_path / "package"

    # an absolute path replaces both roots, "/" and that of the package
    monkeypatch.setattr(builder, "DATA_NOUN", tmp_path / "data.noun")
    monkeypatch.setattr(builder, "debian", debian)
    with pytest.raises(sources.SourceError, match="cannot read"):
        builder.nouns(None)
    assert asked == ["wordnet-base"]
    (tmp_path / "data.noun").write_bytes(b"other")
    with pytest.raises(sources.SourceError, match="has SHA-256"):
        builder.nouns(None)
    assert asked == ["wordnet-base"]
