"""Definitions of nouns with their topics, from WordNet."""

import hashlib
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aebook.datasets.text import GLOSS_TOPICS
from builders.order import balanced
from builders.sources import debian, verified

DATA_NOUN = Path("usr/share/wordnet/data.noun")
DATA_NOUN_SHA256 = "fea17d2f9656611334eac790e5d69e47645fa180c4aa481fb4cd9b3520754ca2"

#: WordNet's numbers of the topics in `GLOSS_TOPICS` (lexnames(5WN)): all noun files with at least
#: 2,000 synsets.
FILE_NUMBERS = (4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 18, 20, 26, 27)
TRAIN, TEST = 1_150, 200  # glosses of each topic
MINIMUM_WORDS = 6

#: Not for every reader: the members of these usage domains, and glosses that match.
COARSE_DOMAINS = {"ethnic slur", "obscenity", "disparagement"}
COARSE_GLOSS = re.compile(
    r"\bslur\b|\bnegro|\b(offensive|derogatory|disparaging|obscene|vulgar|insulting|pejorative)\b"
    r"[^;]*\b(term|name|word|reference|expression|slang)s?\b"
    r"|\b(considered|regarded as) offensive\b",
    re.IGNORECASE,
)
SEXUAL_GLOSS = re.compile(
    r"\b(sex|sexual\w*|genital\w*|vagina\w*|vulva\w*|clitor\w*|penis|penile|scrot\w*|rape|rapist"
    r"|erotic\w*|porn\w*|prostitut\w*|brothel|lewd\w*)\b",
    re.IGNORECASE,
)


class Synset(NamedTuple):
    """One line of data.noun, as far as it is used here."""

    offset: str
    file_number: int
    words: tuple[str, ...]  # the lemmas, spelled with spaces
    domains: frozenset[str]  # offsets of the domains of usage
    definition: str  # without examples; empty if it cannot be told from them


def glosses(given: Path | None) -> dict[str, np.ndarray]:
    """Choose 1,150 training and 200 test definitions for each of the 14 topics.

    A definition is a candidate if it has at least six words, occurs once in all of data.noun
    (whatever the topic, and without regard to case), is not about sex, and its synset's first word
    has no coarse meaning, here or in any synset. The choice and the order are those of
    `builders.order.balanced`, by the SHA-256 of the definition.

    Parameters
    ----------
    given
        The file data.noun of WordNet 3.0, or None to find or download Debian's.

    Returns
    -------
    dict
        For each split: the words and the texts, each as the uint8 bytes of lines joined by line
        feeds, and the topics, uint8 of shape (N,), indices into `GLOSS_TOPICS`.

    Raises
    ------
    SourceError
        If the file cannot be had or differs from the one expected.
    """
    synsets = list(parse(_data_noun(given).decode("ascii")))
    coarse = coarse_words(synsets)
    occurrences = Counter(synset.definition.casefold() for synset in synsets)
    chosen = [
        synset
        for synset in synsets
        if synset.file_number in FILE_NUMBERS
        and len(synset.definition.split()) >= MINIMUM_WORDS
        and occurrences[synset.definition.casefold()] == 1
        and synset.words[0].casefold() not in coarse
        and not SEXUAL_GLOSS.search(synset.definition)
    ]
    topics = np.array([FILE_NUMBERS.index(synset.file_number) for synset in chosen], np.uint8)
    keys = [hashlib.sha256(synset.definition.encode()).digest() for synset in chosen]
    order = balanced(keys, topics, TRAIN + TEST)
    arrays = {}
    cut = TRAIN * len(GLOSS_TOPICS)
    for split, indices in (("train", order[:cut]), ("test", order[cut:])):
        arrays[f"{split}_words"] = _lines([chosen[i].words[0] for i in indices])
        arrays[f"{split}_texts"] = _lines([chosen[i].definition for i in indices])
        arrays[f"{split}_topics"] = topics[indices]
    return arrays


def coarse_words(synsets: Sequence[Synset]) -> set[str]:
    """Return the words that are slurs, obscene or disparaging in any meaning, without case."""
    domains = {synset.offset for synset in synsets if COARSE_DOMAINS & {*synset.words}}
    return {
        word.casefold()
        for synset in synsets
        if synset.domains & domains or COARSE_GLOSS.search(synset.definition)
        for word in synset.words
    }


def parse(data: str) -> Iterator[Synset]:
    """Yield the synsets of a data file of WordNet; the format is that of wndb(5WN).

    A gloss is a definition and then examples in double quotes, after a semicolon or a colon. What
    precedes the first quote is the definition if it ends with either; otherwise the quoted words
    belong to the sentence, and the definition is given as empty.
    """
    for line in data.splitlines():
        if line.startswith("  "):  # the licence
            continue
        head, _, gloss = line.partition(" | ")
        fields = head.split()
        count = int(fields[3], 16)
        definition, quote, _ = gloss.partition('"')
        definition = definition.strip()
        if quote and not definition.endswith((";", ":")):
            definition = ""
        yield Synset(
            offset=fields[0],
            file_number=int(fields[1]),
            words=tuple(word.replace("_", " ") for word in fields[4 : 4 + 2 * count : 2]),
            domains=frozenset(re.findall(r" ;u (\d{8}) n ", head + " ")),
            definition=definition.rstrip(";: "),
        )


def _lines(texts: list[str]) -> np.ndarray:
    return np.frombuffer("\n".join(texts).encode(), dtype=np.uint8)


def _data_noun(given: Path | None) -> bytes:
    installed = Path("/") / DATA_NOUN
    if given or installed.is_file():
        return verified(given or installed, DATA_NOUN_SHA256)
    with tempfile.TemporaryDirectory() as folder:
        return verified(debian("wordnet-base", Path(folder)) / DATA_NOUN, DATA_NOUN_SHA256)
