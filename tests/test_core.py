import copy
import inspect
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import aebook
from aebook import Autoencoder, Objective
from aebook.core import layers
from aebook.distances import Gaussian
from aebook.networks import Chain, mlp
from aebook.penalties import weight_decay

F64 = torch.float64


def squared_code(seen):
    return seen.code.square().sum(1)


def dropout_autoencoder():
    encoder = nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.5), nn.Linear(4, 2))
    return Autoencoder(encoder, nn.Linear(2, 6))


def test_the_objective_is_the_equation():
    model = Autoencoder(mlp((5, 2)), mlp((2, 5))).double()
    x, target = torch.randn(2, 7, 5, dtype=F64)
    objective = Objective(
        model,
        corruption=lambda x: 0.5 * x + 0.1,
        penalties={"code": (0.3, squared_code), "l2": (0.05, weight_decay)},
    ).double()
    loss = objective(x, target)

    w1, b1, w2, b2 = (p.detach().numpy() for p in model.parameters())
    code = (0.5 * x.numpy() + 0.1) @ w1.T + b1
    reconstruction = code @ w2.T + b2
    distance = np.mean(
        [np.sum((a - b) ** 2) for a, b in zip(reconstruction, target.numpy(), strict=True)]
    )
    penalty = 0.3 * np.mean([np.sum(z**2) for z in code])
    decay = 0.05 * (np.sum(w1**2) + np.sum(w2**2))
    assert list(loss.terms) == ["distance", "code", "l2"]
    assert loss.terms["distance"].item() == pytest.approx(distance, rel=1e-12)
    # weights start in single precision
    assert loss.terms["code"].item() == pytest.approx(penalty, rel=1e-7)
    assert loss.terms["l2"].item() == pytest.approx(decay, rel=1e-7)
    assert loss.total.item() == pytest.approx(distance + penalty + decay, rel=1e-7)


def test_the_target_defaults_to_the_clean_messages():
    objective = Objective(Autoencoder(mlp((5, 2)), mlp((2, 5))), corruption=torch.zeros_like)
    x = torch.randn(4, 5)
    assert objective(x).total == objective(x, x).total
    assert objective(x).total != objective(x, torch.zeros_like(x)).total


def test_the_total_is_the_sum_of_the_terms_and_carries_their_gradient():
    model = Autoencoder(mlp((5, 2)), mlp((2, 5))).double()
    penalties = {"code": (0.3, squared_code), "l2": (0.05, weight_decay)}
    objective = Objective(model, penalties=penalties).double()
    loss = objective(torch.randn(7, 5, dtype=F64))
    assert loss.total.shape == ()
    assert loss.total.item() == pytest.approx(sum(t.item() for t in loss.terms.values()), rel=1e-14)
    weight = model.encoder[0][0].weight
    (total,) = torch.autograd.grad(loss.total, weight, retain_graph=True)
    parts = [torch.autograd.grad(t, weight, retain_graph=True)[0] for t in loss.terms.values()]
    torch.testing.assert_close(total, sum(parts))


def test_the_mean_of_per_sample_is_forward_and_scalars_stay_scalars():
    penalties = {"code": (0.3, squared_code), "l2": (0.05, weight_decay)}
    objective = Objective(Autoencoder(mlp((5, 2)), mlp((2, 5))), penalties=penalties)
    x = torch.randn(7, 5)
    terms = objective.per_sample(x)
    assert [t.shape for t in terms.values()] == [(7,), (7,), ()]
    assert {k: t.mean() for k, t in terms.items()} == objective(x).terms


def test_per_sample_is_the_same_in_any_batch():
    objective = Objective(
        Autoencoder(mlp((5, 2)), mlp((2, 5))), penalties={"code": (1, squared_code)}
    ).double()
    x = torch.randn(6, 5, dtype=F64)
    whole = objective.per_sample(x)
    for name in whole:
        alone = torch.cat([objective.per_sample(row[None])[name] for row in x])
        torch.testing.assert_close(whole[name], alone)


def test_a_penalty_sees_the_pass():
    encoder, decoder = mlp((5, 4, 3)), mlp((3, 5))
    model = Autoencoder(encoder, decoder, bottleneck=nn.Tanh())
    kept = []

    def keep(seen):
        kept.append(seen)
        return torch.zeros(len(seen.x))

    x = torch.randn(6, 5)
    Objective(model, corruption=lambda x: x + 1, penalties={"keep": (1.0, keep)})(x)
    (seen,) = kept
    assert seen.model is model
    assert seen.x is x
    assert torch.equal(seen.corrupted, x + 1)
    assert [a.shape for a in seen.activations] == [(6, 4), (6, 3)]
    assert torch.equal(seen.activations[0], encoder[0](x + 1))
    assert torch.equal(seen.activations[-1], encoder(x + 1))
    assert torch.equal(seen.code, torch.tanh(encoder(x + 1)))
    assert torch.equal(seen.reconstruction, decoder(seen.code))


def test_any_module_will_do_as_encoder_with_one_activation():
    kept = []
    objective = Objective(
        Autoencoder(nn.Linear(5, 2), nn.Linear(2, 5)),
        penalties={"keep": (1.0, lambda seen: kept.append(seen) or seen.x.sum(1))},
    )
    objective(torch.randn(3, 5))
    assert len(kept[0].activations) == 1


def test_weights_of_penalties_are_buffers_that_can_be_set_and_saved():
    model = Autoencoder(mlp((5, 2)), mlp((2, 5)))
    objective = Objective(model, penalties={"code": (0.25, squared_code)})
    x = torch.randn(4, 5)
    before = objective(x).terms["code"].item()
    objective.set_weight("code", 0.5)
    assert objective(x).terms["code"].item() == 2 * before
    assert objective.weight("code").item() == 0.5
    assert "weight_code" in dict(objective.named_buffers())
    assert not any("weight_code" in name for name, _ in objective.named_parameters())
    fresh = Objective(copy.deepcopy(model), penalties={"code": (0.0, squared_code)})
    fresh.load_state_dict(objective.state_dict())
    assert fresh.weight("code").item() == 0.5
    assert fresh(x).total == objective(x).total


def test_parts_with_parameters_are_trained_with_the_rest():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, seen):
            return self.scale * seen.code.square().sum(1)

    objective = Objective(
        Autoencoder(mlp((5, 2)), mlp((2, 5))),
        distance=Gaussian(kind="learned"),
        penalties={"scaled": (1.0, Scaled())},
    )
    objective(torch.randn(3, 5)).total.backward()
    without = [name for name, p in objective.named_parameters() if p.grad is None]
    assert not without
    names = {name for name, _ in objective.named_parameters() if "model" not in name}
    assert names == {"distance.log_sigma", "penalty_scaled.scale"}


@pytest.mark.parametrize("name", ["distance", "loss", "two words", "", "a.b"])
def test_names_of_penalties_that_would_clash_are_refused(name):
    with pytest.raises(ValueError, match="as the name of a penalty, expected an identifier"):
        Objective(Autoencoder(mlp((5, 2)), mlp((2, 5))), penalties={name: (1.0, squared_code)})


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_weights_that_are_negative_or_not_finite_are_refused(weight):
    model = Autoencoder(mlp((5, 2)), mlp((2, 5)))
    with pytest.raises(ValueError, match=r"got .*code.*, expected a finite"):
        Objective(model, penalties={"code": (weight, squared_code)})
    objective = Objective(model, penalties={"code": (1.0, squared_code)})
    with pytest.raises(ValueError, match=r"got the weight of 'code'="):
        objective.set_weight("code", weight)
    assert objective.weight("code").item() == 1.0


def test_an_unknown_penalty_is_refused_with_the_known_ones():
    objective = Objective(
        Autoencoder(mlp((5, 2)), mlp((2, 5))), penalties={"code": (1.0, squared_code)}
    )
    with pytest.raises(ValueError, match=r"got 'kl', expected one of the penalties \['code'\]"):
        objective.set_weight("kl", 1.0)


@pytest.mark.parametrize("role", ["distance", "penalty"])
def test_a_part_may_refuse_the_model_at_construction(role):
    class Fussy:
        def check(self, model):
            raise ValueError(f"no posterior in {type(model.bottleneck).__name__}")

        def __call__(self, *arguments):
            raise AssertionError("was to be refused first")

    parts = {"distance": Fussy()} if role == "distance" else {"penalties": {"kl": (1.0, Fussy())}}
    with pytest.raises(ValueError, match="no posterior in Identity"):
        Objective(Autoencoder(mlp((5, 2)), mlp((2, 5))), **parts)


def test_an_objective_refuses_what_is_no_autoencoder():
    with pytest.raises(
        ValueError, match=r"got model=Chain.* expected an Autoencoder: .* wrap networks in"
    ):
        Objective(mlp((5, 2)))


def test_forward_reconstruct_and_decode_of_encode_agree():
    model = Autoencoder(mlp((5, 3)), mlp((3, 5)), bottleneck=nn.Tanh())
    x = torch.randn(4, 5)
    assert torch.equal(model(x), model.reconstruct(x))
    assert torch.equal(model(x), model.decode(model.encode(x)))
    assert torch.equal(model.encode(x), torch.tanh(model.encoder(x)))


def test_evaluation_is_deterministic_and_training_is_not():
    model = dropout_autoencoder()
    x = torch.randn(8, 6)
    assert not torch.equal(model.encode(x), model.encode(x))
    model.eval()
    assert torch.equal(model.encode(x), model.encode(x))


def test_in_evaluation_gradients_are_recorded_only_for_inputs_that_ask():
    model = dropout_autoencoder().eval()
    x = torch.randn(3, 6)
    for result in (model.encode(x), model(x), model.decode(torch.randn(3, 2))):
        assert not result.requires_grad
        result.numpy()
    asking = x.clone().requires_grad_()
    model.reconstruct(asking).square().sum().backward()
    assert asking.grad.abs().sum() > 0
    with torch.no_grad():
        assert not model(asking).requires_grad


def test_inference_leaves_the_gradient_mode_as_it_was():
    model = dropout_autoencoder().eval()
    for enabled in (True, False):
        with torch.set_grad_enabled(enabled):
            model(torch.randn(2, 6))
            assert torch.is_grad_enabled() is enabled
            with pytest.raises(ValueError, match="NaN"):
                model(torch.full((2, 6), math.nan))
            assert torch.is_grad_enabled() is enabled


def test_in_training_gradients_flow_to_the_weights():
    model = Autoencoder(mlp((5, 2)), mlp((2, 5)))
    model(torch.randn(3, 5)).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("method", ["encode", "decode", "reconstruct", "forward"])
def test_messages_that_are_not_finite_are_refused(method, bad):
    model = Autoencoder(mlp((3, 3)), mlp((3, 3))).eval()
    x = torch.zeros(4, 3)
    x[2, 1] = bad
    with pytest.raises(ValueError, match=r"NaN or infinite values; expected finite.*clean"):
        getattr(model, method)(x)


def test_arrays_are_refused_with_the_cure():
    model = Autoencoder(mlp((3, 2)), mlp((2, 3)))
    with pytest.raises(ValueError, match=r"got ndarray, expected a tensor: aebook.encode"):
        model.encode(np.zeros((4, 3)))


def test_the_jacobian_of_a_linear_encoder_is_its_matrix():
    model = Autoencoder(mlp((5, 2)), mlp((2, 5))).double().eval()
    x = torch.randn(4, 5, dtype=F64)
    weight = model.encoder[0][0].weight.detach()
    jacobian = torch.func.vmap(torch.func.jacrev(lambda row: model.encoder(row[None])[0]))(x)
    torch.testing.assert_close(jacobian, weight.expand(4, 2, 5))
    # inference itself can be differentiated in its input too
    jacobian = torch.func.jacrev(lambda row: model.encode(row[None])[0])(x[0])
    torch.testing.assert_close(jacobian, weight)


def test_a_functional_call_of_the_encoder_has_the_gradient_of_autograd():
    encoder = mlp((5, 4, 2)).double()
    x = torch.randn(6, 5, dtype=F64)
    parameters = {name: p.detach() for name, p in encoder.named_parameters()}

    def energy(parameters):
        return torch.func.functional_call(encoder, parameters, (x,)).square().sum()

    gradients = torch.func.grad(energy)(parameters)
    encoder(x).square().sum().backward()
    for name, p in encoder.named_parameters():
        torch.testing.assert_close(gradients[name], p.grad)


def test_a_deep_copy_is_equal_and_independent():
    objective = Objective(
        Autoencoder(mlp((5, 2)), mlp((2, 5))),
        distance=Gaussian(kind="learned"),
        penalties={"code": (0.5, squared_code)},
    )
    copied = copy.deepcopy(objective)
    x = torch.randn(4, 5)
    before = objective(x).total.item()
    assert copied(x).total.item() == before
    with torch.no_grad():
        for p in copied.parameters():
            p.add_(1)
    copied.set_weight("code", 2.0)
    assert objective(x).total.item() == before
    assert copied(x).total.item() != before


def test_double_converts_every_part():
    objective = Objective(
        Autoencoder(mlp((5, 2)), mlp((2, 5))),
        distance=Gaussian(0.5, kind="learned"),
        penalties={"code": (0.5, squared_code)},
    ).double()
    assert {v.dtype for v in objective.state_dict().values()} == {F64}
    assert objective(torch.randn(4, 5, dtype=F64)).total.dtype == F64


def test_objectives_without_penalties_have_one_term():
    loss = aebook.variants.plain((5, 2))(torch.rand(3, 5))
    assert list(loss.terms) == ["distance"]
    assert loss.total == loss.terms["distance"]


def test_a_term_that_is_neither_one_value_a_sample_nor_a_scalar_is_refused():
    model = aebook.variants.plain((5, 2)).model
    objective = aebook.Objective(model, penalties={"wide": (1.0, lambda seen: seen.code)})
    with pytest.raises(ValueError, match=r"'wide' has shape \(4, 2\), expected one value a sample"):
        objective(torch.rand(4, 5))


@pytest.mark.parametrize("distance", [lambda a, b: (a > b).any(1), lambda a, b: (a > b).sum(1)])
def test_a_term_that_has_no_mean_is_refused(distance):
    objective = aebook.Objective(aebook.Autoencoder(nn.Identity(), nn.Identity()), None, distance)
    with pytest.raises(ValueError, match=r"'distance' is of torch\.\w+, expected floating point"):
        objective(torch.rand(4, 3))


# What works in place

IN_PLACE = [
    kind
    for _, kind in inspect.getmembers(nn, inspect.isclass)
    if "inplace" in inspect.signature(kind.__init__).parameters and "Dropout" not in kind.__name__
]
ARGUMENTS = {nn.Threshold: (0.1, 0.0)}
MESSAGES = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))


class Block(nn.Module):
    """Its layers are found by nobody who only looks at an nn.Sequential."""

    def __init__(self, *layers):
        super().__init__()
        self.first, self.rest = layers[0], nn.ModuleList(layers[1:])

    def forward(self, x):
        x = self.first(x)
        for layer in self.rest:
            x = layer(x)
        return x


#: Where it stands: the encoder and the decoder.
PLACES = {
    "first": lambda f: (nn.Sequential(f, nn.Linear(6, 2)), nn.Linear(2, 6)),
    "after a view": lambda f: (nn.Sequential(nn.Flatten(), f, nn.Linear(6, 2)), nn.Linear(2, 6)),
    "within": lambda f: (nn.Sequential(Block(f), nn.Linear(6, 2)), nn.Linear(2, 6)),
    "in a block": lambda f: (Block(nn.Identity(), f, nn.Linear(6, 2)), nn.Linear(2, 6)),
    "in a chain": lambda f: (Chain((6,), f, nn.Linear(6, 2)), nn.Linear(2, 6)),
    "in the middle": lambda f: (nn.Sequential(nn.Linear(6, 2), f), nn.Linear(2, 6)),
    "in its middle": lambda f: (Chain((6,), nn.Linear(6, 2), f), nn.Linear(2, 6)),
    "in the decoder": lambda f: (nn.Linear(6, 2), nn.Sequential(f, nn.Linear(2, 6))),
}


class Batches(Dataset):
    """Batches that are views of one tensor."""

    def __init__(self, x):
        self.parts = x.split(5)

    def __len__(self):
        return len(self.parts)

    def __getitem__(self, k):
        return self.parts[k]


FORMS = {
    "tensor": lambda x: x,
    "array": lambda x: x.numpy(),
    "pair": lambda x: (x, x),
    "loader": lambda x: DataLoader(Batches(x), batch_size=None),
    "loader of pairs": lambda x: DataLoader(
        Batches(x), batch_size=1, collate_fn=lambda parts: (parts[0], parts[0])
    ),
}


def first_layer(seen):
    return seen.activations[0].square().sum(1) + seen.code.sum(1) + seen.corrupted.sum(1)


def assembled(place, kind, inplace):
    torch.manual_seed(0)
    layer = kind(*ARGUMENTS.get(kind, ()), inplace=inplace)
    model = Autoencoder(*PLACES[place](layer))
    return Objective(model, penalties={"first": (0.1, first_layer)})


def all_results(objective, data, x):
    model = objective.model
    results = [*objective(x).terms.values(), layers(model.encoder, x)[0]]
    results += [aebook.encode(model, data), aebook.reconstruct(model, data)]
    results += [aebook.decode(model, x[:, :2]), aebook.evaluate(objective, data)["loss"]]
    results += [aebook.applications.anomaly.reconstruction_error(objective, data)]
    results += [aebook.jacobian.jacobian(model.encoder, x)]
    results += [aebook.jacobian.by_autograd(model.encoder, x)]
    # beyond what a decoder may reach, which is looked at
    results += aebook.fit(objective, data, epochs=2, device="cpu").loss
    results += [*objective.state_dict().values()]
    return [torch.as_tensor(result).detach() for result in results]


@pytest.mark.parametrize(
    ("place", "kind"),
    [*((place, kind) for place in PLACES for kind in (nn.ReLU, nn.Dropout))]
    + [("first", kind) for kind in IN_PLACE],
)
def test_what_works_in_place_computes_what_it_does_out_of_place(place, kind):
    x, expected = MESSAGES.clone(), assembled(place, kind, False)
    found = all_results(assembled(place, kind, True).eval(), x, x)
    # some have their slope from what they gave, which rounds otherwise
    for a, b in zip(found, all_results(expected.eval(), x, x), strict=True):
        torch.testing.assert_close(a, b)
    assert torch.equal(x, MESSAGES)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", ["first", "in a block", "in the decoder"])
def test_data_in_any_form_stay_as_they_are(form, place):
    x = MESSAGES.clone()
    results = all_results(assembled(place, nn.ReLU, True).eval(), FORMS[form](x), x)
    assert torch.equal(x, MESSAGES)
    expected = all_results(assembled(place, nn.ReLU, False).eval(), FORMS[form](x), x)
    assert all(torch.equal(a, b) for a, b in zip(results, expected, strict=True))


class Rectified(nn.Linear):
    """It says nowhere that it works in place."""

    def forward(self, x):
        return super().forward(x.relu_())


def clearing(reconstruction, target):
    return (reconstruction - target.mul_(0.5)).square().sum(1)


def writing(seen):
    return seen.x.add_(1.0).sum(1)


HIDDEN = {
    "encoder": lambda: Objective(Autoencoder(Rectified(6, 2), nn.Linear(2, 6))),
    "distance": lambda: Objective(Autoencoder(nn.Linear(6, 2), nn.Linear(2, 6)), None, clearing),
    "penalty": lambda: Objective(
        Autoencoder(nn.Linear(6, 2), nn.Linear(2, 6)), penalties={"p": (1.0, writing)}
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("part", HIDDEN)
def test_what_writes_into_a_batch_unasked_is_refused_and_data_stay(form, part):
    x, objective = MESSAGES.clone(), HIDDEN[part]()
    for call in (
        lambda data: aebook.fit(objective, data, epochs=1, device="cpu"),
        lambda data: aebook.evaluate(objective, data),
        lambda data: aebook.lbfgs(objective, data, device="cpu"),
        lambda data: aebook.applications.anomaly.reconstruction_error(objective, data),
    )[: 4 if part == "encoder" else 3]:
        with pytest.raises(ValueError, match=r"changes its input in place.*x = x\.clone"):
            call(FORMS[form](x))
        assert torch.equal(x, MESSAGES)


def test_a_bottleneck_that_works_in_place_is_refused():
    model = Autoencoder(nn.Linear(6, 2), nn.Linear(2, 6), nn.ReLU(inplace=True))
    assert aebook.encode(model, MESSAGES).min() >= 0
    with pytest.raises(ValueError, match=r"bottleneck that works in place.*inplace=True"):
        Objective(model)
