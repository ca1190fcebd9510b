"""The examples of docstrings run as they are written, on small data for what they take as given."""

import doctest
import importlib
import pkgutil
import warnings

import numpy as np
import pytest
import torch

import aebook
from aebook.applications import images, molecules


def digits(n=64):
    return aebook.datasets.mnist()[0][:n]


def colour(n=4, side=48):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0))


def photograph(side=40):
    return np.random.default_rng(0).random((side, side))


def smiles(n=60):
    return aebook.datasets.molecules()[:n]


def written(n=60):
    """A model of molecules that knows nothing yet."""
    alphabet = molecules.Alphabet.of(smiles(n))
    length = alphabet.encode(smiles(n)).shape[1]
    model = molecules.variational(len(alphabet), 8, length).model.eval()
    return {"alphabet": alphabet, "model": model, "p": 8, "molecules": molecules}


def saved(tmp_path):
    return {"objective": aebook.variants.plain((784, 8)), "model": None, "images": digits()}


def folder(tmp_path):
    from PIL import Image

    (tmp_path / "photographs").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (70, 80, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photographs" / f"{number}.png")
    flat = torch.nn.Flatten(), torch.nn.Linear(3 * 64 * 64, 4)
    back = torch.nn.Linear(4, 3 * 64 * 64), torch.nn.Unflatten(1, (3, 64, 64))
    networks = torch.nn.Sequential(*flat), torch.nn.Sequential(*back)
    return {"objective": aebook.variants.plain(networks)}


GIVEN = {
    "aebook.inference": lambda _: {"images": digits()},
    "aebook.applications.compression.bits_back": lambda _: {
        **vars(aebook.applications.compression.bits_back),
        "objective": aebook.variants.variational((784, 8, 2)),
        "images": (digits(4) > 0.5).float(),
    },
    "aebook.applications.compression.compressors": lambda _: {
        "bitstream": aebook.applications.compression.bitstream,
        "compressors": aebook.applications.compression.compressors,
        "image": np.zeros((20, 30, 3), np.uint8),
    },
    "aebook.applications.compression.transform": lambda _: {
        "x": colour(8),
        "image": np.zeros((20, 30, 3), np.uint8),
        "bitstream": aebook.applications.compression.bitstream,
    },
    "aebook.applications.detection": lambda _: {
        "photograph": photograph(120),
        "score": lambda windows: windows.mean((1, 2)),
    },
    "aebook.applications.images.restoration": lambda _: {
        "patches": torch.rand(32, 1, 16, 16),
        "photograph": photograph(),
    },
    "aebook.applications.images.superresolution": lambda _: {
        "images": torch.rand(32, 1, 16, 16),
        "new": images.downsample(torch.rand(2, 1, 16, 16)),
    },
    "aebook.applications.molecules.code_search": lambda _: {
        "alphabet": molecules.Alphabet.of(smiles(None)),
        "model": aebook.applications.pretrained.load("molecules"),
        "p": 64,
        "properties": molecules.measures.properties,
    },
    "aebook.applications.molecules.measures": lambda _: {
        **written(),
        "train": smiles(),
        "test": smiles()[:20],
    },
    "aebook.applications.molecules.model": lambda _: {"smiles": smiles()},
    "aebook.applications.molecules.ngram": lambda _: {**written(), "train": smiles()},
    "aebook.applications.popularity": lambda _: {
        "times": np.arange(1000),
        "x": np.random.default_rng(0).random((1000, 12)),
        "y": np.random.default_rng(1).random(1000),
        **{
            name: getattr(importlib.import_module(module), name)
            for module, name in (("sklearn.linear_model", "Ridge"), ("sklearn.metrics", "r2_score"))
        },
    },
    "aebook.applications.retrieval.hashers": lambda _: {
        "images": digits(),
        "queries": digits(5),
    },
    "aebook.applications.translation.lexicon": lambda _: pairs(),
    "aebook.applications.translation.model": lambda _: pairs(),
    "aebook.applications.translation.transformer": lambda _: pairs(),
    "aebook.applications.words.vectors": lambda _: {"texts": aebook.datasets.glosses().texts},
    "aebook.concrete": lambda _: {"x": digits()},
    "aebook.datasets.folder.ImageFolder": folder,
    "aebook.storage.models": saved,
    "aebook.training.temperature": lambda _: {"x": digits()},
}
NEEDS = {
    "aebook.applications.compression.bits_back": "constriction",
    "aebook.applications.compression.bits_back.decode": "constriction",
    "aebook.applications.compression.bits_back.encode": "constriction",
    "aebook.applications.compression.bitstream.Codec": "constriction",
    "aebook.applications.compression.compressors": "constriction",
    "aebook.applications.compression.transform": "constriction",
    "aebook.applications.images.filters.bm3d": "bm3d",
    "aebook.applications.images.filters.non_local_means": "skimage",
    "aebook.applications.images.filters.total_variation": "skimage",
    "aebook.applications.images.filters.wavelet": "pywt",
    "aebook.applications.images.restoration.ssim": "skimage",
    "aebook.applications.molecules.code_search": "rdkit",
    "aebook.applications.molecules.measures": "fcd",
    "aebook.applications.molecules.measures.activations": "fcd",
    "aebook.applications.molecules.measures.canonical": "rdkit",
    "aebook.applications.molecules.measures.distances": "rdkit",
    "aebook.applications.molecules.measures.diversity": "rdkit",
    "aebook.applications.molecules.measures.draw": "rdkit",
    "aebook.applications.molecules.measures.fingerprints": "rdkit",
    "aebook.applications.molecules.measures.fragments": "rdkit",
    "aebook.applications.molecules.measures.nearest": "rdkit",
    "aebook.applications.molecules.measures.passes": "rdkit",
    "aebook.applications.molecules.measures.properties": "rdkit",
    "aebook.applications.molecules.measures.scaffolds": "rdkit",
    "aebook.applications.molecules.measures.score": "rdkit",
    "aebook.applications.molecules.model.from_selfies": "selfies",
    "aebook.applications.molecules.model.to_selfies": "selfies",
    "aebook.applications.retrieval.faiss.FaissIndex": "faiss",
    "aebook.applications.retrieval.hashers": "faiss",
    "aebook.applications.translation.hanzi.share_parts": "tokenizers",
    "aebook.applications.translation.model": "tokenizers",
    "aebook.applications.translation.model.Translator": "tokenizers",
    "aebook.applications.translation.model.Vocabulary": "tokenizers",
    "aebook.applications.translation.model.scores": "sacrebleu",
    "aebook.applications.translation.transformer": "tokenizers",
    "aebook.storage.onnx.export": "onnxscript",
}


def pairs(n=60):
    segments = aebook.datasets.segments()
    return {"english": segments.english[:n], "french": segments.french[:n]}


def examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    modules = (info.name for info in pkgutil.walk_packages(aebook.__path__, "aebook."))
    for module in map(importlib.import_module, modules):
        yield from (test for test in finder.find(module, module.__name__) if test.examples)


class Checker(doctest.OutputChecker):
    """What is not shown may be anything."""

    def check_output(self, want, got, optionflags):
        return not want or super().check_output(want, got, optionflags)


@pytest.mark.parametrize("test", [pytest.param(test, id=test.name) for test in examples()])
def test_examples_run(test, tmp_path, monkeypatch):
    if test.name in NEEDS:
        pytest.importorskip(NEEDS[test.name])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    torch.manual_seed(0)
    test.globs |= {"aebook": aebook, "torch": torch, "np": np}
    test.globs |= GIVEN.get(test.name, lambda _: {})(tmp_path)
    runner = doctest.DocTestRunner(Checker(), optionflags=doctest.NORMALIZE_WHITESPACE)
    said = []
    with warnings.catch_warnings():
        # of so few steps on so little nothing good is expected
        warnings.simplefilter("ignore")
        runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)


def test_what_is_given_is_asked_for():
    names = {test.name for test in examples()}
    assert set(GIVEN) <= names
    assert set(NEEDS) <= names
    # every offered function and class has one, which tests/test_public.py asks for
    assert len(names) > 250
