"""Tests of aebook.applications.translation against slow computations of the same."""

import re
import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aebook.applications.translation import Lexicon, Memory
from aebook.datasets import segments

PAIRS = (
    ["the house", "the book", "a book", "a house"],
    ["la maison", "le livre", "un livre", "une maison"],
)


def model_1(sources: list[str], targets: list[str], iterations: int) -> dict:
    """Model 1 as Brown et al. write it down, with dictionaries."""
    bitext = [(["", *s.split()], t.split()) for s, t in zip(sources, targets, strict=True)]
    t = {(e, f): 1.0 for es, fs in bitext for e in es for f in fs}
    for _ in range(iterations):
        counts = dict.fromkeys(t, 0.0)
        for es, fs in bitext:
            for f in fs:
                total = sum(t[e, f] for e in es)
                for e in es:
                    counts[e, f] += t[e, f] / total
        t = {
            (e, f): count / sum(c for (other, _), c in counts.items() if other == e)
            for (e, f), count in counts.items()
        }
    return t


words = st.lists(st.sampled_from("abcde"), min_size=1, max_size=4).map(" ".join)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(words, words), min_size=1, max_size=6), st.integers(1, 4))
def test_the_table_is_that_of_model_1(pairs: list[tuple[str, str]], iterations: int) -> None:
    sources, targets = (list(column) for column in zip(*pairs, strict=True))
    slow = model_1(sources, targets, iterations)
    lexicon = Lexicon(sources, targets, iterations=iterations)
    assert lexicon.table.keys() == {e for e, _ in slow} - {""}
    for e, (f, probability) in lexicon.table.items():
        best = max(p for (other, _), p in slow.items() if other == e)
        assert probability == pytest.approx(best)
        assert slow[e, f] == pytest.approx(best)


def test_words_are_told_apart_by_the_company_that_they_keep() -> None:
    lexicon = Lexicon(*PAIRS, iterations=30)
    assert lexicon.translate(["House", "book house"]) == ["Maison", "livre maison"]
    assert lexicon.table["book"][1] > 0.8


def test_unknown_words_stay_and_signs_are_set() -> None:
    lexicon = Lexicon(["the file ( . , ' a"], ["le fichier ( . , ' a"])
    lexicon.table |= {"file": ("fichier", 1), "(": ("(", 1), ")": (")", 1), ".": (".", 1)}
    lexicon.table |= {"the": ("l'", 1), ",": (",", 1)}
    assert lexicon.translate(["The file (xyz), file."]) == ["L'fichier (xyz), fichier."]


def test_the_nearest_text_is_found_as_by_hand() -> None:
    train, test = segments("validation"), segments("test")
    memory = Memory(train.english, train.french)
    asked = test.english[:40]
    found = memory.translate(asked)

    def grams(text: str) -> list[str]:
        tokens = re.findall(r"\w+|[^\w\s]", text.lower())
        return tokens + [" ".join(pair) for pair in pairwise(tokens)]

    documents = [grams(text) for text in train.english]
    frequency: dict[str, int] = {}
    for document in documents:
        for gram in set(document):
            frequency[gram] = frequency.get(gram, 0) + 1

    def weighed(document: list[str]) -> dict[str, float]:
        n = len(documents)
        vector = {
            gram: (1 + np.log(document.count(gram))) * (1 + np.log((1 + n) / (1 + frequency[gram])))
            for gram in set(document)
            if gram in frequency
        }
        norm = sum(value**2 for value in vector.values()) ** 0.5
        return {gram: value / norm for gram, value in vector.items()}

    known = [weighed(document) for document in documents]
    for row, text in enumerate(asked):
        vector = weighed(grams(text))
        cosines = [sum(v * other.get(g, 0) for g, v in vector.items()) for other in known]
        assert found.likeness[row] == pytest.approx(max(cosines), abs=1e-6)
        chosen = train.english.index(found.sources[row])
        assert cosines[chosen] == pytest.approx(max(cosines), abs=1e-6)
        assert found.texts[row] == train.french[chosen]


def test_a_known_text_is_remembered_and_a_strange_one_is_like_nothing() -> None:
    memory = Memory(*PAIRS)
    found = memory.translate(["the book", "xyz"])
    assert found.texts == ["le livre", "la maison"]
    assert found.likeness == pytest.approx([1, 0])


@pytest.mark.parametrize("make", [Lexicon, Memory])
@pytest.mark.parametrize(
    ("sources", "targets", "message"),
    [
        (["a"], ["b", "c"], "got 1 sources and 2 targets"),
        ([], [], "got no text"),
        ("a", "b", "expected a list"),
        (["a"], [None], "expected text"),
        ([" "], ["a"], "without a single word"),
    ],
)
def test_what_are_no_pairs_is_refused(make, sources, targets, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(sources, targets)


@pytest.mark.parametrize("iterations", [0, -1, 1.5, True])
def test_iterations_are_counted(iterations) -> None:
    with pytest.raises(ValueError, match="expected a whole number"):
        Lexicon(*PAIRS, iterations=iterations)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_words_stay_whole_however_their_marks_were_typed(form: str) -> None:
    sources, targets = (
        ["हिन्दी", "été chaud", "chaud", "שָׁלוֹם"],
        ["hindi", "hot summer", "hot", "peace"],
    )
    lexicon, memory = Lexicon(sources, targets), Memory(sources, targets)
    assert set(lexicon.table) == {
        unicodedata.normalize("NFC", word) for word in " ".join(sources).split()
    }
    typed = [unicodedata.normalize(form, text) for text in sources]
    assert lexicon.translate(typed) == lexicon.translate(sources)
    assert lexicon.translate(typed)[::3] == ["hindi", "peace"]
    found = memory.translate(typed)
    assert found.texts == targets
    np.testing.assert_allclose(found.likeness, 1)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(words, words), min_size=1, max_size=5), st.data())
def test_an_empty_text_of_a_pair_teaches_nothing(pairs, data) -> None:
    sources, targets = (list(column) for column in zip(*pairs, strict=True))
    expected = Lexicon(sources, targets).table
    for text, other in ((["new word"], [""]), (["e"], ["  "])):
        at = data.draw(st.integers(0, len(pairs)))
        more = [*sources[:at], *text, *sources[at:]], [*targets[:at], *other, *targets[at:]]
        lexicon = Lexicon(*more)
        assert {e: p for e, (_, p) in lexicon.table.items()} == pytest.approx(
            {e: p for e, (_, p) in expected.items()}
        )
        assert lexicon.translate(["new"]) == ["new"]
        assert len(Memory(*more).translate(["a", ""]).texts) == 2
    # a target whose source is empty comes from nothing
    assert Lexicon([*sources, ""], [*targets, "a b"]).table.keys() == expected.keys()


@pytest.mark.parametrize("texts", ["text", None, 3, [None], ["a", 3], []])
@pytest.mark.parametrize("make", [Lexicon, Memory])
def test_what_is_no_list_of_texts_is_not_translated(make, texts) -> None:
    with pytest.raises(
        ValueError, match=r"for one text use|got no text|expected a list|expected text"
    ):
        make(*PAIRS).translate(texts)
