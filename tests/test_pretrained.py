"""Tests of aebook.applications.pretrained: every model that ships, and what refuses one."""

from importlib import resources

import pytest
import torch

import aebook
from aebook.applications import pretrained
from aebook.datasets.verified import sha256

WEIGHTS = resources.files("aebook.applications") / "weights"


def test_what_ships_is_what_is_listed():
    files = {path.name for path in WEIGHTS.iterdir() if path.name.endswith(".safetensors")}
    assert files == {f"{name}.safetensors" for name in pretrained.SHIPPED}


@pytest.mark.parametrize("name", pretrained.SHIPPED)
def test_every_file_is_the_one_that_was_made_and_is_described(name):
    data = (WEIGHTS / f"{name}.safetensors").read_bytes()
    assert sha256(data) == pretrained.SHIPPED[name]
    about = (WEIGHTS / "README.md").read_text(encoding="utf8")
    assert f"`{name}.safetensors`" in about
    assert pretrained.SHIPPED[name] in about


def test_every_model_can_be_computed_with():
    for name in pretrained.SHIPPED:
        types = {value.dtype for value in pretrained.load(name).state_dict().values()}
        assert types <= {torch.float32, torch.int64, torch.bool}, name


def test_what_ships_is_small():
    sizes = {name: (WEIGHTS / f"{name}.safetensors").stat().st_size for name in pretrained.SHIPPED}
    assert max(size for name, size in sizes.items() if name != "molecules") < 1e6
    assert sizes["molecules"] < 4e6
    assert sum(sizes.values()) < 6e6


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A package with one model, and the path of its file."""
    model = aebook.variants.plain((4, 2)).model.eval()
    (tmp_path / "weights").mkdir()
    path = tmp_path / "weights" / "small.safetensors"
    aebook.save(model, path)
    monkeypatch.setattr(pretrained, "SHIPPED", {"small": sha256(path.read_bytes())})
    monkeypatch.setattr(pretrained.resources, "files", lambda package: tmp_path)
    return model, path


def test_a_model_comes_back(shipped):
    model, _ = shipped
    x = torch.rand(3, 4)
    again = pretrained.load("small")
    assert not again.training
    assert torch.equal(again(x), model(x))


def test_a_name_that_is_not_there_is_refused(shipped):
    with pytest.raises(ValueError, match="got name='large', expected 'small'"):
        pretrained.load("large")


def test_parts_are_handed_on(shipped):
    with pytest.raises(ValueError, match="got the part 'encoder'"):
        pretrained.load("small", {"encoder": torch.nn.Linear(4, 2)})


def test_a_damaged_or_missing_file_is_refused(shipped):
    _, path = shipped
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(OSError, match=r"damaged.*reinstall"):
        pretrained.load("small")
    path.unlink()
    with pytest.raises(OSError, match=r"cannot read.*reinstall"):
        pretrained.load("small")
