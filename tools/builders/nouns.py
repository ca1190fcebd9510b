"""The nouns among the words of the glosses, with their places in WordNet's hierarchy."""

import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aebook.datasets.text import glosses
from builders.glosses import (
    DATA_NOUN,
    DATA_NOUN_SHA256,
    SEXUAL_GLOSS,
    Synset,
    coarse_words,
    parse,
)
from builders.sources import debian, verified

#: What is read, all from one folder.
SHA256 = {
    "data.noun": DATA_NOUN_SHA256,
    "index.noun": "a490d99d93d017bf4822fe2f0ffa51fd73911ce271dc7535fade21f8814b5a04",
    "index.verb": "e2ac24816c3a8289dcb72aaa9cf8db81fdf25ec34d792bfc96ac5b7a20c8b4ae",
    "index.adj": "c9865d7b4d1f805bdef82ccdcea5282436e23083e6f6f1b33e716327c4eda810",
    "index.adv": "6f5465ed5758fe9c8a2f7ec17b1300f3aa875756c70ff7cba162f7e71bcf88ea",
    "noun.exc": "2b5d675c380b39ecf595af9fa9d4e7feb1d58c643b0bff08c40ed5bfe41fab7a",
    "verb.exc": "dbbcf9a601b2d77e934e413b91d90e88ec7f933a8b77cfc00602a923b891b42c",
    "cntlist.rev": "a198580b8f705fa02797bba8b13e5cbe4a9f9f40cb1697e774c7fc6a5865b035",
}

#: WordNet's number of the first of `aebook.datasets.NOUN_TOPICS` (lexnames(5WN)).
FIRST_FILE = 3
#: How often a word has to occur in the definitions that ship.
LEAST = 5
#: Share of a word's tagged uses that a topic must have to be the word's.
CLEAR = 0.75
#: As a noun of its own, a word that may be a form of another has to be tagged so often.
TAGGED = 5
#: Mostly an auxiliary and a conjunction, of which WordNet has none.
FUNCTION_WORDS = {"may", "while"}
#: In place of a topic where none is clear.
NO_TOPIC = 255
WORD = re.compile(r"[a-z]+")


class Dictionary(NamedTuple):
    """What is known of lemmas: spelled in lower case, with underscores."""

    senses: dict[str, list[str]]  # of nouns: offsets of synsets, most frequent first
    others: dict[str, set[str]]  # lemmas that are "verb", "adj" or "adv"
    irregular: set[str]  # irregular forms of nouns and verbs
    uses: dict[str, Counter[int]]  # tagged uses by noun topic (0: not as a noun)


def nouns(given: Path | None) -> dict[str, np.ndarray]:
    """Collect the nouns of the shipped definitions, their senses, and all that these fall under.

    Parameters
    ----------
    given
        The file data.noun of WordNet 3.0, with the others of `SHA256` beside it, or None to find
        or download Debian's.

    Returns
    -------
    dict
        ``words``, the uint8 bytes of lines joined by line feeds, most frequent first; ``topics``,
        uint8, indices into `aebook.datasets.NOUN_TOPICS`, or `NO_TOPIC`; ``sense_counts``, uint8,
        how many synsets each word is in, and ``senses``, uint16, these synsets, word after word;
        ``names``, a line for each synset; ``parent_counts`` and ``parents``, likewise, what each
        synset is a kind or an instance of.

    Raises
    ------
    SourceError
        If a file cannot be had or differs from the one expected.
    """
    files = _sources(given)
    data, dictionary = files["data.noun"], read(files)
    synsets = {synset.offset: synset for synset in parse(data)}
    coarse = coarse_words([*synsets.values()])
    texts = [text for split in ("train", "test") for text in glosses(split).texts]
    words = [
        word
        for word in frequent(texts, LEAST)
        if word in dictionary.senses and word not in coarse and not SEXUAL_GLOSS.search(word)
    ]
    up = hypernyms(data)
    kept = sorted(closure((s for word in words for s in dictionary.senses[word]), up))
    number = {offset: n for n, offset in enumerate(kept)}
    files_of = {w: [synsets[s].file_number for s in dictionary.senses[w]] for w in words}
    return {
        "words": _lines(words),
        "topics": np.array([topic(w, files_of[w], dictionary) for w in words], np.uint8),
        **_ragged("sense", [[number[s] for s in dictionary.senses[w]] for w in words]),
        "names": _lines([name(synsets[offset], coarse) for offset in kept]),
        **_ragged("parent", [[number[s] for s in up[offset]] for offset in kept]),
    }


def read(files: Mapping[str, str]) -> Dictionary:
    """Read the files other than data.noun; their formats are those of wndb(5WN)."""
    uses = defaultdict(Counter)
    for line in files["cntlist.rev"].splitlines():
        key, _, count = line.split()
        lemma, kind, file_number = re.match(r"(.*)%(\d):(\d\d):", key).groups()
        uses[lemma][int(file_number) if kind == "1" else 0] += int(count)
    return Dictionary(
        senses=_index(files["index.noun"]),
        others={kind: {*_index(files[f"index.{kind}"])} for kind in ("verb", "adj", "adv")},
        irregular={
            line.split()[0]
            for kind in ("noun", "verb")
            for line in files[f"{kind}.exc"].splitlines()
        },
        uses=dict(uses),
    )


def frequent(texts: Iterable[str], least: int) -> list[str]:
    """Words of three letters or more, most frequent first, equals by the alphabet."""
    counts = Counter(word for text in texts for word in WORD.findall(text.lower()))
    chosen = [word for word in counts if counts[word] >= least and len(word) > 2]
    return sorted(chosen, key=lambda word: (-counts[word], word))


def hypernyms(data: str) -> dict[str, list[str]]:
    """Offsets of what each synset is a kind or an instance of, from data.noun."""
    found = {}
    for line in data.splitlines():
        if not line.startswith("  "):
            head = line.partition(" | ")[0] + " "
            found[head[:8]] = re.findall(r" @i? (\d{8}) n ", head)
    return found


def closure(offsets: Iterable[str], up: Mapping[str, Sequence[str]]) -> set[str]:
    """The synsets given and all that they fall under."""
    waiting, seen = [*offsets], set()
    while waiting:
        if (offset := waiting.pop()) not in seen:
            seen.add(offset)
            waiting += up[offset]
    return seen


def topic(word: str, file_numbers: Sequence[int], dictionary: Dictionary) -> int:
    """The topic of nearly all uses of a word, or `NO_TOPIC`.

    Where uses were tagged it must have `CLEAR` of them, those as another part of speech counted.
    A word of which none was must have at least four letters, senses of one topic only, and be no
    verb, adjective or adverb. A form of another word, too, needs `TAGGED` uses of its own.
    """
    uses = dictionary.uses.get(word)
    if uses:
        number, count = uses.most_common(1)[0]
        clear = count >= CLEAR * uses.total()
    else:
        number, count = file_numbers[0], 0
        clear = len({*file_numbers}) == 1 and len(word) > 3
        clear = clear and not any(word in lemmas for lemmas in dictionary.others.values())
    if word in FUNCTION_WORDS:
        return NO_TOPIC
    if number and clear and (count >= TAGGED or not inflected(word, dictionary)):
        return number - FIRST_FILE
    return NO_TOPIC


def inflected(word: str, dictionary: Dictionary) -> bool:
    """Whether a word may be a plural, or a form of a verb."""
    if word in dictionary.irregular:
        return True
    nouns, verbs = dictionary.senses, dictionary.others["verb"]
    for ending, instead in (("s", ""), ("es", ""), ("ies", "y"), ("men", "man")):
        stem = word.removesuffix(ending) + instead
        if word.endswith(ending) and len(stem) > 2 and (stem in nouns or stem in verbs):
            return True
    for ending in ("ing", "ed"):
        stem = word.removesuffix(ending)
        double = len(stem) > 2 and stem[-1] == stem[-2]
        stems = {stem, stem + "e", stem[:-1] if double else stem}
        if word.endswith(ending) and len(stem) > 1 and stems & verbs:
            return True
    return False


def name(synset: Synset, coarse: set[str]) -> str:
    """The first word of a synset that any reader may see; else a dash."""
    if SEXUAL_GLOSS.search(synset.definition):
        return "-"
    fit = (w for w in synset.words if w.casefold() not in coarse and not SEXUAL_GLOSS.search(w))
    return next(fit, "-")


def _index(index: str) -> dict[str, list[str]]:
    entries = (line.split() for line in index.splitlines() if not line.startswith("  "))
    return {entry[0]: entry[-int(entry[2]) :] for entry in entries}


def _ragged(singular: str, rows: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    return {
        f"{singular}_counts": np.array([len(row) for row in rows], np.uint8),
        f"{singular}s": np.array([n for row in rows for n in row], np.uint16),
    }


def _lines(texts: Iterable[str]) -> np.ndarray:
    return np.frombuffer("\n".join(texts).encode(), dtype=np.uint8)


def _sources(given: Path | None) -> dict[str, str]:
    def read_all(folder: Path) -> dict[str, str]:
        return {n: verified(folder / n, digest).decode("ascii") for n, digest in SHA256.items()}

    installed = Path("/") / DATA_NOUN
    if given or installed.is_file():
        return read_all((given or installed).parent)
    with tempfile.TemporaryDirectory() as folder:
        return read_all((debian("wordnet-base", Path(folder)) / DATA_NOUN).parent)
