import ast
import importlib
import importlib.metadata
import inspect
import itertools
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
import typing
from pathlib import Path

import pytest
import torch
from sklearn.base import TransformerMixin

import aebook

ROOT = Path(__file__).resolve().parents[1]
MODULES = [
    importlib.import_module(info.name)
    for info in pkgutil.walk_packages(aebook.__path__, prefix="aebook.")
]
OBJECTS = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in (aebook, *MODULES)
    for name in module.__all__
    if inspect.isfunction(getattr(module, name)) or inspect.isclass(getattr(module, name))
}
METHODS = {
    f"{name}.{attribute}": value
    for name, cls in OBJECTS.items()
    if inspect.isclass(cls)
    for attribute, value in vars(cls).items()
    if inspect.isfunction(value) and not attribute.startswith("_")
}


def is_offered(name):
    """Whether attributes of `aebook` lead to it; the rest is for those who read on."""
    _, *middle, _ = name.split(".")
    package = aebook
    for part in middle:
        if part not in package.__all__:
            return False
        package = getattr(package, part)
    return True


OFFERED = {name: value for name, value in OBJECTS.items() if is_offered(name)}


def takes(function):
    if torch.nn.Module.__init__ in (function, getattr(function, "__init__", None)):
        return []  # a module without arguments of its own
    return [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.name not in ("self", "cls")
    ]


def documented(text, section):
    """Names in a section of a NumPy docstring."""
    match = re.search(rf"^{section}\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", text, re.M | re.S)
    if not match:
        return set()
    names = re.findall(r"^(\S[^\n]*)$", match[1], re.M)
    return {name.lstrip("*") for line in names for name in line.split(", ")}


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_every_module_opens_with_a_docstring_and_lists_its_names(module):
    assert inspect.getdoc(module)
    assert module.__all__ == sorted(module.__all__)
    for name in module.__all__:
        assert hasattr(module, name)


def test_all_of_the_package_is_there_and_sorted():
    assert aebook.__all__ == sorted(aebook.__all__)
    assert all(hasattr(aebook, name) for name in aebook.__all__)


@pytest.mark.parametrize("name", [*OBJECTS, *METHODS])
def test_everything_public_is_documented_and_typed(name):
    thing = {**OBJECTS, **METHODS}[name]
    assert inspect.getdoc(thing)
    # a class without annotations of its own is typed where it is made
    function = thing.__init__ if inspect.isclass(thing) else thing
    if function is torch.nn.Module.__init__:
        return
    if function is object.__init__ or not inspect.isfunction(function):
        # a mixin has no fields
        fieldless = Exception, TransformerMixin
        assert typing.get_type_hints(thing) or issubclass(thing, fieldless)
        return
    hints = typing.get_type_hints(function)
    assert set(takes(function)) <= hints.keys()
    assert "return" in hints


def is_record(thing):
    """Whether it is a named tuple or dataclass, whose fields are documented one by one."""
    return inspect.isclass(thing) and (
        issubclass(thing, tuple) or hasattr(thing, "__dataclass_fields__")
    )


@pytest.mark.parametrize(
    "name", [n for n, v in OFFERED.items() if len(takes(v)) > 1 and not is_record(v)]
)
def test_parameters_have_a_section_that_names_each(name):
    thing = OFFERED[name]
    assert set(takes(thing)) <= documented(inspect.getdoc(thing), "Parameters")


#: What is offered without an example, and why.
WITHOUT_EXAMPLE = {
    "aebook.core.check_objective": "returns nothing",
    "aebook.core.check_term": "returns nothing",
    "aebook.core.check_weighable": "returns nothing",
    "aebook.data.check_alone": "returns nothing",
    "aebook.datasets.online_news": "its data do not ship",
}


@pytest.mark.parametrize(
    "name", [n for n, v in OFFERED.items() if n not in WITHOUT_EXAMPLE and not is_record(v)]
)
def test_everything_offered_ends_with_examples(name):
    # tests/test_examples.py runs them
    section = inspect.cleandoc(OFFERED[name].__doc__).rpartition("\nExamples\n--------\n")[2]
    assert section.startswith(">>> ")
    assert "\n---" not in section


def test_what_has_no_example_is_offered():
    assert OFFERED.keys() >= WITHOUT_EXAMPLE.keys()


def attributes(module):
    """What is said of each attribute and property, where it says it."""
    tree = ast.parse(inspect.getsource(module))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for one, after in itertools.pairwise(body if isinstance(body, list) else []):
            match one, after:
                case ast.Assign() | ast.AnnAssign(), ast.Expr(value=ast.Constant(value=str(text))):
                    yield after.lineno, text
        for decorator in getattr(node, "decorator_list", []):
            if "property" in ast.unparse(decorator):
                yield node.lineno, ast.get_docstring(node) or ""


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_what_is_said_of_an_attribute_is_not_taken_for_its_type(module):
    # the pages take what stands before a colon in the first line for a type
    torn = [
        (line, first)
        for line, text in attributes(module)
        if ":" in re.sub(r":[\w:]+:`[^`]*`|`[^`]*`", "", first := text.strip().partition("\n")[0])
    ]
    assert torn == []


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_what_is_indented_in_a_docstring_is_code(module):
    # else it is a quotation, in which two hyphens become a dash
    paragraphs = inspect.cleandoc(module.__doc__).split("\n\n")
    assert not [
        after
        for before, after in itertools.pairwise(paragraphs)
        if after.startswith("    ") and not before.endswith("::")
    ]


def test_the_package_is_typed():
    assert (importlib.resources.files("aebook") / "py.typed").is_file()


def test_the_version_is_that_of_the_installed_package():
    assert aebook.__version__ == importlib.metadata.version("aebook")


def test_the_example_of_the_package_runs_as_written():
    statements = re.findall(r"^>>> (.*)$", aebook.__doc__, re.M)
    assert len(statements) >= 4
    given = {}
    for statement in statements:
        exec(statement.replace("epochs=10", "epochs=1"), given)
    assert given["codes"].shape == (len(given["images"]), 32)
    assert torch.isfinite(given["codes"]).all()
    assert len(given["history"]) == 1


def test_the_licence_names_those_of_all_data_and_brings_texts_alone():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]
    readme = (ROOT / "aebook" / "datasets" / "README.md").read_text("utf8")
    named = {
        "Apache License 2.0": "Apache-2.0",
        "Artistic License 2.0": "Artistic-2.0",
        "Creative Commons Attribution 4.0": "CC-BY-4.0",
        "Creative Commons Attribution-ShareAlike 3.0": "CC-BY-SA-3.0",
        "MIT": "MIT",
        "Mozilla Public License 2.0": "MPL-2.0",
        "Open Data Commons Attribution License 1.0": "ODC-By-1.0",
        "WordNet's": "LicenseRef-WordNet",
    }
    lines = re.findall(r"^- \*\*Licence:\*\* (.*)$", readme, re.M)
    assert len(lines) >= 9
    used = {"BSD-3-Clause"}
    for line in lines:
        (licence,) = {spdx for name, spdx in named.items() if name in line.partition(". ")[0]}
        used.add(licence)
    assert set(project["license"].split(" AND ")) == used
    # a pattern would take the data with it, and the wheel hold them twice
    for name in project["license-files"]:
        assert (ROOT / name).is_file()
        assert (ROOT / name).suffix in ("", ".md")


LOADED = """
import sys, torch
alone = set(sys.modules)
import aebook
assert not {m for m in sys.modules if m.startswith("aebook.")}, "a room before it is asked for"
aebook.Objective, aebook.variants, aebook.fit, aebook.save, aebook.load
new = set(sys.modules) - alone
print(len(new) / len(alone), *sorted({m.partition(".")[0] for m in new} - {"aebook"}))
print("torch._dynamo" in sys.modules)
"""


def test_what_most_programs_need_is_loaded_quickly():
    # modules and not seconds, which hang on the machine: they go hand in hand
    done = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    )
    (share, *packages), (compiler,) = (line.split() for line in done.stdout.splitlines())
    assert float(share) < 0.3
    assert compiler == "False"
    assert not {"sklearn", "matplotlib", "pandas", "skimage", "tqdm"} & set(packages)


SCRIPT = """
import sys
before = sys.stderr
import aebook, torch
wanted = "sphinx skimage jupyter_book nbval nbclient pytest hypothesis IPython ipykernel"
wanted += " faiss umap numba pyod onnx onnxruntime onnxscript constriction pywt bm3d"
wanted += " rdkit selfies fcd tokenizers sacrebleu"
print(sorted(set(wanted.split()) & set(sys.modules)))
# where the environment says so, not even a bar that was asked for is shown
aebook.fit(aebook.variants.plain((4, 2)), torch.rand(8, 4), epochs=2, progress=True)
"""


def test_importing_the_package_brings_no_tools_of_the_book_and_no_noise():
    done = subprocess.run(
        # deprecations are those of other packages' own code
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", SCRIPT],
        capture_output=True,
        text=True,
        env={**os.environ, "TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == "[]\n"
