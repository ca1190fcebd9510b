"""Make the page "The article, statement by statement" from its two tables.

    python tools/concordance.py

``book/concordance.csv`` has one row a statement of the article, in the book's own words, and
``book/article-references.csv`` one row a reference of the article. What was measured is read from
the stored outputs of the chapters, so the page follows them: run this after ``tools/refresh.py``.
The counts go to the cover.

A measured value is named by what its line says before the colon, ``error / floor``. Where a chapter
prints several lines of that name, one that stands above it in the same output goes before, with
``»`` between; where it is in another chapter, ``@applications/pca`` does. ``;;`` is between two.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from functools import cache
from pathlib import Path

BOOK = Path(__file__).resolve().parents[1] / "book"
PAGE, COVER = BOOK / "concordance.md", BOOK / "index.md"

#: Sections of the article in its order, and what they are called on the page.
SECTIONS = {
    "lead": "Lead",
    "definition": "Definition",
    "training": "Training an autoencoder",
    "interpretation": "Interpretation",
    "history": "History",
    "regularised": "Regularised autoencoders",
    "sparse": "Sparse autoencoder",
    "denoising": "Denoising autoencoder",
    "contractive": "Contractive autoencoder",
    "concrete": "Concrete autoencoder",
    "variational": "Variational autoencoder",
    "depth": "Advantages of depth",
    "deep-training": "Training deep ones",
    "applications": "Applications",
    "reduction": "Dimensionality reduction",
    "pca": "Principal component analysis",
    "retrieval": "Information retrieval",
    "anomaly": "Anomaly detection",
    "image": "Image processing",
    "drug": "Drug discovery",
    "popularity": "Popularity prediction",
    "translation": "Machine translation",
}
VERDICTS = {
    "holds": "{} hold",
    "holds under conditions": "{} hold under conditions that the sentence does not name",
    "loose": "{} are loose",
    "wrong": "{} are wrong",
    "cannot be checked here": "{} cannot be checked here",
}
BOUND = re.compile(r" (?:<=?|>=?|=) ")

HEAD = """\
---
html_theme.sidebar_secondary.remove: true
---

<!-- made by tools/concordance.py from its two tables and the outputs of the chapters -->

# The article, statement by statement

This book follows the encyclopedia article
[Autoencoder](https://en.wikipedia.org/wiki/Autoencoder). Here is all that the article says, in our
own words and in its order, and what became of it. {summary}

- **holds**: as it stands, as far as a small machine can tell. Definitions and names are counted
  here, and marked.
- **holds under conditions**: true in cases that the sentence does not name.
- **loose**: right in substance, but not as it is worded.
- **wrong**: contradicted by a proof, a date, a measurement or its own source.
- **cannot be checked here**: and why.

What was measured stands beside the bound that it was held to, as the chapter prints it. Several
values are seeds or cases, and so show the spread. Numbers in brackets are the article's own
references, listed {{ref}}`below <article-references>`.

```{{raw}} html
<form class="concordance-filter" hidden>
  <label>Section <select name="section"><option value="">all</option></select></label>
  <label>Verdict <select name="verdict"><option value="">all</option></select></label>
  <label>Words <input type="search" name="words"></label>
  <output aria-live="polite"></output>
</form>
```

````{{list-table}}
:header-rows: 1
:class: concordance
:widths: 10 30 28 32

* - Row
  - The article says
  - Verdict
  - Measured, and where
"""
FOOT = """\

(article-references)=
## The references of the article

All {count} of them, with the article's numbers, and the rows in which it gives them.

````{{list-table}}
:header-rows: 1
:class: concordance-references
:widths: 7 38 20 35

* - No.
  - Work
  - Rows
  - Remark
"""
SCRIPT = """
```{raw} html
<script defer src="../_static/concordance.js"></script>
```
"""


def read(name: str) -> list[dict[str, str]]:
    """The rows of a table in ``book/``."""
    with (BOOK / name).open(encoding="utf8", newline="") as file:
        return list(csv.DictReader(file))


def numbers(text: str) -> list[int]:
    """The reference numbers of a row."""
    return [int(number) for number in text.split()]


@cache
def outputs(chapter: str) -> list[list[str]]:
    """The lines that each cell of a chapter printed."""
    cells = json.loads((BOOK / f"{chapter}.ipynb").read_text("utf8"))["cells"]
    texts = ("".join("".join(o.get("text", "")) for o in cell.get("outputs", ())) for cell in cells)
    return [[line.strip() for line in text.splitlines()] for text in texts if text]


@cache
def title(chapter: str) -> str:
    """What a chapter is called."""
    if chapter == "index":
        return "the cover"
    cells = json.loads((BOOK / f"{chapter}.ipynb").read_text("utf8"))["cells"]
    return "".join(cells[0]["source"]).splitlines()[0].removeprefix("# ")


def measured(chapter: str, name: str) -> str:
    """The line of a chapter's stored outputs that a name stands for, with what stands above."""
    if name.startswith("@"):
        chapter, name = name[1:].split(" ", 1)
    *above, what = name.split(" » ")
    found = []
    for lines in outputs(chapter):
        start = 0
        for heading in above:
            at = [i for i in range(start, len(lines)) if lines[i].startswith(heading)]
            start = at[0] + 1 if at else len(lines)
        hits = [
            line
            for line in lines[start:]
            if line.startswith(f"{what}: ") and BOUND.search(line[len(what) :])
        ]
        found += hits[:1] if above else hits
    if len(found) != 1:
        raise ValueError(
            f"{chapter} prints {len(found)} lines named {name!r}, expected one: {found}"
        )
    return " ".join(" » ".join((*above, found[0])).split())


def links(ids: list[str], to: str) -> str:
    """Links to rows: the section is named where it changes."""
    parts, last = [], ""
    for row in ids:
        section, _, number = row.rpartition("-")
        text = number if section == last else row.replace("-", " ")
        parts.append(f"{{ref}}`{text} <{to}-{row}>`")
        last = section
    return ", ".join(parts)


def summary(rows: list[dict[str, str]]) -> str:
    """The counts in one sentence."""
    counts = Counter(row["verdict"] for row in rows)
    names = sum(row["kind"] == "definition" and row["verdict"] == "holds" for row in rows)
    parts = [words.format(counts[verdict]) for verdict, words in VERDICTS.items()]
    parts[0] += f" ({names} of them definitions and names)"
    return f"Of {len(rows)} statements {', '.join(parts[:-1])}, and {parts[-1]}."


def cell(*paragraphs: str, first: bool = False) -> str:
    """A cell of a list-table, of one paragraph or several."""
    text = "\n\n".join(filter(None, paragraphs)).replace("\n", "\n    ")
    return re.sub(r"[ ]+$", "", f"{'* - ' if first else '  - '}{text}\n", flags=re.MULTILINE)


def statement(row: dict[str, str]) -> str:
    """A row of the page."""
    given = " ".join(f"{{ref}}`[{n}] <article-reference-{n}>`" for n in numbers(row["references"]))
    lines = [measured(row["chapter"], name) for name in filter(None, row["measured"].split(" ;; "))]
    mark = " (definition)" if row["kind"] == "definition" and row["verdict"] == "holds" else ""
    where = [f"{{ref}}`{title(row['chapter'])} <{row['label']}>`"]
    where += [f"{{doc}}`/book/{chapter}`" for chapter in row["also"].split()]
    published = f"Published: {row['published']}" if row["published"] else ""
    return "".join(
        (
            cell(f"(says-{row['id']})=\n{row['id'].replace('-', ' ')}", first=True),
            cell(f"{row['statement']} {given}".strip()),
            cell(f"**{row['verdict']}**{mark}", row["why"]),
            cell(*(f"`{line}`" for line in lines), published, ", ".join(where)),
        )
    )


def reference(entry: dict[str, str], rows: list[dict[str, str]]) -> str:
    """A row of the table of references."""
    number = int(entry["number"])
    ids = [row["id"] for row in rows if number in numbers(row["references"])]
    return "".join(
        (
            cell(f"(article-reference-{number})=\n{number}", first=True),
            cell(f"{{cite:t}}`{entry['key']}`"),
            cell(links(ids, "says") or "none"),
            cell(entry["remark"]),
        )
    )


def page() -> str:
    """The whole page."""
    rows, entries = read("concordance.csv"), read("article-references.csv")
    return "".join(
        (
            HEAD.format(summary=summary(rows)),
            *map(statement, rows),
            "````\n",
            FOOT.format(count=len(entries)),
            *(reference(entry, rows) for entry in entries),
            "````\n",
            SCRIPT,
        )
    )


def cover() -> str:
    """The cover with its sentence on the counts."""
    text = COVER.read_text("utf8")
    sentence = summary(read("concordance.csv"))
    new, count = re.subn(r"Of \d+ statements [^.]*\.", lambda _: sentence, text)
    if count != 1:
        raise ValueError(
            f"{COVER.name} has {count} sentences that begin with 'Of … statements', expected one"
        )
    return new


def main() -> None:
    """Write the page and the sentence on the cover."""
    PAGE.write_text(page(), "utf8")
    COVER.write_text(cover(), "utf8")


if __name__ == "__main__":
    main()
