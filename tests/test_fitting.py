"""What does not fit together is refused by name: networks, data, functions, devices, modes."""

import functools
import re
import warnings

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import aebook
from aebook.boltzmann.rbm import RBM

X = torch.rand(40, 4, generator=torch.Generator().manual_seed(0))
FIT = {"epochs": 2, "device": "cpu", "progress": False}


def own(encoder=None, decoder=None, **parts):
    encoder, decoder = encoder or nn.Linear(4, 2), decoder or nn.Linear(2, 4)
    return aebook.Objective(aebook.Autoencoder(encoder, decoder), **parts)


class Pair(nn.Linear):
    def forward(self, x):
        return super().forward(x), x


def without_gradient(reconstruction, target):
    return (reconstruction - target).square().sum(1).detach()


def functions(objective):
    return {
        "fit": lambda x: aebook.fit(objective, x, **FIT),
        "evaluate": lambda x: aebook.evaluate(objective, x),
        "lbfgs": lambda x: aebook.lbfgs(objective, x, tolerance=1.0, device="cpu"),
        "encode": lambda x: aebook.encode(objective.model, x),
        "reconstruct": lambda x: aebook.reconstruct(objective.model, x),
    }


# complex modules are new, says PyTorch
@pytest.mark.filterwarnings("ignore:Complex modules:UserWarning")
@pytest.mark.parametrize("name", ["fit", "evaluate", "lbfgs", "encode", "reconstruct"])
@pytest.mark.parametrize(
    ("make", "x", "message"),
    [
        (own, X[:, :3], "do not fit .*expected data of the shape that the encoder takes"),
        (own, (10 * X).long(), "do not fit .*expected numbers of one type"),
        (lambda: own(nn.Conv2d(1, 2, 3)), X, "do not fit .*expected data of the shape"),
        (lambda: own(Pair(4, 2)), X, "got what the encoder gave=tuple.*expected a tensor"),
        (lambda: own().to(torch.complex64), X, "got a model of type torch.complex64"),
        (lambda: own().to("meta"), X, "got a model on the device 'meta'"),
        (lambda: aebook.variants.concrete((4, 2)), (10 * X).long(), "divide bytes by 255"),
    ],
    ids=["width", "integers", "image", "tuple", "complex", "meta", "concrete"],
)
def test_data_that_the_network_cannot_take(name, make, x, message):
    with pytest.raises(ValueError, match=message):
        functions(make())[name](x)


class Own(nn.Module):
    """An encoder of somebody's own: a function of a layer and of the messages."""

    def __init__(self, function, layer=None):
        super().__init__()
        self.layer, self.function = layer or nn.Linear(4, 2), function

    def forward(self, x):
        return self.function(self.layer, x)


def first(layer, *between):
    return lambda: nn.Sequential(layer(), *between, nn.Flatten(), nn.Linear(4, 2))


def within(layer):
    """As convolutions have it, (B, 1, 4)."""
    return lambda: nn.Sequential(nn.Unflatten(1, (1, 4)), layer(), nn.Flatten(), nn.Linear(4, 2))


#: Encoders that do not take (B, 4), where they fail, and the shape that they say they were given.
MISFITS = {
    "BatchNorm1d": (first(lambda: nn.BatchNorm1d(5)), r"encoder\.0 BatchNorm1d\(5", "4"),
    "BatchNorm2d": (first(lambda: nn.BatchNorm2d(4)), r"encoder\.0 BatchNorm2d\(4", "4"),
    "InstanceNorm2d": (first(lambda: nn.InstanceNorm2d(4)), r"encoder\.0 InstanceN", "4"),
    "GroupNorm": (first(lambda: nn.GroupNorm(1, 5)), r"encoder\.0 GroupNorm\(1, 5", "4"),
    "LayerNorm": (first(lambda: nn.LayerNorm(5)), r"encoder\.0 LayerNorm\(\(5,\)", "4"),
    "PReLU": (first(lambda: nn.PReLU(5)), r"encoder\.0 PReLU", "4"),
    "LSTM": (lambda: nn.LSTM(5, 2), r"encoder LSTM\(5, 2\)", "4"),
    "GRU": (
        lambda: nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.GRU(2, 2)),
        "encoder.1",
        "1, 2, 2",
    ),
    "Unflatten": (first(lambda: nn.Unflatten(1, (3, 2))), r"encoder\.0 Unflatten", "4"),
    "Softmax": (first(lambda: nn.Softmax(9)), r"encoder\.0 Softmax\(dim=9", "4"),
    "MaxPool1d": (within(lambda: nn.MaxPool1d(9)), r"encoder\.1 MaxPool1d", "1, 4"),
    "Conv1d": (within(lambda: nn.Conv1d(1, 1, 9)), r"encoder\.1 Conv1d\(1, 1", "1, 4"),
    "Conv2d": (within(lambda: nn.Conv2d(3, 1, 1)), r"encoder\.1 Conv2d\(3, 1", "1, 4"),
    "ReflectionPad1d": (first(lambda: nn.ReflectionPad1d(9)), r"encoder\.0 Reflec", "4"),
    "PixelShuffle": (first(lambda: nn.PixelShuffle(2)), r"encoder\.0 PixelShuffle", "4"),
    "Upsample": (first(lambda: nn.Upsample(scale_factor=2)), r"encoder\.0 Upsample", "4"),
    "Bilinear": (lambda: nn.Bilinear(4, 4, 2), r"encoder Bilinear\(in1_features=4", "4"),
    "Embedding": (lambda: nn.Embedding(3, 2), r"encoder Embedding\(3, 2\)", "4"),
    "attention": (
        first(lambda: nn.TransformerEncoderLayer(5, 1, 8)),
        r"encoder\.0\.self_attn Multihead",
        "4",
    ),
    "index": (lambda: Own(lambda layer, x: layer(x) + x[:, 99]), r"encoder Own\(\)", "4"),
    "key": (lambda: Own(lambda layer, x: {}["a"]), r"encoder Own.*KeyError: 'a'", "4"),
    "attribute": (lambda: Own(lambda layer, x: x.codes), "encoder Own.*AttributeError", "4"),
    "assertion": (lambda: Own(lambda layer, x: exec("assert 0")), "AssertionError.,", "4"),
    "division": (lambda: Own(lambda layer, x: 1 // 0), "encoder Own.*ZeroDivision", "4"),
    "words": (lambda: Own(lambda layer, x: int("7x")), "encoder Own.*ValueError: invalid", "4"),
    "inner": (
        lambda: Own(lambda layer, x: layer(x), nn.Linear(3, 2)),
        r"encoder\.layer Linear\(in_features=3",
        "4",
    ),
}


@pytest.mark.filterwarnings("ignore:.*nested_tensor:UserWarning")
@pytest.mark.parametrize("name", ["fit", "evaluate", "lbfgs", "encode", "reconstruct"])
@pytest.mark.parametrize("misfit", MISFITS)
def test_whatever_fails_in_a_model_is_said_with_its_place_and_shapes(name, misfit):
    make, place, shape = MISFITS[misfit]
    with pytest.raises(ValueError, match=r"do not fit .*expected") as caught:
        functions(own(make()))[name](X)
    said = str(caught.value)
    assert re.search(place, said)
    assert f" given (40, {shape})" in said


def test_an_optimiser_for_other_gradients_is_refused():
    with pytest.raises(ValueError, match=r"\(the optimiser: .*expected an optimiser for the gradi"):
        aebook.fit(own(), X, optimizer=torch.optim.SparseAdam, **FIT)


class Strange(Exception):
    pass


class Stopping(IterableDataset):
    def __init__(self, kind):
        self.kind = kind

    def __iter__(self):
        yield X[0]
        raise self.kind("size mismatch")


@pytest.mark.parametrize("kind", [RuntimeError, TypeError, ValueError, Strange])
@pytest.mark.parametrize("where", ["callback", "anneal", "schedule", "data", "machine"])
def test_what_is_none_of_the_models_doing_is_left_as_it_is(kind, where):
    def fails(*_):
        raise kind("size mismatch")

    data = Stopping(kind) if where == "data" else X
    options = FIT if where in ("data", "machine") else FIT | {where: fails}
    train = functools.partial(aebook.fit, own(), data, **options)
    if where == "machine":
        train = functools.partial(RBM(4, 2).fit, Stopping(kind), epochs=1)
    with pytest.raises(kind, match=r"^size mismatch$"):
        train()


def test_exceptions_of_ones_own_pass_through_a_model():
    def fails(layer, x):
        raise Strange("enough")

    with pytest.raises(Strange, match=r"^enough$"):
        aebook.fit(own(Own(fails)), X, **FIT)


@pytest.mark.parametrize("name", ["fit", "evaluate", "lbfgs", "reconstruct"])
@pytest.mark.parametrize(
    ("decoder", "message"),
    [
        (nn.Linear(3, 4), "do not fit .*a decoder that takes its code"),
        (nn.Linear(2, 4).double(), "do not fit .*all parts of the model alike"),
        (Pair(2, 4), "got what the decoder gave=tuple"),
    ],
    ids=["width", "double", "tuple"],
)
def test_a_decoder_that_does_not_fit_its_encoder(name, decoder, message):
    with pytest.raises(ValueError, match=message):
        functions(own(decoder=decoder))[name](X)


@pytest.mark.parametrize("name", ["fit", "lbfgs"])
@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"distance": without_gradient}, "expected a loss that depends on what is trained"),
        ({"distance": lambda a, b: None}, "got the term 'distance'=None, expected a tensor"),
        ({"distance": lambda a, b: a - b}, "'distance' has shape"),
        ({"penalties": {"p": (1.0, lambda seen: None)}}, "got the term 'p'=None"),
    ],
    ids=["detached", "none", "shape", "penalty"],
)
def test_a_loss_that_cannot_be_trained(name, parts, message):
    with pytest.raises(ValueError, match=message):
        functions(own(**parts))[name](X)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": lambda a, b: 1.0}, "got schedule=.*expected a function of one argument"),
        ({"schedule": lambda t: None if t > 0 else 1.0}, r"got schedule\(0\.5\)=None"),
        ({"schedule": lambda t: float("nan")}, r"got schedule\(0\)=nan, expected a finite"),
        ({"anneal": lambda objective: None}, "got anneal=.*a function of two arguments"),
        ({"callback": lambda objective: None}, "got callback=.*a function of two arguments"),
        ({"optimizer": lambda p: torch.optim.SGD(p, lr=1.0)}, r"expected .*\(parameters, lr=lr\)"),
        ({"optimizer": torch.optim.LBFGS}, "got a LBFGS.*aebook.lbfgs is for L-BFGS"),
        ({"device": "meta"}, "got device='meta', expected one that is there"),
        ({"device": "vulkan"}, "got device='vulkan', expected one that is there"),
        ({"device": "abacus"}, "got device='abacus', expected one that is there"),
    ],
)
def test_arguments_of_fit_that_cannot_be_used(options, message):
    with pytest.raises(ValueError, match=message):
        aebook.fit(own(), X, batch_size=40, **FIT | options)


@pytest.mark.parametrize("part", ["corruption", "distance", "penalty"])
def test_a_part_of_another_number_of_arguments(part):
    parts = {part: lambda: None} if part != "penalty" else {"penalties": {"p": (1.0, lambda: None)}}
    with pytest.raises(ValueError, match=r"expected .*a function of (one|two) argument"):
        own(**parts)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:7"])
def test_a_device_that_is_not_there(device):
    for call in (
        functools.partial(aebook.fit, own(), X, epochs=1),
        functools.partial(aebook.lbfgs, own(), X),
        functools.partial(RBM(4, 2).fit, X, epochs=1),
    ):
        with pytest.raises(ValueError, match=f"got device='{device}', expected one that is there"):
            call(device=device)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_training_records_gradients_whatever_the_caller_does(mode):
    for train in (
        lambda o: aebook.fit(o, X, **FIT),
        lambda o: aebook.lbfgs(o, X, tolerance=1.0, device="cpu"),
    ):
        torch.manual_seed(0)
        expected = own()
        torch.manual_seed(0)
        objective = own()
        train(expected)
        with mode():
            train(objective)
            assert not torch.is_grad_enabled()
        for a, b in zip(objective.parameters(), expected.parameters(), strict=True):
            assert torch.equal(a, b)


def test_a_frozen_machine_is_not_trained():
    with pytest.raises(ValueError, match="frozen parameters, expected all to be trained"):
        RBM(4, 2).requires_grad_(False).fit(X, epochs=1)


@pytest.mark.parametrize(
    "train",
    [
        lambda: aebook.lbfgs(own(), 1e30 * X, iterations=3, device="cpu"),
        lambda: RBM(4, 2, visible_units="gaussian").fit(1e25 * X, epochs=3, lr=1e10),
        lambda: aebook.fit(own(), X, lr=1e30, optimizer=torch.optim.SGD, **FIT),
    ],
    ids=["lbfgs", "rbm", "fit"],
)
def test_what_ends_a_run_brings_its_history(train):
    with pytest.raises(FloatingPointError) as caught:
        train()
    assert isinstance(caught.value.history, aebook.History)


@pytest.mark.parametrize("train", ["fit", "lbfgs"])
def test_normalisation_without_parameters_rests_where_it_was_put_to_rest(train):
    norm = nn.BatchNorm1d(4, affine=False)
    objective = own(nn.Sequential(norm, nn.Linear(4, 2)))
    objective.train()
    norm.eval()
    before = norm.running_mean.clone()
    functions(objective)[train](X)
    assert torch.equal(norm.running_mean, before)


BEYOND = torch.cat([X, 3 + X])


@pytest.mark.parametrize(
    "train",
    [
        lambda o: aebook.fit(o, BEYOND, **FIT),
        lambda o: aebook.fit(o, DataLoader(TensorDataset(BEYOND), 40), **FIT),
        lambda o: aebook.fit(o, X, validation=BEYOND, **FIT),
        lambda o: aebook.fit(o, X, validation=DataLoader(TensorDataset(BEYOND), 40), **FIT),
        lambda o: aebook.lbfgs(o, BEYOND, tolerance=1.0, device="cpu"),
    ],
    ids=["fit", "second batch", "validation", "validation loader", "lbfgs"],
)
def test_targets_that_a_sigmoid_cannot_give_are_said_once(train):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(aebook.variants.plain((4, 2)))
    found = [w for w in caught if "ends in sigmoid" in str(w.message)]
    assert len(found) == 1
    assert found[0].filename == __file__
    assert "got targets from 0." in str(found[0].message)
