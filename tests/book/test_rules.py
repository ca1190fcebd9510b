"""The rules that every chapter keeps; CONTRIBUTING.md says how to keep them."""

import ast
import json
import re
from collections import Counter
from pathlib import Path

import nbformat
import pytest
import yaml
from trained import TAG, trained_cells

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted(
    path for path in (ROOT / "book").rglob("[!.]*.ipynb") if ".ipynb_checkpoints" not in path.parts
)
IDS = [path.relative_to(ROOT / "book").as_posix() for path in NOTEBOOKS]

WIDTH = 78
SECTIONS = ["Checks", "Your own data", "Exercises", "Summary", "Further reading"]
IMAGES = {"image/png", "image/jpeg", "image/svg+xml"}
NETWORK = re.compile(
    r"https?://|^\s*[!%](pip|conda|wget|curl)\b|\b(wget|curl)\s"
    r"|\b(urllib|requests|httpx|aiohttp|ftplib|socket|pooch)\b|full=True|download=True",
    re.MULTILINE,
)
# Progress bars, object addresses, absolute paths, times of execution: never the same twice.
VOLATILE = re.compile(
    r"\d%\||it/s|s/it|\bat 0x[0-9a-f]{6,}|object at 0x"
    r"|(?<![\w/:.])/(home|root|usr|tmp|content|Users|private|var|opt|mnt)/"
    rf"|{re.escape(str(ROOT))}|[A-Z]:\\\\|Wall time:|CPU times:|\bloops? each\b"
)
NOTEBOOK_METADATA = {"kernelspec", "language_info"}
CELL_METADATA = {"mystnb", "tags"}
TAGS = {"hide-input", "hide-output", "hide-cell", "scroll-output", "raises-exception", "trained"}
# A result that is a truth value alone: it does not say by how much.
TRUTH = re.compile(r"\b(True|False)\b")
# What the parts of the equation are called, and who has them.
MADE = {"objective", "model", "encoder", "decoder", "bottleneck", "corruption", "distance"}

pytestmark = pytest.mark.skipif(not NOTEBOOKS, reason="there are no notebooks in book/")


@pytest.fixture(params=NOTEBOOKS, ids=IDS)
def notebook(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    """Number and cell of each code cell, counted as nbval and Jupyter count."""
    cells = (cell for cell in notebook.cells if cell.cell_type == "code")
    return list(enumerate(cells, start=1))


def tree(cell) -> ast.Module:
    """A code cell as Python, without the installation in the first."""
    return ast.parse(re.sub(r"(?m)^(\s*)%pip .*$", r"\1pass", cell.source))


def text_of(notebook) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def strings(output):
    """Everything textual in an output."""
    if output.output_type == "stream":
        yield output.text
    for kind, data in output.get("data", {}).items():
        if not kind.startswith("image/") or kind == "image/svg+xml":
            yield data if isinstance(data, str) else json.dumps(data)


def headings(notebook) -> list[tuple[int, str]]:
    found = []
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        outside = re.sub(r"^(`{3,}|~{3,}).*?^\1", "", cell.source, flags=re.MULTILINE | re.DOTALL)
        found += [
            (len(marks), title.strip())
            for marks, title in re.findall(r"^(#{1,6}) +(.+)$", outside, flags=re.MULTILINE)
        ]
    return found


def test_notebook_is_valid(notebook) -> None:
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert all(cell.source.strip() for cell in notebook.cells), "there is an empty cell"


def test_every_code_cell_has_run_in_order(notebook) -> None:
    # without a count nbval does not compare the cell at all
    assert [cell.execution_count for _, cell in code_cells(notebook)] == [
        number for number, _ in code_cells(notebook)
    ]


def test_no_output_is_an_error_or_a_warning(notebook) -> None:
    bad = [
        f"cell {number}: {output.get('ename', output.get('name'))}"
        for number, cell in code_cells(notebook)
        for output in cell.outputs
        if (
            output.output_type == "error"
            and "raises-exception" not in cell.metadata.get("tags", [])
        )
        or output.get("name") == "stderr"
    ]
    assert not bad


def test_every_figure_has_alt_text_and_a_caption(notebook) -> None:
    bad = []
    for number, cell in code_cells(notebook):
        images = sum(bool(IMAGES & set(output.get("data", {}))) for output in cell.outputs)
        mystnb = cell.metadata.get("mystnb", {})
        alt = mystnb.get("image", {}).get("alt", "")
        caption = mystnb.get("figure", {}).get("caption", "")
        name = mystnb.get("figure", {}).get("name", "")
        if images == 0:
            if mystnb.get("figure") or mystnb.get("image"):
                bad.append(f"cell {number}: describes a figure and has none")
            continue
        if images > 1:
            bad.append(f"cell {number}: {images} figures, but a cell describes one")
        if len(alt.split()) < 4:
            bad.append(f"cell {number}: mystnb.image.alt should say what the figure shows: {alt!r}")
        if len(caption.split()) < 3:
            bad.append(f"cell {number}: mystnb.figure.caption is missing or short: {caption!r}")
        if not re.fullmatch(r"fig-[a-z0-9-]+", name):
            bad.append(f"cell {number}: mystnb.figure.name should be fig-...: {name!r}")
    assert not bad, "\n".join(["", *bad])


def test_images_in_text_have_alt_text(notebook) -> None:
    text = text_of(notebook)
    assert not re.findall(r"!\[\s*\]\(.*?\)", text)
    directives = re.findall(r"^`{3,}\{(?:figure|image)\}.*?^`{3,}", text, re.MULTILINE | re.DOTALL)
    assert all(":alt:" in directive for directive in directives)


def test_code_fits_a_phone_turned_sideways(notebook) -> None:
    long = [
        f"cell {number}, line {row}: {len(line)} characters"
        for number, cell in code_cells(notebook)
        for row, line in enumerate(cell.source.splitlines(), start=1)
        if len(line) > WIDTH
    ]
    assert not long, "\n".join(["", *long])


def test_outputs_are_the_same_everywhere(notebook) -> None:
    bad = [
        f"cell {number}: {found.group()!r} in {found.string[: found.end() + 40][-120:]!r}"
        for number, cell in code_cells(notebook)
        for output in cell.outputs
        for text in strings(output)
        for found in VOLATILE.finditer(text)
    ]
    assert not bad, "\n".join(["", *bad])
    assert not [
        number
        for number, cell in code_cells(notebook)
        for output in cell.outputs
        if "application/vnd.jupyter.widget-view+json" in output.get("data", {})
    ], "widgets are stored nowhere: they cannot be shown offline"


def test_every_output_is_compared(notebook) -> None:
    # nbval would take these as leave not to look
    skipped = re.compile(r"#\s*(NBVAL_|PYTEST_VALIDATE_)")
    assert not [number for number, cell in code_cells(notebook) if skipped.search(cell.source)]
    tags = {tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])}
    assert tags <= TAGS, f"unknown tags: {tags - TAGS}"


def test_cells_that_show_what_was_trained_say_so(notebook) -> None:
    # the numbers of all others are compared to the digit
    numbers = {id(cell): number for number, cell in code_cells(notebook)}
    silent = [
        numbers[id(notebook.cells[index])]
        for index in trained_cells(notebook)
        if TAG not in notebook.cells[index].metadata.get("tags", [])
    ]
    assert not silent, f"run `make refresh` on this chapter, or tag these cells {TAG!r}: {silent}"


# Cells tagged by hand. Reading does not see what another process or a loop of the chapter trains,
# what its functions fill, and noise that is drawn for something exact.
BY_HAND = {
    "applications/anomaly-likelihood": 1,
    "applications/documents": 2,
    "applications/pca": 1,
    "applications/super-resolution": 1,
    "foundations/history": 1,
    "foundations/training": 3,
    "practice/beyond-one-machine": 6,
    "variations/concrete": 1,
}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=IDS)
def test_no_other_cell_says_so(path) -> None:
    notebook = nbformat.read(path, as_version=4)
    cells = enumerate(notebook.cells)
    tagged = {index for index, cell in cells if TAG in cell.metadata.get("tags", [])}
    name = path.relative_to(ROOT / "book").with_suffix("").as_posix()
    assert len(tagged - trained_cells(notebook)) == BY_HAND.get(name, 0)


def test_every_check_shows_its_number_beside_its_bound(notebook) -> None:
    bad = []
    for number, cell in code_cells(notebook):
        if any(isinstance(node, ast.Assert) for node in ast.walk(tree(cell))) or re.search(
            r"\bassert_(close|equal|allclose)\b", cell.source
        ):
            bad.append(f"cell {number}: asserts in silence; use `verify`, which prints the number")
        found = TRUTH.findall("\n".join(text for o in cell.outputs for text in strings(o)))
        if found:
            bad.append(f"cell {number}: prints {found[0]}; print the number that was measured")
    assert not bad, "\n".join(["", *bad])


def test_nothing_is_rounded_before_it_is_checked(notebook) -> None:
    # what to print is another thing: verify(..., digits=1)
    bad = [
        f"{number}: {ast.unparse(call)}"
        for number, cell in code_cells(notebook)
        for check in ast.walk(tree(cell))
        if isinstance(check, ast.Call) and getattr(check.func, "id", "") == "verify"
        for call in ast.walk(check.args[1])
        if isinstance(call, ast.Call)
        and getattr(call.func, "attr", getattr(call.func, "id", "")) in ("round", "rint")
    ]
    assert not bad, f"check the number itself, and say digits= to print fewer: {bad}"


def test_what_was_made_is_not_changed() -> None:
    # a setting is an argument of what makes a model; weights alone are set afterwards
    sources = {
        path.name: ast.parse(path.read_text("utf8")) for path in (ROOT / "tools").rglob("*.py")
    }
    for name, path in zip(IDS, NOTEBOOKS, strict=True):
        cells = code_cells(nbformat.read(path, as_version=4))
        sources |= {f"{name}, cell {number}": tree(cell) for number, cell in cells}
    bad = {
        f"{place}: {ast.unparse(node)}"
        for place, source in sources.items()
        for node in ast.walk(source)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        if node.attr != "weight" and MADE & set(re.findall(r"\w+", ast.unparse(node)))
        if getattr(node.value, "id", "") != "self"
    }
    assert not bad


def test_every_seed_can_be_shifted(notebook) -> None:
    # generators that tools/shift_seeds.py does not reach
    found = [
        (number, name)
        for number, cell in code_cells(notebook)
        for name in re.findall(
            r"SeedSequence|PCG64|MT19937|Philox|SFC64|default_generator", cell.source
        )
    ]
    assert not found, f"use default_rng, torch.manual_seed or torch.Generator: {found}"


def test_metadata_do_not_change_by_themselves(notebook) -> None:
    assert set(notebook.metadata) <= NOTEBOOK_METADATA
    assert set(notebook.metadata.get("language_info", {})) <= {"name", "file_extension"}
    for cell in notebook.cells:
        assert set(cell.metadata) <= CELL_METADATA, "run `make refresh` on this chapter"
        for output in cell.get("outputs", []):
            assert not output.get("metadata"), "run `make refresh` on this chapter"


def test_first_code_cell_works_on_colab_and_no_other_needs_a_network(notebook) -> None:
    (_, first), *others = code_cells(notebook)
    assert re.search(r"^try:\s+import aebook$", first.source, re.MULTILINE)
    assert re.search(
        r"^except ModuleNotFoundError:.*\n\s+%pip install ", first.source, re.MULTILINE
    )
    assert NETWORK.findall(first.source.partition("%pip")[0]) == []
    found = {
        number: match.group()
        for number, cell in others
        if (match := NETWORK.search(cell.source)) is not None
    }
    assert not found


def test_code_is_plain_python(notebook) -> None:
    # no shell, no magics, apart from the installation in the first cell
    for _, cell in code_cells(notebook):
        tree(cell)


def test_an_open_cell_is_an_idea_and_short(notebook) -> None:
    # what imports, draws or is long is one click away: the tag hide-input
    for number, cell in code_cells(notebook):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        if "hide-input" in cell.metadata.get("tags", []):
            continue
        imports = sum(bool(re.match(r"\s*(import|from)\s", line)) for line in lines)
        assert imports < max(2, 0.3 * len(lines)), f"fold cell {number}: it imports"
        trains = re.search(r"\bfit\(|\blayerwise\(|\bpretrain\(|\.backward\(", cell.source)
        assert trains or "plt.show()" not in cell.source, f"fold cell {number}: it draws"
        assert len(cell.source.splitlines()) <= 25, f"fold or divide cell {number}: it is long"


def test_chapter_has_its_parts_in_order(notebook) -> None:
    found = headings(notebook)
    assert [title for level, title in found if level == 1] == [found[0][1]], "one title, at the top"
    opening = "\n".join(cell.source for cell in notebook.cells[:3])
    assert re.search(r"what you will learn", opening, re.IGNORECASE)
    assert "{cite" in opening, "the opening cites the claim that the chapter is about"
    parts = [title for level, title in found if level == 2 and title in SECTIONS]
    assert parts == SECTIONS


def test_chapter_shows_a_figure_checks_something_and_numbers_its_equations(notebook) -> None:
    cells = [cell for _, cell in code_cells(notebook)]
    assert any(re.search(r"^\s*verify\(", cell.source, re.MULTILINE) for cell in cells)
    assert any(IMAGES & set(o.get("data", {})) for cell in cells for o in cell.outputs)
    assert re.search(r"^\$\$ \([\w-]+\)$", text_of(notebook), re.MULTILINE)


def test_every_exercise_has_a_solution(notebook) -> None:
    text = text_of(notebook)
    opened = re.compile(
        r"^(`{3,}|:{3,})\{(exercise|exercise-start|solution|solution-start)\}(.*?)^\1\s*$",
        re.MULTILINE | re.DOTALL,
    )
    exercises, solutions = [], []
    for _, kind, body in opened.findall(text):
        label = re.search(r"^:label: *(\S+)$", body, re.MULTILINE)
        assert label, f"a {kind} without a label:{body[:60]}"
        if kind.startswith("exercise"):
            exercises.append(label.group(1))
        else:
            solutions.append(body.split()[0])
            assert re.search(r"^:class:.*\bdropdown\b", body, re.MULTILINE), (
                f"{label.group(1)} is open"
            )
    assert len(exercises) >= 2
    assert sorted(exercises) == sorted(solutions)
    for kind in ("exercise", "solution"):
        assert text.count(f"{{{kind}-start}}") == text.count(f"{{{kind}-end}}")


def test_labels_are_unique_in_the_book() -> None:
    labels: Counter[str] = Counter()
    for path in [*NOTEBOOKS, *(ROOT / "book").rglob("*.md")]:
        if path.suffix == ".ipynb":
            notebook = nbformat.read(path, as_version=4)
            text = text_of(notebook)
            labels.update(
                cell.metadata["mystnb"]["figure"]["name"]
                for cell in notebook.cells
                if cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
            )
        else:
            text = path.read_text(encoding="utf8")
        labels.update(re.findall(r"^\$\$ \(([\w-]+)\)$", text, re.MULTILINE))
        labels.update(re.findall(r"^:label: *(\S+)$", text, re.MULTILINE))
    assert [label for label, count in labels.items() if count > 1] == []


def test_every_chapter_is_in_the_table_of_contents() -> None:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf8"))

    def files(node) -> set[str]:
        if isinstance(node, list):
            return set().union(*map(files, node))
        if not isinstance(node, dict):
            return set()
        own = {node[key] for key in ("file", "root") if key in node}
        return own.union(*map(files, node.values()))

    listed = files(toc)
    written = {path.relative_to(ROOT).with_suffix("").as_posix() for path in NOTEBOOKS}
    assert written <= listed
    assert all(
        (ROOT / f"{name}.ipynb").is_file() or (ROOT / f"{name}.md").is_file() for name in listed
    )


def test_citations_are_in_the_bibliography() -> None:
    keys = re.findall(
        r"^@\w+\{(\w+),", (ROOT / "book/references.bib").read_text("utf8"), re.MULTILINE
    )
    assert len(keys) == len(set(keys))
    cited = {
        key.strip()
        for path in NOTEBOOKS
        for group in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", path.read_text(encoding="utf8"))
        for key in group.split(",")
    }
    assert cited <= set(keys)
