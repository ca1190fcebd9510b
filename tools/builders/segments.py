"""Sentences in four languages, from the help pages of LibreOffice."""

import hashlib
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from builders.sources import SourceError, debian

#: Where each language's pages are, and the SHA-256 of all of them (see `pages`).
FOLDER = Path("usr/share/libreoffice/help")
LANGUAGES = {
    "english": ("libreoffice-help-en-us", "en-US"),
    "french": ("libreoffice-help-fr", "fr"),
    "german": ("libreoffice-help-de", "de"),
    "chinese": ("libreoffice-help-zh-cn", "zh-CN"),
}
PAGES_SHA256 = {
    "english": "c04c55431f8687b1f8bdf0f26faa895dc0537e3313a0fb055fbe6a2363b157fd",
    "french": "bee88d399875ff4352696c1b5bd67f41cd24f672b128d2e7d189f91e09cc1f4c",
    "german": "427a50b091e9a608747e33abecb77e23957247d62b3932d137b00c2928477749",
    "chinese": "1bbc283c2a00d1c1b674b7a0e45faac2aa40075886eb327849fe26e8c4680f45",
}
#: In the order of the hashes: these many for test, for validation, and the others for training.
TEST, VALIDATION = 1_000, 1_000

WORDS = range(2, 13)
#: English that is prose: no digits, formulas, or names of variables.
PROSE = re.compile(r"[A-Za-z][A-Za-z ,.:;?!'\"&/()’-]*")
CODE = re.compile(r"\w\.\w|[a-z][A-Z]")
HAN = re.compile(r"[\u4e00-\u9fff]")
#: Signs that do not occur in Chinese: what is left of text in another encoding.
GARBLED = re.compile(r"[\x80-\xbf]")
#: Characters of French and German for one of English, and of Chinese: beyond these, something
#: was added or left out.
RATIOS = {"french": (0.5, 2.5), "german": (0.4, 2.5), "chinese": (0.1, 1.0)}
ARTICLES = {"a", "an", "the"}

Segment = dict[str, str]


def segments(given: Path | None) -> dict[str, np.ndarray]:
    """Choose segments of 2 to 12 English words with their French, German and Chinese.

    A segment is a heading or a paragraph that has the same identifier on the same page of all four
    languages. It is a candidate if its English is prose, its Chinese has a Chinese character, its
    French and German are not the English, and the lengths are in proportion. Candidates
    that differ in nothing but articles, case and punctuation count as one, with the translation
    that is most frequent. They are put in the order of the SHA-256 of what they have in common;
    a segment of which the English, French, German or Chinese has been seen is left out. The first
    1,000 are for test, the next 1,000 for validation, all others for training.

    Parameters
    ----------
    given
        The folder with the pages, which has the subfolders en-US, fr, de and zh-CN, or None to find
        or download Debian's.

    Returns
    -------
    dict
        For each split and language the texts: the uint8 bytes of lines joined by line feeds.

    Raises
    ------
    SourceError
        If the pages cannot be had or differ from those expected.
    """
    by_key: dict[str, list[Segment]] = {}
    for segment in aligned(given):
        if is_candidate(segment):
            by_key.setdefault(key(segment["english"]), []).append(segment)
    chosen, seen = [], set()
    for english in sorted(by_key, key=lambda text: hashlib.sha256(text.encode()).digest()):
        segment = most_frequent(by_key[english])
        keys = {(language, key(text)) for language, text in segment.items()}
        if not keys & seen:
            chosen.append(segment)
        seen |= keys
    cut = TEST + VALIDATION
    splits = {"train": chosen[cut:], "validation": chosen[TEST:cut], "test": chosen[:TEST]}
    return {
        f"{split}_{language}": _lines([segment[language] for segment in members])
        for split, members in splits.items()
        for language in LANGUAGES
    }


def is_candidate(segment: Mapping[str, str]) -> bool:
    """Whether it is prose, translated into all three, and nothing is missing or added."""
    english = segment["english"]
    return (
        len(english.split()) in WORDS
        and PROSE.fullmatch(english) is not None
        and CODE.search(english.replace("LibreOffice", "")) is None
        and HAN.search(segment["chinese"]) is not None
        and GARBLED.search(segment["chinese"]) is None
        and key(english) not in {"", key(segment["french"]), key(segment["german"])}
        and all(
            least * len(english) <= len(segment[language]) <= most * len(english)
            for language, (least, most) in RATIOS.items()
        )
    )


def key(text: str) -> str:
    """What two texts have in common that differ in case, punctuation and English articles only."""
    return " ".join(word for word in re.findall(r"\w+", text.casefold()) if word not in ARTICLES)


def most_frequent(members: list[Segment]) -> Segment:
    """The commonest of some segments; of equals, the first in the order of their texts."""
    counts = Counter(tuple(member.values()) for member in members)
    best = min(counts, key=lambda texts: (-counts[texts], texts))
    return dict(zip(members[0], best, strict=True))


def aligned(given: Path | None) -> Iterator[Segment]:
    """Yield the texts that have one identifier on one page in all four languages."""
    found = {language: pages(given, language) for language in LANGUAGES}
    for path in found["english"]:
        others = [paragraphs(found[language].get(path, "")) for language in LANGUAGES]
        for identifier in others[0]:
            texts = [texts.get(identifier, "") for texts in others]
            if all(texts):
                yield dict(zip(LANGUAGES, texts, strict=True))


def pages(given: Path | None, language: str) -> dict[str, str]:
    """Read all help pages of one language, and compare the SHA-256 of their paths and bytes."""
    package, subfolder = LANGUAGES[language]
    installed = Path("/") / FOLDER / subfolder
    if given or installed.is_dir():
        return _read((given / subfolder) if given else installed, PAGES_SHA256[language])
    with tempfile.TemporaryDirectory() as folder:
        root = debian(package, Path(folder))
        return _read(root / FOLDER / subfolder, PAGES_SHA256[language])


def paragraphs(page: str) -> dict[str, str]:
    """The text of each heading and paragraph of a page, by its identifier.

    Left out is what differs between systems or programs (a switch): its variants stand in the page
    side by side.
    """
    parser = _Paragraphs()
    parser.feed(page)
    parser.close()
    return parser.found


class _Paragraphs(HTMLParser):
    BLOCKS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: dict[str, str] = {}
        self.identifier: str | None = None
        self.switched = False
        self.pieces: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag in self.BLOCKS:
            self.identifier, self.switched, self.pieces = attributes.get("id"), False, []
        elif tag == "br":
            self.pieces.append(" ")
        elif attributes.get("class") in ("switch", "switchinline"):
            self.switched = True

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.BLOCKS and self.identifier:
            text = " ".join("".join(self.pieces).split())
            if not self.switched:
                self.found.setdefault(self.identifier, text)
            self.identifier = None


def _read(folder: Path, digest: str) -> dict[str, str]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.glob("text/**/*.html")}
    checksum, texts = hashlib.sha256(), {}
    for name, path in sorted(found.items()):
        data = path.read_bytes()
        checksum.update(f"{name}\n{hashlib.sha256(data).hexdigest()}\n".encode())
        texts[name] = data.decode("utf8", errors="replace")
    if checksum.hexdigest() != digest:
        raise SourceError(
            f"{folder} has {len(texts)} pages with SHA-256 {checksum.hexdigest()}, "
            f"expected {digest}"
        )
    return texts


def _lines(texts: list[str]) -> np.ndarray:
    return np.frombuffer("\n".join(texts).encode(), dtype=np.uint8)
