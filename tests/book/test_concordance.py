"""The article, statement by statement: each has a row, each row its place and its number."""

import json
import re
from collections import Counter
from pathlib import Path

import concordance
import pytest

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"
ROWS = concordance.read("concordance.csv")
REFERENCES = concordance.read("article-references.csv")
CHAPTERS = sorted(
    path.relative_to(BOOK).with_suffix("").as_posix()
    for path in BOOK.rglob("[!.]*.ipynb")
    if ".ipynb_checkpoints" not in path.parts
)
KINDS = {"claim", "definition", "figure", "report"}

# What the article has: how many statements in each section, and the references that it gives there.
ARTICLE = {
    "lead": (11, "1 2 3 4 5 6 7 8 9"),
    "definition": (7, ""),
    "training": (7, ""),
    "interpretation": (13, "1 3 10 11"),
    "history": (6, "1 3 11 12 13 14 15 16 17 18"),
    "regularised": (1, ""),
    "sparse": (18, "18 19 20 21 22 23"),
    "denoising": (10, "3 4"),
    "contractive": (7, ""),
    "concrete": (5, "25"),
    "variational": (5, ""),
    "depth": (6, "3 10"),
    "deep-training": (7, "10 26 27"),
    "applications": (1, "3"),
    "reduction": (8, "3 10 28 29"),
    "pca": (8, "10 28 30 31 32"),
    "retrieval": (4, "29"),
    "anomaly": (8, "2 33 34 35 36 37 38 39"),
    "image": (8, "40 41 42 43 44 45 46 47 48 49"),
    "drug": (1, "50 51"),
    "popularity": (2, "52"),
    "translation": (5, "53 54 55"),
}
# Given in no section of the text that the page follows.
UNUSED = {24}


def text_of(chapter: str) -> str:
    """The markdown of a chapter, or of the cover."""
    if chapter == "index":
        return (BOOK / "index.md").read_text("utf8")
    cells = json.loads((BOOK / f"{chapter}.ipynb").read_text("utf8"))["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def everything() -> str:
    """The text of all pages, chapters and others."""
    pages = (path.read_text("utf8") for path in BOOK.rglob("*.md"))
    return "\n\n".join((*map(text_of, CHAPTERS), *pages))


def places(row: dict[str, str]) -> list[str]:
    """The chapter of a row, and the others that speak of it."""
    return [row["chapter"], *row["also"].split()]


def test_page_and_cover_are_up_to_date() -> None:
    # so every measured value is the one in the stored output of its chapter
    assert concordance.PAGE.read_text("utf8") == concordance.page(), (
        "run `python tools/concordance.py`"
    )
    assert concordance.COVER.read_text("utf8") == concordance.cover()


def test_every_statement_has_a_row() -> None:
    expected = [f"{name}-{n}" for name, (count, _) in ARTICLE.items() for n in range(1, count + 1)]
    assert [row["id"] for row in ROWS] == expected
    assert list(ARTICLE) == list(concordance.SECTIONS)
    assert all(row["section"] == row["id"].rpartition("-")[0] for row in ROWS)
    for name, (_, references) in ARTICLE.items():
        found = {
            n
            for row in ROWS
            if row["section"] == name
            for n in concordance.numbers(row["references"])
        }
        assert found == set(concordance.numbers(references)), name


def test_every_row_is_filled_in() -> None:
    for row in ROWS:
        assert row["statement"].endswith(".")
        assert row["kind"] in KINDS
        assert row["verdict"] in concordance.VERDICTS
        # a verdict that is not plain, and a claim without a number, says why
        if row["verdict"] != "holds" or (row["kind"] == "claim" and not row["measured"]):
            assert row["why"], row["id"]


def test_every_row_leads_to_its_chapter_and_back() -> None:
    lost = []
    for row in ROWS:
        text = text_of(row["chapter"])
        if len(re.findall(rf"^\({re.escape(row['label'])}\)=$", text, re.MULTILINE)) != 1:
            lost.append(f"{row['id']}: {row['chapter']} has no target ({row['label']})=")
        if f"<says-{row['id']}>`" not in text:
            lost.append(f"{row['id']}: {row['chapter']} has no link to says-{row['id']}")
    assert not lost, "\n".join(["", *lost])
    given = Counter(re.findall(r"^\((row-[\w-]+)\)=$", everything(), re.MULTILINE))
    assert max(given.values()) == 1
    assert set(given) <= {row["label"] for row in ROWS}, "a target that no row uses"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_chapter_says_what_the_article_says(chapter: str) -> None:
    """It cites the references of its rows, by the article's numbers, and no others."""
    opening = r"^\*\*What the article says\.\*\*.*?(?=\n\n|\Z)"
    sections = re.findall(opening, text_of(chapter), re.MULTILINE | re.DOTALL)
    assert len(sections) == 1
    rows = [row for row in ROWS if chapter in places(row)]
    allowed = {n for row in rows for n in concordance.numbers(row["references"])}
    keys = {int(entry["number"]): entry["key"] for entry in REFERENCES}
    cited = re.findall(r"\{cite(?::\w+)?\}`([^`]+)`(?: \[(\d+)\])?", sections[0])
    bad = [
        f"{key} [{number}]" for key, number in cited if not number or keys.get(int(number)) != key
    ]
    assert not bad, f"give the article's own number after the citation: {bad}"
    assert {int(number) for _, number in cited} <= allowed
    if rows:
        assert "{doc}`concordance </book/concordance>`" in sections[0]


def test_all_references_of_the_article_appear() -> None:
    assert [int(entry["number"]) for entry in REFERENCES] == list(range(1, 56))
    used = {n for row in ROWS for n in concordance.numbers(row["references"])}
    assert set(range(1, 56)) - used == UNUSED
    assert all(entry["remark"] for entry in REFERENCES if int(entry["number"]) in UNUSED)


def test_bibliography_prints_what_is_cited_and_where_to_find_it() -> None:
    text = (BOOK / "references.bib").read_text("utf8")
    entries = re.findall(r"^@\w+\{(\w+),\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    cited = {
        key.strip()
        for group in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", everything())
        for key in group.split(",")
    }
    assert {key for key, _ in entries} == cited
    assert ":all:" not in (BOOK / "bibliography.md").read_text("utf8")
    # books and old proceedings that have neither a DOI nor a page that would last
    books = {"domingos2015", "firth1957", "cottrell1987", "demers1993"}
    nowhere = {
        key
        for key, fields in entries
        if not re.search(r"^ *(doi|url|eprint) *= *\{", fields, re.MULTILINE)
    }
    assert nowhere == books


def mathematics(text: str) -> list[str]:
    """The formulas of a text, without words in them."""
    plain = re.sub(r"^(`{3,})python.*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"\$\$.*?\$\$|\$[^$\n]+\$", plain, re.DOTALL)
    return [re.sub(r"\\(text|operatorname\*?|mathrm)\{[^}]*\}", "", formula) for formula in found]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_letters_mean_one_thing(chapter: str) -> None:
    """b is the bottleneck, a bias has an index; σ before a parenthesis is an activation."""
    bad = []
    for formula in mathematics(text_of(chapter)):
        bias = re.search(r"\+ *b(?![A-Za-z_(])|(?<![A-Za-z\\_{^,])b *(?==)", formula)
        if bias and chapter != "depth/pretraining":
            bad.append(f"b without an index: {formula[:70]}")
        if re.search(r"(?<!_)\\sigma(\^2)?\(x\)", formula):
            bad.append(f"a deviation that looks like an activation: {formula[:70]}")
        if re.search(r"(desired|wanted)[^$]*\\hat\\rho", formula):
            bad.append(f"a hat on what is desired: {formula[:70]}")
    assert not bad, "\n".join(["", *bad])
