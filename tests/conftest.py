"""One thread, no window, the same examples at every run, and tests with short and fixed names."""

import importlib.util
import re

import matplotlib
import pytest
import torch
from hypothesis import settings

matplotlib.use("Agg")
torch.set_num_threads(1)

settings.register_profile("aebook", derandomize=True, deadline=None, database=None, max_examples=25)
settings.load_profile("aebook")

# what a test may need beside `aebook[test]`, and the extra that brings it
EXTRAS = {
    "bm3d": "bm3d",
    "constriction": "compression",
    "faiss": "scale",
    "fcd": "chem",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
    "pywt": "restoration",
    "rdkit": "chem",
    "sacrebleu": "translation",
    "selfies": "chem",
    "skimage": "restoration",
    "tokenizers": "translation",
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    # a test that draws gets the same numbers alone and in company
    torch.manual_seed(0)


@pytest.fixture
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `fit` find no GPU, for tests about bits."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*modules): skip where one of them is not installed")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            if importlib.util.find_spec(name) is None:
                pytest.skip(f"needs {name}, which aebook[{EXTRAS[name]}] brings")


# The processes of pytest-xdist collect by themselves and must find the same tests, so a name holds
# nothing that changes; and it is read in one line.


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Number bytes, lambdas and long texts, as pytest does with other objects."""
    if isinstance(val, bytes) or getattr(val, "__name__", "") == "<lambda>":
        return argname
    # a dotted name is short enough as it is
    if isinstance(val, str) and not re.fullmatch(r"[ -~]{,40}|[\w.]{,90}", val, re.ASCII):
        return argname
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # pytest writes what is not printable as \x00 or \u0000
    odd = re.compile(r"\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|0x[0-9a-f]{6}|[^ -~]")
    for item in items:
        name = item.name.partition("[")[2].removesuffix("]")
        if len(name) > 100 or odd.search(name):
            raise pytest.UsageError(
                f"{item.nodeid}: a test's name has at most 100 characters, of printable ASCII, and "
                "no address of an object: give ids= to parametrize"
            )
