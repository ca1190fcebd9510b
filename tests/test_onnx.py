import sys

import pytest
import torch
from torch import nn

import aebook
from aebook import variants

needs_onnx = pytest.mark.needs("onnx", "onnxscript", "onnxruntime")


def session(path):
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.fixture
def paths(tmp_path):
    return tmp_path / "encoder.onnx", tmp_path / "decoder.onnx"


def with_unit_columns():
    model = variants.k_sparse((6, 9), 2, sparse_decode=True, alpha=1.5).model
    aebook.sparse.unit_columns(model.decoder)
    return model


def concrete():
    model = variants.concrete((6, 5, 3)).model
    with torch.no_grad():
        model.encoder.logits.copy_(torch.randn(3, 6))
    return model


def binary():
    model = variants.binary((6, 5, 3)).model
    model.encoder(2 * torch.randn(50, 6))
    return model


MODELS = {
    "k-sparse, gathered, tied": lambda: (
        variants.k_sparse((6, 5, 9), 4, by="magnitude", sparse_decode=True, tied=True).model
    ),
    "unit columns": with_unit_columns,
    "concrete": concrete,
    "binary": binary,
    "convolutional": lambda: aebook.Autoencoder(
        *aebook.networks.convolutional((2, 7, 5), (3, 4), 3, output=nn.Sigmoid)
    ),
    "float64, tied": lambda: variants.plain((6, 5, 3), tied=True).model.double(),
}


@needs_onnx
@pytest.mark.parametrize("name", MODELS)
def test_onnxruntime_computes_what_the_model_does(name, paths):
    model = MODELS[name]().eval()
    kind = next(model.parameters()).dtype
    before = {key: value.clone() for key, value in model.state_dict().items()}
    aebook.storage.onnx.export(model, torch.rand(4, *model.encoder.shape, dtype=kind), *paths)
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())

    encoder, decoder = map(session, paths)
    # of another size than the batch that was exported, and an empty one, but for the largest units:
    # onnxruntime before 1.31 divides by the number of messages there, which ends the process
    for size in (11, 1) if isinstance(model.bottleneck, aebook.bottlenecks.TopK) else (11, 0):
        x = torch.rand(size, *model.encoder.shape, dtype=kind)
        z = model.encode(x)
        (found,) = encoder.run(["z"], {"x": x.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), z, rtol=0, atol=1e-5)
        (found,) = decoder.run(["x"], {"z": z.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), model.decode(z), rtol=0, atol=1e-5)


@needs_onnx
def test_a_single_message_is_enough_and_training_mode_is_left_alone(paths):
    model = variants.variational((6, 3)).model.train()
    aebook.storage.onnx.export(model, torch.rand(1, 6), *paths)
    assert model.training
    (found,) = session(paths[0]).run(None, {"x": torch.rand(5, 6).numpy()})
    assert found.shape == (5, 3)


class Sorted(nn.Module):
    """An operation that depends on values, as no ONNX graph can."""

    def forward(self, x):
        return x * len(x[x > 0.5].tolist())


@needs_onnx
def test_what_cannot_be_exported_is_refused_and_nothing_is_written(paths, monkeypatch):
    def refused(message, model, x):
        with pytest.raises(ValueError, match=message):
            aebook.storage.onnx.export(model, x, *paths)
        assert not paths[0].exists()

    plain = variants.plain((6, 3)).model
    refused(
        "a network from x to z that cannot be written as ONNX",
        aebook.Autoencoder(Sorted(), nn.Linear(6, 6)),
        torch.rand(3, 6),
    )
    refused(r"got model=Linear.*, expected an Autoencoder", nn.Linear(6, 6), torch.rand(3, 6))
    refused("got types .*bfloat16", plain.bfloat16(), torch.rand(3, 6).bfloat16())
    refused(r"messages of \(0, 6\), expected .* at least one", plain.float(), torch.rand(0, 6))
    # what onnxruntime gives is compared with the model, and not with what was exported
    monkeypatch.setattr("aebook.storage.onnx._unrolled", lambda model: halved(model))
    refused("onnxruntime and PyTorch differ from x to z", plain, torch.rand(3, 6))


def halved(model):
    with torch.no_grad():
        model.encoder[0].map.weight.mul_(0.5)
    return model


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "onnxscript"])
def test_without_the_extra_it_is_named(missing, paths, monkeypatch):
    for name in ("onnx", "onnxruntime", "onnxscript"):
        monkeypatch.setitem(sys.modules, name, type(sys)(name))
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf'needs {missing}, .* pip install "aebook\[onnx\]"'):
        aebook.storage.onnx.export(variants.plain((6, 3)).model, torch.rand(2, 6), *paths)
