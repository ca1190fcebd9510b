"""What the built book tells search engines and other sites of each page: an extension of Sphinx.

A page's description is the first thing that it says: of a chapter the first item of what one will
learn, of a page of the package the first sentence of its docstring. All pages are listed in
``sitemap.xml``.
"""

from __future__ import annotations

import html
import textwrap
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from xml.sax.saxutils import escape

from docutils import nodes
from sphinx.application import Sphinx

#: Characters of a description, about as many as are shown.
LENGTH = 200


def description(document: nodes.document) -> str:
    """The first item or paragraph of a page that is a sentence without formulas."""
    for node in document.findall(lambda node: isinstance(node, nodes.paragraph | nodes.list_item)):
        if node.next_node(nodes.math) or node.next_node(nodes.image):
            continue
        text = " ".join(node.astext().split()).rstrip(";")
        if len(text) > 15 and not text.lower().startswith("what you will learn"):
            return textwrap.shorten(text[0].upper() + text[1:], LENGTH, placeholder=" …")
    return ""


def describe(
    app: Sphinx, page: str, template: str, context: dict[str, Any], document: nodes.document | None
) -> None:
    """Put a description into the head of a page, and into what others show of it."""
    if document and (text := html.escape(description(document))):
        context["metatags"] += f'\n<meta name="description" content="{text}" />\n'
        context["meta"] = {**(context["meta"] or {}), "og:description": text}


def sitemap(app: Sphinx, failed: Exception | None) -> None:
    """List the address of every page."""
    if failed or app.builder.name != "html":
        return
    site = app.config.html_baseurl
    pages = sorted(map(app.builder.get_target_uri, app.env.found_docs))
    lines = [f"<url><loc>{escape(urljoin(site, page))}</loc></url>" for page in pages]
    text = "\n".join(
        (
            '<?xml version="1.0" encoding="utf-8"?>',
            '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">',
            *lines,
            "</urlset>\n",
        )
    )
    (Path(app.outdir) / "sitemap.xml").write_text(text, "utf8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx; before sphinxext.opengraph, which keeps a description that is there."""
    app.connect("html-page-context", describe, priority=400)
    app.connect("build-finished", sitemap)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
