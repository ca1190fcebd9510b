r"""The meaning of words from the company they keep.

What stands around a word in many texts is a message about that word. An autoencoder of such
messages, which has to guess hidden neighbours from the others, gives each word a code, and words
of like meaning get codes in like directions. What it has to beat are the counts themselves, weighed
(:func:`ppmi`), and their singular vectors (:func:`singular_vectors`).

>>> words = vocabulary(texts)
>>> x, shares = word_messages(cooccurrence(texts, words, words[:1000]))
>>> objective = word_autoencoder(x.shape[1], 64)
>>> history = aebook.fit(objective, (x, shares), epochs=20, lr=8e-3, batch_size=256)
>>> neighbours("butter", words, objective.model.encode(x), k=5)

How alike two words are on a graph of meanings is in :mod:`aebook.applications.words.taxonomy`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.sparse.linalg import svds
from sklearn.preprocessing import normalize
from torch import Tensor

from aebook._internal.checks import array, as_many, check_arguments, number, whole
from aebook._internal.contract import checked
from aebook._internal.letters import composed, run
from aebook._internal.reading import matrix as matrix_of
from aebook.core import Objective
from aebook.corruptions import masking
from aebook.distances import categorical
from aebook.variants import Penalties, plain

__all__ = [
    "cooccurrence",
    "neighbours",
    "ppmi",
    "singular_vectors",
    "tokens",
    "vocabulary",
    "word_autoencoder",
    "word_messages",
]


@checked
def tokens(text: str) -> list[str]:
    """The words of a text in order: its longest runs of letters of any alphabet, in lower case.

    Marks belong to their letter: vowel signs, points, accents. An accent may be typed as one
    character with its letter or as a second one, the word is the same (Unicode's NFC).

    Examples
    --------
    >>> from aebook.applications.words import tokens
    >>> tokens("Two cats, one dog.")
    ['two', 'cats', 'one', 'dog']
    """
    text = composed(text)
    return re.findall(run(r"[^\W\d_]", text), text)


@checked
def vocabulary(texts: Iterable[str], *, least: int = 8) -> list[str]:
    """The words that occur often enough, the most frequent first, equals by the alphabet.

    Parameters
    ----------
    texts
        Strings; see :func:`tokens`.
    least
        How often a word must occur, 1 or more. Of a word that was seen a few times little can be
        said.

    Raises
    ------
    ValueError
        If an argument is not as described, or no word is left.

    Examples
    --------
    >>> from aebook.applications.words import vocabulary
    >>> vocabulary(["the cat and the dog", "the cat"], least=2)
    ['the', 'cat']
    """
    check_arguments(least=least)
    counts = Counter(token for text in texts for token in tokens(text))
    words = [word for word, count in counts.items() if count >= least]
    if not words:
        raise ValueError(
            f"got {len(counts)} words of which none occurs {least} times, expected some that do: "
            "give more texts or a smaller least"
        )
    return sorted(words, key=lambda word: (-counts[word], word))


@checked
def cooccurrence(
    texts: Iterable[str],
    words: Sequence[str],
    contexts: Sequence[str] | None = None,
    *,
    window: int = 6,
    sided: bool = True,
) -> sparse.csr_array:
    r"""How often, and how near, each context stands beside each word.

    .. math::

        C_{wc} = \sum \frac{1}{|i - j|}
        \quad\text{over all places } i \text{ of } w \text{ and } j \ne i \text{ of } c
        \text{ with } |i - j| \le \text{window}

    A neighbour d words away counts 1/d (Pennington, Socher & Manning 2014). A window does not
    reach into the next text. Words that are in neither list take up their places.

    Parameters
    ----------
    texts
        Strings; see :func:`tokens`.
    words
        The N words of the rows, all different.
    contexts
        The M words of the columns, all different; the default is ``words``. The most frequent
        thousand or two will do, the smallest words among them: articles and prepositions tell
        kinds of words apart.
    window
        How many words away a neighbour may be, 1 or more.
    sided
        Whether a context before the word and the same after it are two: columns 0 to M - 1 are
        contexts before, M to 2M - 1 those after.

    Returns
    -------
    scipy.sparse.csr_array
        C, float64, (N, 2M), or (N, M) if not sided.

    Examples
    --------
    >>> from aebook.applications.words import cooccurrence
    >>> cooccurrence(["red hot pepper"], ["red", "hot", "pepper"], sided=False).toarray()
    array([[0. , 1. , 0.5],
           [1. , 0. , 1. ],
           [0.5, 1. , 0. ]])
    """
    check_arguments(window=window)
    row = _numbers(words, "words")
    column = row if contexts is None else _numbers(contexts, "contexts")
    ids: list[Any] = [token for text in texts for token in (*tokens(text), None)]
    rows = np.array([row.get(token, -1) for token in ids], np.int64)
    columns = np.array([column.get(token, -1) for token in ids], np.int64)
    number = np.cumsum([token is None for token in ids])
    found = []
    for distance in range(1, int(window) + 1):
        near, far = slice(None, -distance), slice(distance, None)
        together = number[near] == number[far]
        for word, context, after in (
            (rows[near], columns[far], True),
            (rows[far], columns[near], False),
        ):
            kept = together & (word >= 0) & (context >= 0)
            shift = len(column) if sided and after else 0
            found.append((word[kept], context[kept] + shift, np.full(kept.sum(), 1 / distance)))
    i, j, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
    shape = (len(row), len(column) * (2 if sided else 1))
    return sparse.coo_array((values, (i, j)), shape).tocsr()


@checked
def ppmi(counts: Any, *, shift: float = 1.0, smoothing: float = 0.75) -> sparse.csr_array:
    r"""Positive pointwise mutual information of words and contexts.

    .. math::

        M_{wc} = \max\Bigl(0, \log \frac{P(w, c)}{P(w) P_α(c)} - \log k\Bigr),
        \qquad P_α(c) = \frac{C_{\cdot c}^α}{\sum_{c'} C_{\cdot c'}^α}

    What is seen together no more often than by chance gets 0. The shift k is the number of negative
    samples of the word2vec whose optimum is this matrix, without the maximum (Levy & Goldberg
    2014); α < 1 makes rare contexts count less (Levy, Goldberg & Dagan 2015).

    Parameters
    ----------
    counts
        C, (N, M), not negative: sparse, an array or a tensor.
    shift
        k, above 0.
    smoothing
        α, above 0 and at most 1.

    Returns
    -------
    scipy.sparse.csr_array
        M, float64, (N, M).

    Examples
    --------
    >>> from aebook.applications.words import ppmi
    >>> counts = np.array([[4.0, 0.0], [0.0, 4.0]])
    >>> ppmi(counts).toarray().round(4)  # log 2 where words meet, 0 where they do not
    array([[0.6931, 0.    ],
           [0.    , 0.6931]])
    """
    shift = number("shift", shift)
    smoothing = number("smoothing", smoothing, most=1)
    counts = _counts(counts).tocoo()
    of_word = counts.sum(1)
    of_context = counts.sum(0) ** smoothing
    i, j = counts.coords
    # P(w, c) / P(w) is C_wc / C_w.
    lift = counts.data / of_word[i] / (of_context[j] / of_context.sum())
    values = np.maximum(0, np.log(lift) - np.log(shift))
    matrix = sparse.coo_array((values, (i, j)), counts.shape).tocsr()
    matrix.eliminate_zeros()
    return matrix


@checked
def singular_vectors(matrix: Any, p: int, *, power: float = 1.0) -> np.ndarray:
    r"""Word vectors :math:`U_p Σ_p^γ` of a matrix :math:`M \approx U_p Σ_p V_p^\top`.

    For PPMI these are the vectors of Levy, Goldberg & Dagan 2015, for the weighed counts of words
    in documents those of latent semantic analysis. With γ = 1 they are the codes of the linear
    autoencoder without biases that has the least squared error. With γ < 1 all directions count
    more alike, with γ > 1 the first count even more.

    Parameters
    ----------
    matrix
        M, (N, m): sparse, an array or a tensor.
    p
        From 1 to min(N, m).
    power
        γ, 0 or more.

    Returns
    -------
    ndarray
        (N, p), float64, by falling singular value; signs are arbitrary.

    Examples
    --------
    >>> from aebook.applications.words import singular_vectors
    >>> vectors = singular_vectors(np.diag([3.0, 2.0, 1.0]), 2)
    >>> abs(vectors).round(4).tolist()
    [[3.0, 0.0], [0.0, 2.0], [0.0, 0.0]]
    """
    matrix = matrix_of("matrix", matrix, dtype=np.float64)
    p = whole("p", p, most=min(matrix.shape))
    power = number("power", power, least=0)
    if p == min(matrix.shape):
        u, s, _ = np.linalg.svd(matrix.toarray() if sparse.issparse(matrix) else matrix, False)
    else:
        # the start is fixed, so that the same matrix gives the same vectors
        start = np.random.default_rng(0).standard_normal(min(matrix.shape))
        found: Any = svds(matrix, p, v0=start)
        u, s = found[0][:, ::-1], found[1][::-1]
    return u * s**power


@checked
def word_messages(
    counts: Any, *, shift: float = 1.0, smoothing: float = 0.75
) -> tuple[Tensor, Tensor]:
    r"""What the autoencoder of words sees of each word, and what it has to say.

    The input is the word's row of :func:`ppmi`; the target is the distribution of its neighbours,
    :math:`C_{wc} / C_{w \cdot}`. Both are dense: 8 NM bytes together.

    Parameters
    ----------
    counts
        C, (N, M): see :func:`cooccurrence`.
    shift, smoothing
        See :func:`ppmi`.

    Returns
    -------
    tuple of Tensor
        Both float32, (N, M). The target of a word without neighbours is 0 throughout, and it
        adds nothing to the loss.

    Examples
    --------
    >>> from aebook.applications.words import word_messages
    >>> x, shares = word_messages(np.array([[3.0, 1.0], [1.0, 1.0]]))
    >>> shares
    tensor([[0.7500, 0.2500],
            [0.5000, 0.5000]])
    """
    counts = _counts(counts)
    weighed = ppmi(counts, shift=shift, smoothing=smoothing)
    shares: Any = normalize(counts, norm="l1")
    x, target = (torch.from_numpy(part.toarray()).float() for part in (weighed, shares))
    return x, target


@checked
def word_autoencoder(
    contexts: int, p: int, *, hidden: float = 0.8, penalties: Penalties | None = None
) -> Objective:
    r"""Autoencoder of words with a linear code of p numbers.

    .. math::

        L = E_w E_T \Bigl[-\sum_c \frac{C_{wc}}{C_{w \cdot}}
        \log \mathrm{softmax}(W_2 (W_1 T(x_w) + b_1) + b_2)_c\Bigr]

    where T hides contexts. Give :func:`aebook.fit` the pair that :func:`word_messages` returns.

    Parameters
    ----------
    contexts
        M, the length of a message.
    p
        Width of the code.
    hidden
        Share of the contexts that T sets to 0, at least 0 and less than 1.
    penalties
        As in :func:`aebook.variants.plain`.

    Examples
    --------
    >>> from aebook.applications.words import word_autoencoder, word_messages
    >>> x, shares = word_messages(np.random.default_rng(0).random((20, 8)))
    >>> objective = word_autoencoder(contexts=8, p=2)
    >>> history = aebook.fit(objective, (x, shares), epochs=1)
    >>> objective.model.encode(x).shape
    torch.Size([20, 2])
    """
    hidden = number("hidden", hidden, least=0, below=1)
    return plain(
        (whole("contexts", contexts), whole("p", p)),
        output=None,
        corruption=masking(hidden) if hidden else None,
        distance=categorical,
        penalties=penalties,
    )


@checked
def neighbours(
    word: str, words: Sequence[str], vectors: ArrayLike, *, k: int = 10
) -> list[tuple[str, float]]:
    r"""The words whose vectors make the smallest angles with that of a word.

    Parameters
    ----------
    word
        One of ``words``.
    words
        N words.
    vectors
        Their vectors, (N, p); one that is 0 has the cosine 0 with all.
    k
        How many, from 1 to N - 1.

    Returns
    -------
    list of tuple
        k words with their cosines, from -1 to 1, the nearest first; the word itself is left out.

    Examples
    --------
    >>> from aebook.applications.words import neighbours
    >>> vectors = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    >>> neighbours("trout", ["trout", "salmon", "hammer"], vectors, k=2)
    [('salmon', 1.0), ('hammer', 0.0)]
    """
    number = _numbers(words, "words")
    if word not in number:
        raise ValueError(
            f"got the word {word!r}, expected one of the {len(number)} given: the vocabulary "
            "holds frequent words in lower case"
        )
    rows: Any = normalize(matrix_of("vectors", vectors, dtype=np.float64))
    as_many(vectors=len(rows), words=len(number))
    whole("k", k, most=len(number) - 1, advice="ask for fewer, or give more words")
    own = number[word]
    cosines = rows @ rows[own]
    order: list[int] = np.argsort(-cosines, kind="stable").tolist()
    others = [n for n in order if n != own]
    return [(words[n], float(cosines[n])) for n in others[:k]]


def _numbers(words: Sequence[str], what: str) -> dict[str, int]:
    numbers = {word: n for n, word in enumerate(words)}
    if not numbers or len(numbers) != len(words):
        raise ValueError(f"got {what} that are none or repeat, expected a list of different words")
    return numbers


def _counts(counts: Any) -> sparse.csr_array:
    counts = matrix_of("counts", counts, dtype=np.float64)
    counts = sparse.csr_array(counts)
    array("counts", counts.data, least=0, empty=True)
    if counts.sum() == 0:
        raise ValueError(
            "got counts that are all 0, expected some above: no word has a neighbour in the texts"
        )
    counts = counts.copy()
    counts.eliminate_zeros()
    return counts
