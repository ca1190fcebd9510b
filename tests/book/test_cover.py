"""The cover shows what chapters show, and its lines run."""

import gzip
import re

import cover
import numpy as np
import pytest
import torch
from PIL import Image

import aebook

PAGE = (cover.BOOK / "index.md").read_text("utf8")


def test_the_figure_is_the_one_of_its_chapter() -> None:
    stored = (cover.COVER / "draw.html").read_text("utf8")
    assert stored == cover.drawn() + "\n", "run `python tools/cover.py`"
    assert len(gzip.compress(stored.encode())) < 300_000
    # nothing is fetched
    assert not re.search(r"""(src|href)=["'](?!data:)|https?://|\bfetch\(|\bimport\(""", stored)


def test_the_figure_is_drawn_by_the_script_that_ships() -> None:
    room = cover.BOOK.parent / "aebook" / "live"
    for name in ("live.js", "live.css"):
        assert (room / name).read_text("utf8") in cover.drawn(), "run `make refresh`"


@pytest.mark.parametrize("name", cover.PARTS)
def test_pictures_are_those_of_their_chapters(name) -> None:
    stored = np.asarray(Image.open(cover.COVER / f"{name}.png"))
    np.testing.assert_array_equal(stored, cover.picture(name), "run `python tools/cover.py`")
    assert PAGE.count(f"cover/{name}.png") == 1
    # and the chapter is linked beside it
    around = PAGE[PAGE.index(f"cover/{name}.png") - 200 :][:700]
    assert cover.PARTS[name][0] in around


def test_a_picture_whose_figure_has_changed_its_size_is_refused(monkeypatch) -> None:
    chapter, label, _, boxes = cover.PARTS["map"]
    monkeypatch.setitem(cover.PARTS, "map", (chapter, label, (10, 10), boxes))
    with pytest.raises(ValueError, match="choose them again"):
        cover.picture("map")


def test_what_others_show_of_a_link_has_the_size_that_they_ask_for() -> None:
    with Image.open(cover.SOCIAL) as stored:
        assert stored.size == cover.social().size == (1200, 630)


def test_the_four_lines_run(tmp_path, monkeypatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    imports, lines = code.split("\n\n")
    assert imports == "import aebook"
    assert len(lines.splitlines()) == 4
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    images, labels = aebook.datasets.mnist()
    monkeypatch.setattr(aebook.datasets, "mnist", lambda: (images[:256], labels[:256]))
    torch.manual_seed(0)
    exec(code, {})
    assert "aebook-live" in (tmp_path / "draw.html").read_text("utf8")
