r"""Translation without a network: word by word, and by the nearest text that has been translated.

:class:`Lexicon` learns from pairs of texts which word stands for which (Brown et al. 1993, Model
1), :class:`Memory` looks up the most similar text, as translators' programs do. A network has to
beat both.

>>> Lexicon(english, french).translate(["Insert a table."])
>>> Memory(english, french).translate(["Insert a table."]).texts
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from aebook._internal.checks import whole
from aebook._internal.contract import checked
from aebook._internal.letters import composed, run

__all__ = ["Lexicon", "Memory", "Recalled"]

#: Letters, digits and the underscore, of which words are made here.
LETTER = r"\w"
#: Stands for whatever a word of the target owes to no word of the source.
NOTHING = ""


class Lexicon:
    r"""Word by word: each word of the source becomes the one that it most probably stands for.

    In Model 1 each of the m words f of a translation comes from one word e of the source, or from
    nothing, all with equal probability:

    .. math::

        p(f_1, …, f_m | e_1, …, e_l) \propto \prod_{j=1}^m \sum_{i=0}^l t(f_j | e_i)

    The table t is found by expectation maximisation, which here has no local optima. Words are
    compared without regard to case and to how an accent was typed. A word that has never been
    seen, or never with a translation, stays as it is.

    Parameters
    ----------
    sources, targets
        N texts each; the second of each pair translates the first. One may be empty.
    iterations
        Steps of expectation maximisation, 1 or more.

    Attributes
    ----------
    table
        For each word of the source the word for it and its probability.

    Examples
    --------
    >>> from aebook.applications.translation import Lexicon
    >>> german, english = ["das Haus", "das Buch", "ein Buch"], ["the house", "the book", "a book"]
    >>> Lexicon(german, english).translate(["Ein Haus"])
    ['A house']
    """

    @checked
    def __init__(
        self, sources: Sequence[str], targets: Sequence[str], *, iterations: int = 10
    ) -> None:
        sources, targets = _checked_pairs(sources, targets)
        iterations = whole("iterations", iterations)
        known: tuple[dict[str, int], dict[str, int]] = ({NOTHING: 0}, {})
        links = []
        word = 0  # of all targets, one after the other
        for source, target in zip(sources, targets, strict=True):
            left = [0, *(known[0].setdefault(e, len(known[0])) for e in _words(source))]
            for f in _words(target):
                right = known[1].setdefault(f, len(known[1]))
                links += [(word, e, right) for e in left]
                word += 1
        words, e, f = np.array(links).T
        # one entry of the table for each pair of words that ever meets
        pairs, entry = np.unique(e * len(known[1]) + f, return_inverse=True)
        of_e, of_f = np.divmod(pairs, len(known[1]))
        t = np.ones(len(pairs))
        for _ in range(iterations):
            # each word of a target is shared among the words that it may come from
            share = t[entry] / np.bincount(words, t[entry])[words]
            count = np.bincount(entry, share)
            t = count / np.bincount(of_e, count)[of_e]
        given, names = list(known[0]), list(known[1])
        # of equals, the word that was met first
        best = np.lexsort((of_f, -t, of_e))
        first = best[np.unique(of_e[best], return_index=True)[1]]
        self.table = {
            given[of_e[row]]: (names[of_f[row]], float(t[row])) for row in first if of_e[row]
        }

    @checked
    def translate(self, texts: Sequence[str]) -> list[str]:
        """Translate each word; the first letter is a capital where it was one."""
        translated = []
        for text in checked_texts(texts, empty=True):
            words = [self.table.get(word, (word,))[0] for word in _words(text)]
            joined = re.sub(r"(?<=['’(]) | (?=[.,)\]…])", "", " ".join(words))
            translated.append(joined[:1].upper() + joined[1:] if text[:1].isupper() else joined)
        return translated


class Recalled(NamedTuple):
    """What a memory has found for N texts."""

    texts: list[str]
    """The translations of the most similar texts."""
    sources: list[str]
    """These texts."""
    likeness: np.ndarray
    """How like they are, from 0 to 1, shape (N,)."""


class Memory:
    r"""The translation of the most similar text that it knows.

    Texts are vectors of their words and pairs of neighbouring words, weighed by TF-IDF, and the
    likeness of two texts is the cosine of the angle between them.

    Parameters
    ----------
    sources, targets
        N texts each; the second of each pair translates the first.

    Examples
    --------
    >>> from aebook.applications.translation import Memory
    >>> english = ["Insert a table", "Close the file"]
    >>> memory = Memory(english, ["Insérer un tableau", "Fermer le fichier"])
    >>> memory.translate(["Close this file"]).texts
    ['Fermer le fichier']
    """

    @checked
    def __init__(self, sources: Sequence[str], targets: Sequence[str]) -> None:
        self.sources, self.targets = _checked_pairs(sources, targets)
        self._weigh = TfidfVectorizer(
            preprocessor=composed,
            tokenizer=_signs,
            token_pattern=None,  # pyright: ignore[reportArgumentType]
            ngram_range=(1, 2),
            sublinear_tf=True,
        )
        self._known = self._weigh.fit_transform(self.sources)

    @checked
    def translate(self, texts: Sequence[str]) -> Recalled:
        """The nearest known text of each, of equals the first, and its translation."""
        cosine = (self._weigh.transform(checked_texts(texts, empty=True)) @ self._known.T).toarray()
        # rounded, so that equals are equal
        nearest = cosine.round(6).argmax(1)
        return Recalled(
            [self.targets[row] for row in nearest],
            [self.sources[row] for row in nearest],
            cosine[np.arange(len(nearest)), nearest].clip(0, 1),
        )


def checked_texts(texts: Sequence[str], *, empty: bool = False) -> list[str]:
    """One text or more as a list of strings.

    Parameters
    ----------
    texts
        What should be texts.
    empty
        Whether a text may be empty.
    """
    many = isinstance(texts, Iterable) and not isinstance(texts, str)
    listed: list[str] = list(texts) if many else []
    if not many or not all(isinstance(text, str) for text in listed):
        raise ValueError("got something other than a list of strings: for one text use [text]")
    if not listed or not (empty or all(text.strip() for text in listed)):
        raise ValueError("got no text, or an empty one; expected texts with something in them")
    return listed


def _words(text: str) -> list[str]:
    """Words, each with the apostrophe that ends it, and other signs one by one."""
    text = composed(text, fold=True)
    return re.findall(rf"{run(LETTER, text)}['’]?|[^\w\s]", text)


def _signs(text: str) -> list[str]:
    """Words and other signs of a text in small letters."""
    return re.findall(rf"{run(LETTER, text)}|[^\w\s]", text)


def _checked_pairs(sources: Sequence[str], targets: Sequence[str]) -> tuple[list[str], list[str]]:
    sources, targets = (checked_texts(texts, empty=True) for texts in (sources, targets))
    if len(sources) != len(targets):
        raise ValueError(f"got {len(sources)} sources and {len(targets)} targets, expected as many")
    if not any(map(_words, sources)) or not any(map(_words, targets)):
        raise ValueError("got texts without a single word, expected pairs of texts")
    return sources, targets
