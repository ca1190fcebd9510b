"""Tests of aebook.applications.words: counts, weights, vectors, and the autoencoder of words."""

import math
import unicodedata
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import aebook
from aebook.applications.words import (
    cooccurrence,
    neighbours,
    ppmi,
    singular_vectors,
    tokens,
    vocabulary,
    word_autoencoder,
    word_messages,
)

TEXTS = ["The cat, the 2 dogs!", "a dog_sees the cat", "Über-Katze"]
texts_of_letters = st.lists(st.lists(st.sampled_from("abcd"), max_size=8), min_size=1, max_size=5)


def counts_of(seed=0, shape=(30, 20)):
    return np.random.default_rng(seed).poisson(0.7, shape).astype(float)


# Words and counts ----------------------------------------------------------------------------


def test_words_are_runs_of_letters_in_lower_case():
    assert tokens(TEXTS[0]) == ["the", "cat", "the", "dogs"]
    assert tokens(TEXTS[1]) == ["a", "dog", "sees", "the", "cat"]
    assert tokens(TEXTS[2]) == ["über", "katze"]
    assert tokens(" 12 _ ") == []


@pytest.mark.parametrize(
    "word",
    [
        "हिन्दी", "தமிழ்", "ভাষা", "ภาษาไทย", "ខ្មែរ", "བོད",
        "שָׁלוֹם", "العَرَبِيَّة", "ქართული", "Ελλάδα", "русский", "İstanbul",
        "naïve", "Việt", "한국어", "日本語", "မြန်မာ", "ዐማርኛ",
        "می\u200cخواهم", "ක්\u200dෂය",
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_words_of_every_alphabet_stay_whole(word, form):
    typed = unicodedata.normalize(form, word)
    expected = unicodedata.normalize("NFC", unicodedata.normalize("NFC", word).lower())
    assert tokens(f"1{typed}, ({typed})_{typed}") == [expected] * 3


any_text = st.text(
    st.one_of(
        st.characters(),
        # letters and marks, of which chance alone would write few
        st.sampled_from(
            "aIİßΣ ." + "e\u0301\u0323\u0307\u0345" + "नि्\u200d" + "שׁא" + "\u1100\u1161"
        ),
    ),
    max_size=12,
)


@given(any_text)
def test_words_do_not_depend_on_how_marks_were_typed(text):
    found = tokens(text)
    assert found == tokens(unicodedata.normalize("NFD", text))
    assert found == tokens(unicodedata.normalize("NFC", text))
    assert tokens(" ".join(found)) == found
    # no letter is lost, each word begins with one, and there is nothing else but marks in it
    small = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
    assert sum(map(str.isalpha, "".join(found))) >= sum(map(str.isalpha, small))
    for word in found:
        assert not word[0].isspace()
        for letter in word:
            assert unicodedata.category(letter)[0] in "LMN" or letter in "\u200c\u200d"
            assert not unicodedata.category(letter).startswith("Nd")


def test_the_vocabulary_is_ordered_by_frequency_then_alphabet():
    assert vocabulary(TEXTS, least=2) == ["the", "cat"]
    assert vocabulary(iter(["b a c", "c"]), least=1) == ["c", "a", "b"]


def by_hand(texts, words, contexts, window, sided):
    counts = np.zeros((len(words), len(contexts) * (2 if sided else 1)))
    for text in texts:
        for i, word in enumerate(text):
            for j, context in enumerate(text):
                if 0 < abs(i - j) <= window and word in words and context in contexts:
                    shift = len(contexts) if sided and j > i else 0
                    counts[words.index(word), contexts.index(context) + shift] += 1 / abs(i - j)
    return counts


@given(texts_of_letters, st.integers(1, 9), st.booleans(), st.sampled_from([None, "ab", "dcax"]))
def test_counts_are_those_of_two_loops(texts, window, sided, contexts):
    words = ["b", "a", "d"]
    found = cooccurrence(
        [" ".join(text) for text in texts],
        words,
        None if contexts is None else list(contexts),
        window=window,
        sided=sided,
    )
    expected = by_hand(texts, words, words if contexts is None else contexts, window, sided)
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-12)


@given(texts_of_letters)
def test_before_and_after_mirror_each_other(texts):
    words = list("abcd")
    both = cooccurrence([" ".join(text) for text in texts], words, window=3).toarray()
    np.testing.assert_allclose(both[:, :4], both[:, 4:].T)


def test_a_window_ends_with_its_text():
    assert cooccurrence(["a b", "c d"], list("abcd"), sided=False).toarray().sum() == 4
    assert cooccurrence(["a b c d"], list("abcd"), window=9, sided=False).nnz == 12


# Weights -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shift", "smoothing"), [(1, 1), (1, 0.75), (3, 0.5), (0.5, 0.75)])
def test_ppmi_is_its_formula(shift, smoothing):
    counts = counts_of()
    joint = counts / counts.sum()
    context = counts.sum(0) ** smoothing / (counts.sum(0) ** smoothing).sum()
    weighed = ppmi(counts, shift=shift, smoothing=smoothing).toarray()
    for (w, c), found in np.ndenumerate(weighed):
        lift = joint[w, c] / joint[w].sum() / context[c]
        assert found == pytest.approx(max(0, math.log(lift) - math.log(shift)) if lift else 0)


def test_independent_words_have_no_information():
    independent = np.outer([1.0, 2, 3], [4.0, 1, 5, 2])
    assert abs(ppmi(independent, smoothing=1).toarray()).max() < 1e-12


@given(st.integers(0, 50), st.floats(0.01, 100))
def test_ppmi_does_not_depend_on_the_scale_and_falls_with_the_shift(seed, scale):
    counts = counts_of(seed)
    weighed = ppmi(counts).toarray()
    np.testing.assert_allclose(ppmi(scale * counts).toarray(), weighed, atol=1e-9)
    shifted = ppmi(counts, shift=2).toarray()
    np.testing.assert_allclose(shifted, np.maximum(0, weighed - math.log(2)), atol=1e-12)


def test_sparse_dense_and_tensor_give_the_same():
    counts = counts_of()
    counts[3] = 0
    expected = ppmi(counts).toarray()
    kept = sparse.csr_array(counts)
    for given_as in (kept, sparse.csc_matrix(counts), torch.from_numpy(counts)):
        assert np.array_equal(ppmi(given_as).toarray(), expected)
    assert np.array_equal(kept.toarray(), counts)  # untouched
    assert (expected[3] == 0).all()


# Vectors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [1, 7, 20])
@pytest.mark.parametrize("power", [0, 0.5, 1, 1.5])
def test_singular_vectors_are_those_of_the_full_decomposition(p, power):
    matrix = ppmi(counts_of())
    u, s, _ = np.linalg.svd(matrix.toarray(), full_matrices=False)
    expected = u[:, :p] * s[:p] ** power
    found = singular_vectors(matrix, p, power=power)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-8)
    np.testing.assert_allclose(abs(found), abs(expected), atol=1e-8)
    assert np.array_equal(found, singular_vectors(matrix, p, power=power))


def test_with_exponent_one_they_are_the_codes_of_the_best_linear_autoencoder():
    matrix = ppmi(counts_of(shape=(12, 6))).toarray()
    objective = aebook.variants.linear((6, 2), bias=False).double()
    aebook.training.lbfgs(objective, torch.from_numpy(matrix))
    codes = singular_vectors(matrix, 2)
    # codes and decoder together: the same reconstructions
    best = codes @ np.linalg.lstsq(codes, matrix, rcond=None)[0]
    found = objective.model(torch.from_numpy(matrix)).numpy()
    np.testing.assert_allclose(found, best, atol=1e-3)


def test_neighbours_are_ranked_by_their_cosine():
    vectors = np.array([[1, 0], [2, 0.1], [0, 3], [-1, 0], [0, 0]])
    found = neighbours("a", list("abcde"), torch.from_numpy(vectors), k=4)
    assert [word for word, _ in found] == ["b", "c", "e", "d"]
    np.testing.assert_allclose([c for _, c in found], [2 / math.hypot(2, 0.1), 0, 0, -1])


# The autoencoder -----------------------------------------------------------------------------


def test_messages_are_ppmi_and_shares():
    counts = counts_of()
    counts[5] = 0
    x, target = word_messages(counts, shift=2)
    assert x.dtype == target.dtype == torch.float32
    np.testing.assert_allclose(x, ppmi(counts, shift=2).toarray(), rtol=1e-6)
    assert target[5].sum() == 0
    kept = [n for n in range(30) if n != 5]
    np.testing.assert_allclose(target[kept], (counts / counts.sum(1)[:, None].clip(1))[kept], 1e-6)


def test_the_objective_is_its_formula():
    x, target = word_messages(counts_of())
    objective = word_autoencoder(20, 4, hidden=0.5)
    torch.manual_seed(0)
    seen = objective.corruption(x)
    torch.manual_seed(0)
    found = objective(x, target).total
    log_p = objective.model.decoder(objective.model.encoder(seen)).log_softmax(1)
    assert torch.isclose(found, -(target * log_p).sum(1).mean())
    assert 0.4 < (seen[x > 0] == 0).float().mean() < 0.6
    assert word_autoencoder(20, 4, hidden=0).corruption is None


def test_it_tells_two_languages_apart():
    """Words of two vocabularies that never meet: neighbours are of one's own."""
    draw = np.random.default_rng(0)
    words = ["a", "b", "c", "d", "e", "u", "v", "w", "x", "y"]
    texts = [" ".join(draw.choice(words[:5] if n % 2 else words[5:], size=6)) for n in range(200)]
    assert Counter(vocabulary(texts)) == Counter(words)
    x, target = word_messages(cooccurrence(texts, words))
    objective = word_autoencoder(x.shape[1], 3)
    torch.manual_seed(0)
    aebook.fit(objective, (x, target), epochs=300, lr=1e-2, progress=False)
    codes = objective.model.encode(x)
    for word in words:
        own = words[:5] if word in words[:5] else words[5:]
        found = [other for other, _ in neighbours(word, words, codes, k=4)]
        assert {word, *found} == set(own)


# What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tokens(b"a"), "got text=b'a', expected text"),
        (lambda: vocabulary("a text"), r"got texts='a text', expected a list"),
        (lambda: cooccurrence("a text", ["a"]), "got texts='a text', expected"),
        (lambda: vocabulary(["a b"], least=2), "got 2 words of which none occurs 2 times"),
        (lambda: vocabulary(["a"], least=0), "got least=0"),
        (lambda: cooccurrence(["a"], ["a", "a"]), "words that are none or repeat"),
        (lambda: cooccurrence(["a"], []), "words that are none or repeat"),
        (lambda: cooccurrence(["a"], "a"), "got words='a', expected a list"),
        (lambda: cooccurrence(["a"], ["a"], ["b", "b"]), "contexts that are none or repeat"),
        (lambda: cooccurrence(["a"], ["a"], window=0), "got window=0"),
        (lambda: ppmi(np.zeros((2, 3))), "counts that are all 0"),
        (lambda: ppmi([[1.0, -1.0]]), "got counts of shape"),
        (lambda: ppmi([[1.0, math.nan]]), "contains NaN"),
        (lambda: ppmi([1.0, 2.0]), "Expected 2D array"),
        (lambda: ppmi([[1.0]], shift=0), "got shift=0"),
        (lambda: ppmi([[1.0]], smoothing=0), "got smoothing=0, expected a finite number above 0"),
        (lambda: ppmi([[1.0]], smoothing=1.5), "got smoothing=1.5"),
        (lambda: singular_vectors(np.eye(3), 4), "got p=4, expected a whole number from 1 to 3"),
        (lambda: singular_vectors(np.eye(3), 0), "got p=0"),
        (lambda: singular_vectors(np.eye(3), 2, power=-1), "got power=-1"),
        (lambda: word_autoencoder(0, 2), "got contexts=0"),
        (lambda: word_autoencoder(5, 2, hidden=1), "got hidden=1, expected"),
        (lambda: neighbours("c", ["a", "b"], np.eye(2)), "got the word 'c', expected one of the 2"),
        (lambda: neighbours("a", ["a", "b"], np.eye(3)), "got 3 vectors and 2 words, expected a"),
        (lambda: neighbours("a", ["a", "b"], np.eye(2), k=2), "got k=2, expected a whole number"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
