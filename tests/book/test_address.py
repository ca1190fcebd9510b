"""The repository and the site have one address each, which stands in pyproject.toml."""

import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from address import ROOT, addresses, move, texts

# up to what ends an address in Markdown, YAML, JSON and HTML
LINK = re.compile(r"https?://[^\s\"'<>()\[\]\\`,]+")


@pytest.fixture(scope="module")
def files() -> dict[Path, str]:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no repository here")
    return texts()


def test_no_file_has_a_second_address(files) -> None:
    repository, site = addresses()
    named = re.compile(r"aebook(?![\w-])")
    others = {
        f"{path.relative_to(ROOT)}: {link}"
        for path, text in files.items()
        for link in LINK.findall(text)
        if named.search(link) and not re.match(rf"({repository}|{site})(?![\w-])", link)
    }
    # but those in examples of how to change it, and in the test below
    assert {link for link in others if not link.startswith("tests/book/test_address.py")} == {
        "CONTRIBUTING.md: https://github.com/you/aebook",
        "CONTRIBUTING.md: https://you.github.io/aebook",
        "tools/address.py: https://github.com/you/aebook",
        "tools/address.py: https://you.github.io/aebook",
    }


def test_whoever_needs_an_address_has_it(files) -> None:
    repository, site = addresses()
    for name in ("README.md", "CITATION.cff", "_config.yml"):
        assert repository in files[ROOT / name]
        assert site in files[ROOT / name]
    chapters = [path for path in files if path.suffix == ".ipynb" and ROOT / "book" in path.parents]
    assert len(chapters) > 30
    for path in chapters:
        assert re.search(rf"%pip install .*git\+{repository}\b", files[path]), path.name
    config = yaml.safe_load(files[ROOT / "_config.yml"])
    assert config["repository"]["url"] == repository
    assert config["html"]["baseurl"] == config["sphinx"]["config"]["ogp_site_url"] == f"{site}/"


def test_another_address_is_put_everywhere(tmp_path) -> None:
    if shutil.which("git") is None:
        pytest.skip("no git")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    old = addresses()
    for name in ("pyproject.toml", "README.md", "_config.yml", "CITATION.cff", "book/index.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    picture = b"\0" + old[0].encode()
    (tmp_path / "picture.png").write_bytes(picture)
    new = ("https://github.com/aebook/aebook-two", "https://books.example/aebook/")
    before = texts(tmp_path)
    changed = move(new, tmp_path)
    assert len(changed) == len(before) == 5
    assert addresses(tmp_path) == (new[0], new[1].rstrip("/"))
    for path, text in texts(tmp_path).items():
        # and back: nothing else has changed
        again = text.replace(new[0], old[0]).replace(new[1].rstrip("/"), old[1])
        assert again == before[path]
        assert not re.search(rf"{old[0]}(?!-two)|{old[1]}", text)
    assert (tmp_path / "picture.png").read_bytes() == picture
    assert urlsplit(addresses(tmp_path)[1]).path == "/aebook"
