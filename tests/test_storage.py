import copy
import hashlib
import importlib
import inspect
import json
import math
import os
import pickle
import pkgutil
import stat
from functools import partial

import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations

import aebook
from aebook import variants
from aebook.applications.compression import transform
from aebook.applications.translation import transformer
from aebook.storage import architecture
from aebook.storage.architecture import KINDS

X = torch.rand(9, 6, generator=torch.Generator().manual_seed(1))


def with_unit_columns(objective):
    aebook.sparse.unit_columns(objective.model.decoder)
    return objective.model


def unrolled(code_units):
    return aebook.boltzmann.unroll(
        aebook.boltzmann.pretrain((6, 4, 2), X, epochs=1, code_units=code_units)
    )


def convolutional():
    parts = aebook.networks.convolutional((2, 7, 5), (3, 4), 3, output=nn.Sigmoid)
    return aebook.Autoencoder(*parts)


MODELS = {
    "plain": lambda: variants.plain((6, 5, 3)).model,
    "plain, tied": lambda: variants.plain((6, 5, 3), tied=True, code=nn.Tanh).model,
    "linear": lambda: variants.linear((6, 2)).model,
    "linear, tied, without bias": lambda: variants.linear((6, 4, 2), bias=False, tied=True).model,
    "k-sparse": lambda: variants.k_sparse((6, 9), 2, by="magnitude", alpha=1.5).model,
    "k-sparse, gathered": lambda: variants.k_sparse((6, 5, 9), 2, sparse_decode=True).model,
    "k-sparse, gathered, tied": lambda: (
        variants.k_sparse((6, 5, 9), 2, sparse_decode=True, tied=True).model
    ),
    "sparse": lambda: variants.sparse((6, 5, 9), 0.1).model,
    "unit columns": lambda: with_unit_columns(variants.sparse((6, 5, 9), 0.1)),
    "unit columns, gathered": lambda: with_unit_columns(
        variants.k_sparse((6, 9), 2, sparse_decode=True)
    ),
    "concrete": lambda: (
        variants.concrete(
            (6, 5, 3), activation=lambda: nn.Sequential(nn.LeakyReLU(0.2), nn.Dropout(0.1))
        ).model
    ),
    "denoising": lambda: variants.denoising((6, 5, 3), aebook.corruptions.masking(0.3)).model,
    "variational": lambda: variants.variational((6, 5, 3), activation=nn.SiLU).model,
    "contractive": lambda: variants.contractive((6, 3), 0.1).model,
    "binary": lambda: variants.binary((6, 5, 3), kind="bernoulli").model,
    "binary, not centred": lambda: variants.binary((6, 5, 3), sigma=2.5, centred=False).model,
    "convolutional": convolutional,
    "unrolled": lambda: unrolled("gaussian"),
    "unrolled, bits": lambda: unrolled("bernoulli"),
}


def made(name):
    """A model none of whose tensors are what its constructor makes."""
    model = MODELS[name]()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
            if isinstance(module, aebook.concrete.ConcreteSelector):
                module.set_temperature(0.37)
            if isinstance(module, aebook.bottlenecks.TopK):
                module.set_k(3)
    return model.eval()


def messages(model):
    return torch.rand(5, *model.encoder.shape)


def assert_same(one, other, x):
    assert type(one) is type(other)
    for mine, theirs in zip(one.modules(), other.modules(), strict=True):
        # parametrised layers have a class each
        assert type(mine).__name__ == type(theirs).__name__
        assert repr(mine) == repr(theirs)
    ours, theirs = one.state_dict(), other.state_dict()
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        assert value.dtype == theirs[name].dtype
        assert torch.equal(value, theirs[name]), name
    assert torch.equal(one.encode(x), other.encode(x))
    assert torch.equal(one(x), other(x))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_comes_back_to_the_bit(name, tmp_path):
    model, path = made(name), tmp_path / "model.safetensors"
    x = messages(model)
    aebook.save(model, path)
    state = torch.get_rng_state()
    loaded = aebook.load(path)
    assert torch.equal(torch.get_rng_state(), state)
    assert_same(model, loaded, x)
    assert not any(module.training for module in loaded.modules())
    assert all(p.requires_grad and p.is_leaf for p in loaded.parameters())
    # the same model is the same file
    aebook.save(loaded, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    # and in training mode it does the same too
    for either in (model, loaded):
        torch.manual_seed(3)
        either.train()
        either.result = either(x)
    assert torch.equal(model.result, loaded.result)


@pytest.mark.parametrize("name", MODELS)
def test_what_is_loaded_trains_like_what_was_saved(name, tmp_path, on_the_cpu):
    model, path = made(name), tmp_path / "model.safetensors"
    x = messages(model)
    aebook.save(model, path)
    loaded = aebook.load(path)
    for either in (model, loaded):
        aebook.fit(aebook.Objective(either), x, epochs=2, progress=False)
    assert_same(model, loaded, x)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["plain, tied", "binary", "unit columns", "concrete"])
def test_types_are_kept(name, dtype, tmp_path):
    model = made(name).to(dtype)
    aebook.save(model, tmp_path / "model.safetensors")
    loaded = aebook.load(tmp_path / "model.safetensors")
    assert loaded.encode(messages(model).to(dtype)).dtype == dtype
    assert_same(model, loaded, messages(model).to(dtype))


def test_infinite_buffers_and_tensors_that_are_not_contiguous_are_kept(tmp_path):
    model = made("plain")
    model.encoder[0].map.weight.data = torch.randn(6, 5).T
    model.encoder[1] = nn.BatchNorm1d(5)
    model.encoder[1].running_var[0] = float("inf")
    # views of one storage
    base = torch.randn(8)
    model.encoder[0].map.bias.data, model.decoder[0].map.bias.data = base[:5], base[3:]
    aebook.save(model, tmp_path / "model.safetensors")
    found = aebook.load(tmp_path / "model.safetensors").state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(found[name], value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value, tmp_path):
    path, model = tmp_path / "model.safetensors", nn.Linear(2, 3)
    with torch.no_grad():
        model.weight[1, 0] = value
    with pytest.raises(ValueError, match="weight has values that are not finite"):
        aebook.save(model, path)
    forge(path, linear(), {"weight": model.weight.detach(), "bias": torch.zeros(3)})
    with pytest.raises(ValueError, match="weight has values that are not finite"):
        aebook.load(path)


@given(
    widths=st.lists(st.integers(1, 12), min_size=2, max_size=5),
    activation=st.sampled_from([None, nn.ReLU, nn.Sigmoid, partial(nn.ELU, 0.3), nn.PReLU]),
    tied=st.booleans(),
    bias=st.booleans(),
)
def test_all_widths_come_back(tmp_path_factory, widths, activation, tied, bias):
    encoder = aebook.networks.mlp(widths, activation=activation, bias=bias)
    if tied:
        decoder = aebook.networks.tied_decoder(encoder, activation=activation, bias=bias)
    else:
        decoder = aebook.networks.mlp(widths[::-1], activation=activation, bias=bias)
    model = aebook.Autoencoder(encoder, decoder).eval()
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    aebook.save(model, path)
    assert_same(model, aebook.load(path), torch.randn(3, widths[0]))


EXAMPLES = {
    "Linear": nn.Linear(3, 2, bias=False),
    "Bilinear": nn.Bilinear(2, 3, 4, bias=False),
    "Embedding": nn.Embedding(5, 3, padding_idx=1, max_norm=2.5),
    "Conv1d": nn.Conv1d(2, 4, 3, stride=2, padding="valid", groups=2),
    "Conv2d": nn.Conv2d(2, 4, (3, 1), padding="same", dilation=2, padding_mode="circular"),
    "Conv3d": nn.Conv3d(2, 4, (3, 1, 2), padding=(1, 0, 2), bias=False),
    "ConvTranspose1d": nn.ConvTranspose1d(2, 4, 3, stride=2, output_padding=1),
    "ConvTranspose2d": nn.ConvTranspose2d(2, 4, 3, stride=2, padding=1, bias=False),
    "ConvTranspose3d": nn.ConvTranspose3d(2, 4, 3, dilation=2),
    "Sequential": nn.Sequential(nn.Linear(2, 3), nn.Sequential(), nn.ReLU()),
    "Flatten": nn.Flatten(2, -2),
    "Unflatten": nn.Unflatten(1, (2, 3)),
    "Upsample": nn.Upsample(scale_factor=(2, 1.5), mode="bilinear", align_corners=True),
    "PixelShuffle": nn.PixelShuffle(3),
    "PixelUnshuffle": nn.PixelUnshuffle(3),
    **{
        f"{kind}Pool{n}d": getattr(nn, f"{kind}Pool{n}d")(3, 2, 1, ceil_mode=True)
        for kind in ("Max", "Avg")
        for n in (1, 2, 3)
    },
    **{
        f"Adaptive{kind}Pool{n}d": getattr(nn, f"Adaptive{kind}Pool{n}d")(4)
        for kind in ("Max", "Avg")
        for n in (1, 2, 3)
    },
    **{f"BatchNorm{n}d": getattr(nn, f"BatchNorm{n}d")(3, 1e-3, None) for n in (1, 2, 3)},
    **{f"InstanceNorm{n}d": getattr(nn, f"InstanceNorm{n}d")(3, affine=True) for n in (1, 2, 3)},
    "GroupNorm": nn.GroupNorm(2, 6, 1e-3),
    "LayerNorm": nn.LayerNorm((3, 2), 1e-3, bias=False),
    "RMSNorm": nn.RMSNorm((3, 2), 1e-3),
    **{
        name: getattr(nn, name)(0.3)
        for name in ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout")
    },
    "FeatureAlphaDropout": nn.FeatureAlphaDropout(0.3),
    **{name: getattr(nn, name)(0.3) for name in ("CELU", "ELU", "Hardshrink", "LeakyReLU")},
    "GELU": nn.GELU("tanh"),
    "GLU": nn.GLU(1),
    "Hardtanh": nn.Hardtanh(-0.5, float("inf")),
    "PReLU": nn.PReLU(4, 0.1),
    "RReLU": nn.RReLU(0.2, 0.3),
    "ReLU": nn.ReLU(inplace=True),
    "ReLU6": nn.ReLU6(inplace=True),
    **{name: getattr(nn, name)(1) for name in ("Softmax", "LogSoftmax", "Softmin")},
    "Softplus": nn.Softplus(2, 15),
    "Softshrink": nn.Softshrink(0.2),
    "Threshold": nn.Threshold(0.2, 0.7),
    "RNN": nn.RNN(3, 4, nonlinearity="relu", batch_first=True),
    "GRU": nn.GRU(3, 4, num_layers=2, dropout=0.1, bidirectional=True),
    "LSTM": nn.LSTM(3, 4, bias=False, proj_size=2),
    "RNNCell": nn.RNNCell(3, 4, nonlinearity="relu"),
    "GRUCell": nn.GRUCell(3, 4),
    "LSTMCell": nn.LSTMCell(3, 4, bias=False),
}
OURS = {
    "aebook.distances.DiscretisedLogistic": aebook.distances.DiscretisedLogistic(16),
    "aebook.distances.Gaussian": aebook.distances.Gaussian(0.7, "learned"),
    "aebook.boltzmann.rbm.RBM": aebook.boltzmann.RBM(4, 3, visible_units="gaussian"),
    "aebook.concrete.ConcreteSelector": aebook.concrete.ConcreteSelector(5, 2, 3.0),
    "aebook.sparse.SparseLinear": aebook.sparse.SparseLinear(5, 2, bias=False),
    "aebook.networks.Standardised": aebook.networks.Standardised(4),
    "aebook.recurrent.Encoder": aebook.recurrent.Encoder(7, 3, hidden=5, bidirectional=False),
    "aebook.recurrent.Decoder": aebook.recurrent.Decoder(7, 3, 9, attention=True, forget=0.1),
    "aebook.recurrent.LastState": aebook.recurrent.LastState(2, 3),
    "aebook.recurrent.Unrolled": aebook.recurrent.Unrolled(3, 4, 2, 5),
    "aebook.applications.translation.transformer.Encoder": transformer.Encoder(7, 4, layers=1),
    "aebook.applications.translation.transformer.Decoder": transformer.Decoder(7, 4, 9, heads=2),
    "aebook.applications.compression.transform.Analysis": transform.Analysis(0.2, 5, (9, 4)),
    "aebook.applications.compression.transform.Synthesis": transform.Synthesis(0.2, 5, (9, 4)),
    "aebook.applications.compression.transform.Quantiser": transform.Quantiser(4, "noise"),
}
BOTTLENECKS = {
    "aebook.bottlenecks.TopK": aebook.bottlenecks.TopK(3, alpha=1.5),
    "aebook.bottlenecks.Binary": aebook.bottlenecks.Binary("noise", 0.5),
}
STATED = {
    f"{cls.__module__}.{cls.__qualname__}"
    for module in pkgutil.walk_packages(aebook.__path__, "aebook.")
    for cls in vars(importlib.import_module(module.name)).values()
    if inspect.isclass(cls) and issubclass(cls, nn.Module) and hasattr(cls, "arguments")
    if not cls.__name__.startswith("_")
}


@pytest.mark.parametrize("kind", [*KINDS, *OURS])
def test_every_kind_of_layer_comes_back_with_its_arguments(kind, tmp_path):
    name = kind.removeprefix("torch.nn.")
    module = copy.deepcopy(OURS.get(kind) or EXAMPLES.get(name) or KINDS[kind]())
    assert architecture.describe(module)["kind"] == kind
    aebook.save(module, tmp_path / "layer.safetensors")
    loaded = aebook.load(tmp_path / "layer.safetensors")
    assert repr(loaded) == repr(module)
    ours, theirs = module.state_dict(), loaded.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[n], theirs[n]) for n in ours)
    plain = bool | int | float | str | tuple
    for one, other in zip(module.modules(), loaded.modules(), strict=True):
        for attribute, value in vars(one).items():
            if isinstance(value, plain) and attribute != "training":
                assert vars(other)[attribute] == value


# whole numbers that may be negative: dimensions, counted from the last, and what is not counted
SIGNED = {"dim", "start_dim", "end_dim", "beta", "threshold", "lower", "upper"}


DIMENSIONS = {"dim", "start_dim", "end_dim"}
#: Of none of these there can be nothing, and no file has room for what they say.
FROM_ONE = {
    "kernel_size",
    "stride",
    "dilation",
    "output_size",
    "upscale_factor",
    "downscale_factor",
}
FROM_ONE |= {"groups", "num_layers", "in_features", "unflattened_size", "scale_factor"}


@pytest.mark.parametrize("kind", [*KINDS, *OURS, *BOTTLENECKS])
def test_arguments_that_no_constructor_would_give_are_refused(kind):
    name = kind.removeprefix("torch.nn.")
    given = OURS.get(kind) or BOTTLENECKS.get(kind) or EXAMPLES.get(name) or KINDS[kind]()
    node = architecture.describe(given)
    for argument, value in node["arguments"].items():
        wrong = [{"a": 1}, math.nan]
        wrong += [] if isinstance(value, str) else ["x"]
        wrong += [2, -1.5] if isinstance(value, bool) else []
        if type(value) is int and argument not in SIGNED:
            wrong += [-5, 10**12, 1e300]
        if argument in DIMENSIONS:
            wrong += [99, -99]
        if isinstance(value, list) and type(value[0]) is int:
            wrong += [[other, *value[1:]] for other in (-5, 10**12, 1e300)]
        if argument in FROM_ONE:
            wrong += [0, [0, *value[1:]]] if isinstance(value, list) else [0]
        for other in wrong:
            changed = {**node, "arguments": {**node["arguments"], argument: other}}
            with pytest.raises(ValueError, match="makes no sense"):
                architecture.build(changed)


@pytest.mark.parametrize(
    ("kind", "setting", "value"),
    [
        ("aebook.bottlenecks.TopK", "k", torch.tensor(-5)),
        ("aebook.concrete.ConcreteSelector", "temperature", torch.tensor(math.nan)),
        ("aebook.concrete.ConcreteSelector", "temperature", torch.tensor(-1.0)),
        ("aebook.distances.Gaussian", "log_sigma", torch.tensor(math.inf)),
        ("aebook.applications.compression.transform.Analysis", "step", torch.tensor(0.0)),
    ],
)
def test_settings_that_no_constructor_would_give_are_refused(kind, setting, value, tmp_path):
    """What is set lies among the tensors, out of the description's sight."""
    module = {
        **OURS,
        **BOTTLENECKS,
        "aebook.distances.Gaussian": aebook.distances.Gaussian(0.7),
    }[kind]
    path = tmp_path / "forged.safetensors"
    forge(path, architecture.describe(module), {**module.state_dict(), setting: value})
    with pytest.raises(
        ValueError, match=rf"forged\.safetensors cannot be loaded: .*{setting}|makes"
    ):
        aebook.load(path)


def test_all_that_state_their_arguments_are_tried():
    found = {
        node["kind"]
        for name in MODELS
        for node in nodes(architecture.describe(made(name)))
        if "kind" in node
    }
    assert found | OURS.keys() >= STATED
    assert len(STATED) > 15


def nodes(node):
    return [node, *(n for child in node.get("children", {}).values() for n in nodes(child))]


# --- layers that are shared


def test_layers_that_are_shared_are_shared_again(tmp_path):
    slope, square = nn.PReLU(), nn.Linear(3, 3)
    block = nn.Sequential(square, slope)
    encoder = nn.Sequential(nn.Linear(6, 3), slope, block, square, block)
    model = aebook.Autoencoder(encoder, nn.Linear(3, 6)).eval()
    aebook.save(model, tmp_path / "model.safetensors")
    loaded = aebook.load(tmp_path / "model.safetensors")
    assert torch.equal(loaded(X), model(X))
    again = loaded.encoder
    assert again[1] is again[2][1] is again[4][1]
    assert again[2][0] is again[3] is again[4][0]
    assert len(list(loaded.parameters())) == len(list(model.parameters()))
    with safetensors.safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert len(list(file.keys())) == len(list(model.parameters()))


def test_a_tied_decoder_is_tied_again(tmp_path):
    model = made("plain, tied")
    aebook.save(model, tmp_path / "model.safetensors")
    loaded = aebook.load(tmp_path / "model.safetensors")
    with torch.no_grad():
        loaded.encoder[0].map.weight.zero_()
        loaded.decoder[1].map.bias.zero_()
    assert torch.equal(loaded(X), torch.full_like(X, 0.5))
    assert "decoder.0.map.weight" not in loaded.state_dict()
    with pytest.raises(ValueError, match=r"got a decoder whose 0\.map is tied to a layer that"):
        aebook.save(model.decoder, tmp_path / "decoder.safetensors")


# --- parts of one's own


class Encoder(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.first, self.second = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs)
        self.second.weight = self.first.weight
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        return self.first(x) * self.second(x).sin()


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return x * self.factor


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_encoder_of_ones_own_is_restored_by_giving_it(tmp_path, dtype):
    path = tmp_path / "model.safetensors"
    model = aebook.Autoencoder(Encoder(6, 3), aebook.networks.mlp((3, 6))).to(dtype).eval()
    model.encoder.steps += 7
    aebook.save(model, path)
    given = Encoder(6, 3)
    loaded = aebook.load(path, {"encoder": given})
    assert loaded.encoder is given
    assert not given.training
    # the weight that it holds twice is still one
    assert given.second.weight is given.first.weight
    assert given.steps == 7
    assert_same(model, loaded, X.to(dtype))

    for parts, message in {
        (): r"its encoder is a .*Encoder, .* give \{'encoder': Encoder\(\.\.\.\)\}",
        (("encoder", Encoder),): r"got parts\['encoder'\]=Encoder, a type, expected a Module",
        (
            ("encoder", Encoder(5, 3)),
        ): r"got encoder.first.weight as .* \(3, 6\), expected .* \(3, 5",
        (
            ("encoder", nn.Linear(6, 3)),
        ): r"got a Linear as the part 'encoder', expected a .*Encoder",
        (("encoder", Encoder(6, 3)), ("decoder", Scale())): "got the part 'decoder', expected enc",
    }.items():
        with pytest.raises(ValueError, match=message):
            aebook.load(path, dict(parts))
    aebook.save(made("plain"), path)
    with pytest.raises(ValueError, match="got the part 'encoder', expected none: leave it out"):
        aebook.load(path, {"encoder": Encoder(6, 3)})


def test_parts_may_lie_deep_and_a_decoder_may_be_tied_to_them(tmp_path):
    path = tmp_path / "model.safetensors"
    encoder = aebook.networks.mlp((6, 4, 3), activation=Scale)
    # a Linear of another class, which the decoder is tied to
    encoder[1].map = parametrizations.weight_norm(encoder[1].map)
    model = aebook.Autoencoder(encoder, aebook.networks.tied_decoder(encoder)).eval()
    with torch.no_grad():
        encoder[0].activation.factor.fill_(1.7)
        model.decoder[0].map.bias.fill_(0.3)
        encoder[1].map.parametrizations.weight.original0.fill_(2.0)
    aebook.save(model, path)
    parts = {
        "encoder.0.activation": Scale(),
        "encoder.1.map": parametrizations.weight_norm(nn.Linear(4, 3)),
    }
    loaded = aebook.load(path, parts)
    assert torch.equal(loaded(X), model(X))
    assert loaded.decoder[0].map.source is parts["encoder.1.map"]


# --- what cannot be saved


# which moves what it wraps to a GPU, where there is one
@pytest.mark.usefixtures("on_the_cpu")
@pytest.mark.parametrize("wrap", [nn.DataParallel, partial(torch.compile, backend="eager")])
def test_wrappers_are_left_out(wrap, tmp_path):
    model = made("plain")
    aebook.save(wrap(model), tmp_path / "model.safetensors")
    assert_same(model, aebook.load(tmp_path / "model.safetensors"), X)
    with pytest.raises(ValueError, match=r"got an Objective.*save objective\.model"):
        aebook.save(wrap(aebook.Objective(model)), tmp_path / "objective.safetensors")
    model.encoder = wrap(model.encoder)
    with pytest.raises(ValueError, match="got a model whose encoder is wrapped in"):
        aebook.save(model, tmp_path / "objective.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


class Mine(aebook.Autoencoder):
    pass


def hooked():
    model = made("plain")
    model.encoder[0].register_forward_hook(lambda module, given, out: out + 1)
    return model


def overridden():
    model = made("plain")
    model.encoder.forward = lambda x: x[:, :3]
    return model


def changed():
    model = made("binary")
    model.encoder[1].activation.eps = 0.1
    return model


def sharing():
    model = variants.plain((3, 3)).model
    model.decoder[0].map.weight = model.encoder[0].map.weight
    return model


def extended():
    model = made("plain")
    model.more = nn.Linear(2, 2)
    return model


REFUSED = {
    "objective": (lambda: variants.plain((6, 2)), "got an Objective, expected a model: save obj"),
    "a number": (lambda: 3, "got model=3, expected a Module"),
    "a class of one's own": (lambda: Mine(nn.Linear(6, 2), nn.Linear(2, 6)), "got a .*Mine, expec"),
    "hook": (hooked, r"encoder\.0 has hooks, which are code: remove them"),
    "method": (overridden, "encoder has forward=<function .* and not None"),
    "setting": (changed, r"encoder\.1\.activation has eps=0\.1 and not 1e-05"),
    "shared weight": (sharing, r"the tensors decoder\.0\.map\.weight are shared by layers"),
    "more": (extended, "unexpected keyword argument 'more'"),
    "lazy": (
        lambda: aebook.Autoencoder(nn.LazyLinear(2), nn.Linear(2, 6)),
        "got encoder.weight without values of its own",
    ),
    "meta": (lambda: nn.Linear(2, 2, device="meta"), "got weight without values of its own"),
    "complex": (lambda: nn.Linear(2, 2, dtype=torch.complex64), "complex64, expected real numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_not_come_back_the_same_is_refused(case, tmp_path):
    make, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        aebook.save(make(), tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


# --- files


def test_any_reader_of_safetensors_finds_the_weights(tmp_path):
    model = made("variational")
    aebook.save(model, tmp_path / "model.safetensors")
    found = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert found.keys() == model.state_dict().keys()
    assert all(torch.equal(value, found[name]) for name, value in model.state_dict().items())


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.safetensors"
    aebook.save(made("linear, tied, without bias").encoder[1], path)
    return path


def test_a_file_that_ends_early_or_late_is_refused(small):
    content = small.read_bytes()
    for length in range(len(content)):
        small.write_bytes(content[:length])
        with pytest.raises(ValueError, match="is no safetensors file, or is truncated or altered"):
            aebook.load(small)
    small.write_bytes(content + b"\0")
    with pytest.raises(ValueError, match="is no safetensors file, or is truncated or altered"):
        aebook.load(small)


def test_a_flipped_bit_in_any_byte_is_noticed(small):
    content = small.read_bytes()
    for position in range(len(content)):
        altered = bytearray(content)
        altered[position] ^= 1 << (position % 8)
        small.write_bytes(altered)
        with pytest.raises(ValueError, match=r"small\.safetensors"):
            aebook.load(small)
    small.write_bytes(content)
    aebook.load(small)


LEFT_OUT = object()


def forge(path, model, tensors=None, **changes):
    """A file with a right checksum, as a person would write it who means harm."""
    metadata = {"sha256": "0" * 64, "format": 1, "aebook": aebook.__version__, "model": model}
    metadata = {k: v for k, v in {**metadata, **changes}.items() if v is not LEFT_OUT}
    text = json.dumps(metadata)
    if isinstance(model, str):
        text = text.replace(json.dumps(model), model)
    content = safetensors.torch.save(tensors or {}, {"aebook": text})
    digest = hashlib.sha256(content).hexdigest().encode()
    path.write_bytes(content.replace(b"0" * 64, digest, 1))


def linear(**arguments):
    return {
        "kind": "torch.nn.Linear",
        "arguments": {"in_features": 2, "out_features": 3} | arguments,
    }


WEIGHTS = {"weight": torch.ones(3, 2), "bias": torch.zeros(3)}


def nested(depth):
    """JSON in one piece: Python itself might not write values so deep."""
    begin = '{"kind": "torch.nn.Sequential", "arguments": {}, "children": {"0": '
    return begin * depth + json.dumps(linear()) + "}}" * depth


def doubled(depth):
    """A forward pass of 2^depth layers in a file of a few lines."""
    node = {"kind": "torch.nn.Sequential", "arguments": {}, "children": {"0": linear()}}
    for _ in range(depth):
        again = {"same": "0"}
        node = {**node, "children": {"0": node, "1": again}}
    return node


def test_a_forged_file_that_is_right_is_loaded(tmp_path):
    # so that what follows is refused for the reason that it gives
    forge(tmp_path / "forged.safetensors", linear(), WEIGHTS)
    found = aebook.load(tmp_path / "forged.safetensors")
    assert torch.equal(found(torch.ones(1, 2)), torch.full((1, 3), 2.0))


FORGED = {
    "code": ({"kind": "os.system", "arguments": {}}, {}, "asks for a 'os.system', which this vers"),
    "module": ({"kind": "torch.nn.Module", "arguments": {}}, {}, "asks for a 'torch.nn.Module'"),
    "list": ({"kind": ["torch.nn.Linear"], "arguments": {}}, {}, "makes no sense"),
    "huge": (linear(in_features=10**7, out_features=10**7), WEIGHTS, "got weight as .*, expected"),
    "beyond": (linear(in_features=10**30), WEIGHTS, "makes no sense"),
    "negative": (linear(in_features=-2), WEIGHTS, "makes no sense"),
    "text": (linear(in_features="2"), WEIGHTS, "makes no sense"),
    "device": (linear(device="cpu", in_features=10**9), WEIGHTS, r"it gives \['device'\] to torch"),
    "dtype": (linear(dtype="float64"), WEIGHTS, r"it gives \['dtype'\] to torch"),
    "private": (
        {"kind": "torch.nn.Embedding", "arguments": {"_freeze": True}},
        {},
        r"it gives \['_freeze'\]",
    ),
    "deep": (nested(150), WEIGHTS, "nested more than 100 levels deep"),
    "deeper": (nested(30_000), WEIGHTS, "has metadata that|makes no sense"),
    "doubled": (doubled(60), WEIGHTS, "makes no sense|nested"),
    "columns": (linear() | {"unit_columns": 5}, WEIGHTS, "makes no sense"),
    "source": (
        {"kind": "aebook.networks.Transposed", "arguments": {}, "source": "encoder"},
        {},
        "makes no sense",
    ),
    "no shape": (
        {
            "kind": "aebook.networks.Chain",
            "arguments": {"shape": [0]},
            "children": {"0": linear(in_features=2)},
        },
        {f"0.{name}": value for name, value in WEIGHTS.items()},
        "makes no sense.*shape",
    ),
    "no tensors": (linear(), {}, r"not \['bias', 'weight'\] that it has"),
    "more tensors": (linear(), WEIGHTS | {"more": torch.ones(2)}, r"got tensors \['more'\] that"),
    "shape": (linear(), WEIGHTS | {"weight": torch.ones(2, 3)}, r"\(2, 3\), expected .* \(3, 2\)"),
    "integers": (linear(), WEIGHTS | {"bias": torch.arange(3)}, "got bias as torch.int64"),
    "no model": (LEFT_OUT, {}, "makes no sense"),
    "nothing": (None, {}, "makes no sense"),
    "empty": ({}, {}, "makes no sense"),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_file_is_refused(case, tmp_path):
    model, tensors, message = FORGED[case]
    path = tmp_path / "forged.safetensors"
    forge(path, model, tensors)
    with pytest.raises(ValueError, match=rf"forged\.safetensors .*({message})"):
        aebook.load(path)


def test_a_header_that_claims_terabytes_is_refused(tmp_path):
    path = tmp_path / "forged.safetensors"
    entry = {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}
    header = json.dumps({"weight": entry}).encode()
    for size in (len(header), 10**15, 2**64 - 1):
        path.write_bytes(size.to_bytes(8, "little") + header)
        with pytest.raises(ValueError, match="is no safetensors file"):
            aebook.load(path)


class Exploit:
    def __reduce__(self):
        return os.mkdir, ("harmed",)


def test_a_pickle_is_never_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.safetensors"
    for write in (lambda: torch.save(Exploit(), path), lambda: path.write_bytes(PICKLED)):
        write()
        with pytest.raises(ValueError, match="may be a pickle, which can run code"):
            aebook.load(path)
    assert not (tmp_path / "harmed").exists()


PICKLED = pickle.dumps(Exploit())


def test_a_newer_file_is_refused_by_its_version(tmp_path):
    path = tmp_path / "model.safetensors"
    forge(path, {"anything": "else"}, format=2, aebook="7.0")
    with pytest.raises(
        ValueError, match=r"format 2, .* up to 1: update .*by aebook 7\.0, this is 0"
    ):
        aebook.load(path)
    # a layer that a later version added
    forge(path, {"kind": "torch.nn.Newest", "arguments": {}}, aebook="7.0")
    with pytest.raises(ValueError, match=r"'torch\.nn\.Newest', .* by aebook 7\.0, this is"):
        aebook.load(path)


def test_files_of_others_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"weight": torch.ones(2)}, path)
    with pytest.raises(ValueError, match="is a safetensors file, but not one that aebook wrote"):
        aebook.load(path)
    for text in (
        "{",
        "[]",
        '{"format": 1}',
        '{"format": 0, "sha256": "", "aebook": ""}',
        '{"format": "1", "sha256": "", "aebook": ""}',
    ):
        safetensors.torch.save_file({"weight": torch.ones(2)}, path, {"aebook": text})
        with pytest.raises(ValueError, match="has metadata that are not aebook's"):
            aebook.load(path)
    for content in (b"", b"{}", b"plain text", bytes(100)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is no safetensors file"):
            aebook.load(path)
    with pytest.raises(FileNotFoundError, match="nothing"):
        aebook.load(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_file_that_was_there(tmp_path, monkeypatch, error, step):
    path = tmp_path / "model.safetensors"
    aebook.save(made("plain"), path)
    content = path.read_bytes()

    def fail(*arguments):
        raise error

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(error)):
        aebook.save(made("linear"), path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == content


def test_where_nothing_can_be_written_the_path_is_named(tmp_path, monkeypatch):
    model = made("linear")
    with pytest.raises(ValueError, match=r"got path='.*nowhere.*', but its folder does not exist"):
        aebook.save(model, tmp_path / "nowhere" / "model.safetensors")
    with pytest.raises(ValueError, match="which is no regular file and is not replaced"):
        aebook.save(model, tmp_path)

    def refuse(path, mode, opener):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("aebook._internal.files.open", refuse, raising=False)
    with pytest.raises(PermissionError, match="Permission denied"):
        aebook.save(model, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="permissions and links are POSIX's")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_a_file_keeps_its_permissions_and_nobody_reads_it_meanwhile(tmp_path, mode, monkeypatch):
    path, seen = tmp_path / "model.safetensors", []
    path.write_bytes(b"before")
    path.chmod(mode)
    fsync = os.fsync

    def look(number):
        seen.append(stat.S_IMODE(os.fstat(number).st_mode))
        fsync(number)

    monkeypatch.setattr(os, "fsync", look)
    aebook.save(made("plain"), path)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert not seen[0] & ~mode
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices are POSIX's")
def test_what_is_no_regular_file_is_never_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(os.devnull)
    for name in ("folder", "pipe", "link"):
        with pytest.raises(ValueError, match=rf"path='.*{name}', which is no regular file"):
            aebook.save(made("plain"), tmp_path / name)
        with pytest.raises(ValueError, match=rf"checkpoint='.*{name}', which is no regular file"):
            aebook.fit(variants.plain((6, 3)), X, epochs=1, checkpoint=tmp_path / name)
    assert len(list(tmp_path.iterdir())) == 3
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.skipif(os.name != "posix", reason="permissions and links are POSIX's")
def test_a_file_has_the_permissions_of_any_new_one_and_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "target.safetensors", tmp_path / "link.safetensors"
    link.symlink_to(target)
    aebook.save(made("linear"), link)
    (tmp_path / "any").touch()
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE((tmp_path / "any").stat().st_mode)
    assert isinstance(aebook.load(link), aebook.Autoencoder)


def test_the_device_is_that_asked_for(small):
    assert {p.device.type for p in aebook.load(small).parameters()} == {"cpu"}
    assert {p.device.type for p in aebook.load(small, device="meta").parameters()} == {"meta"}
