"""Every link inside the built book leads somewhere, and nothing is loaded from outside."""

import re
from collections import Counter
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from address import addresses

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY, SITE = addresses()
# What a browser fetches by itself, as opposed to what a reader may follow.
LOADED = {("script", "src"), ("img", "src"), ("source", "src"), ("iframe", "src"), ("link", "href")}


class Page(HTMLParser):
    """The ids, links and loaded resources of one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: Counter[str] = Counter()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(path.read_text(encoding="utf8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if "id" in values:
            self.ids[values["id"]] += 1
        for name in ("href", "src"):
            if name in values:
                self.links.append(values[name])
                if (tag, name) in LOADED and values.get("rel") not in ("canonical", "author"):
                    self.loaded.append(values[name])
        if tag == "meta" and values.get("http-equiv", "").lower() == "refresh":
            self.links.append(values["content"].partition("url=")[2])


@cache
def read(path: Path) -> Page:
    return Page(path)


@pytest.fixture(scope="module")
def pages(html: Path) -> dict[str, Path]:
    return {
        path.relative_to(html).as_posix(): path
        for path in sorted(html.rglob("*.html"))
        if not path.relative_to(html).parts[0].startswith("_")
    }


def test_every_internal_link_resolves(html: Path, pages: dict[str, Path]) -> None:
    broken = []
    for name, path in pages.items():
        for link in read(path).links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link in ("", "#"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file() or html.resolve() not in target.resolve().parents:
                broken.append(f"{name}: {link}: no such file")
            elif (
                parts.fragment
                and target.suffix == ".html"
                and unquote(parts.fragment) not in read(target).ids
            ):
                broken.append(f"{name}: {link}: no such anchor")
    assert not broken, "\n".join(["", *broken])


def test_anchors_are_unique(pages: dict[str, Path]) -> None:
    # sphinx-exercise and sphinx-proof give every body of a kind the same id; nothing links to it
    shared = {"exercise-content", "solution-content", "proof-content"}
    twice = {
        name: [anchor for anchor, count in read(path).ids.items() if count > 1]
        for name, path in pages.items()
    }
    assert {name: ids for name, found in twice.items() if (ids := set(found) - shared)} == {}


def test_nothing_is_loaded_from_another_host(pages: dict[str, Path]) -> None:
    foreign = [
        f"{name}: {link}"
        for name, path in pages.items()
        for link in read(path).loaded
        if urlsplit(link).netloc
    ]
    assert not foreign, "\n".join(["", *foreign])


def test_links_into_the_repository_lead_to_files(pages: dict[str, Path]) -> None:
    """Colab, Binder and edit links name a file that exists."""
    path_of = urlsplit(REPOSITORY).path
    prefixes = {
        "edit": f"{REPOSITORY}/edit/main/",
        "colab": f"https://colab.research.google.com/github{path_of}/blob/main/",
        "binder": f"https://mybinder.org/v2/gh{path_of}/main?urlpath=lab/tree/",
    }
    seen = Counter()
    broken = []
    for name, path in pages.items():
        for link in read(path).links:
            for kind, prefix in prefixes.items():
                if link.startswith(prefix):
                    seen[kind] += 1
                    if not (ROOT / link.removeprefix(prefix)).is_file():
                        broken.append(f"{name}: {link}")
    assert not broken, "\n".join(["", *broken])
    notebooks = len(list((ROOT / "book").rglob("[!.]*.ipynb")))
    assert seen["colab"] == seen["binder"] == notebooks
    assert seen["edit"] > notebooks


def test_every_page_says_what_it_is(html: Path, pages: dict[str, Path]) -> None:
    """A description of its own, a picture that is there, and a place in the sitemap."""
    site = f"{SITE}/"
    named = re.findall(r"<loc>(.*?)</loc>", (html / "sitemap.xml").read_text("utf8"))
    assert sorted(named) == sorted({f"{site}{name}" for name in pages if name.startswith("book/")})

    descriptions = {}
    for name, path in pages.items():
        if not name.startswith("book/"):
            continue
        text = path.read_text("utf8")
        said = dict(re.findall(r'<meta (?:name|property)="([^"]+)" content="([^"]*)"', text))
        assert said["description"] == said["og:description"], name
        assert said["og:url"] == f"{site}{name}"
        assert said["og:image"].startswith(site)
        assert (html / said["og:image"].removeprefix(site)).is_file()
        descriptions[name] = said["description"]
    bad = {
        name: text
        for name, text in descriptions.items()
        if not 20 < len(text) <= 300 or re.search(r"[\\$]|  |What you will learn", text)
    }
    assert bad == {}
    assert [text for text, count in Counter(descriptions.values()).items() if count > 1] == []


def test_docstrings_come_out_as_they_were_written(pages: dict[str, Path]) -> None:
    """No half of a sentence is taken for a type, and no two hyphens for a dash."""
    torn = [
        name
        for name, path in pages.items()
        if re.search(r"<dt[^>]*>Type<|\W–[a-z]", path.read_text("utf8"))
    ]
    assert torn == []
