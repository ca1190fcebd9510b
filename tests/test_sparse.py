import copy

import pytest
import torch
from torch import nn

import aebook
from aebook.sparse import SparseLinear, sparse_decoder, sparse_linear, unit_columns


def codes(rows=6, units=11, k=3):
    h = torch.randn(rows, units, dtype=torch.float64)
    return aebook.bottlenecks.TopK(k)(h)


def columns(decoder):
    return [layer.map.weight for layer in decoder]


@pytest.mark.parametrize("bias", [True, False])
def test_the_sum_over_active_units_is_the_dense_product(bias):
    z, weight = codes(), torch.randn(11, 4, dtype=torch.float64)
    b = torch.randn(4, dtype=torch.float64) if bias else None
    expected = z @ weight + (0 if b is None else b)
    torch.testing.assert_close(sparse_linear(z, weight, b), expected)


def test_samples_may_have_any_number_of_active_units_none_included():
    z = torch.zeros(5, 7, dtype=torch.float64)
    z[1, 2], z[3] = -1.5, torch.arange(7.0)
    weight, b = torch.randn(7, 4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    torch.testing.assert_close(sparse_linear(z, weight, b), z @ weight + b)
    torch.testing.assert_close(sparse_linear(0 * z, weight, b), b.expand(5, 4))


def test_gradients_are_those_of_the_dense_product_at_active_units_and_zero_elsewhere():
    z, weight = codes(), torch.randn(11, 4, dtype=torch.float64)
    b, probe = torch.randn(4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    found, expected = [], []
    for grads, f in (
        (found, lambda z, w, b: sparse_linear(z, w, b)),
        (expected, lambda z, w, b: z @ w + b),
    ):
        inputs = [t.clone().requires_grad_() for t in (z, weight, b)]
        (f(*inputs) * probe).sum().backward()
        grads += [t.grad for t in inputs]
    torch.testing.assert_close(found[0], expected[0] * (z != 0))
    torch.testing.assert_close(found[1:], expected[1:])


def test_gradcheck_of_the_active_entries():
    z, weight = codes(3, 5, 2), torch.randn(5, 4, dtype=torch.float64)
    values, where = z[z != 0], (z != 0).nonzero(as_tuple=True)

    def f(values, weight):
        return sparse_linear(torch.zeros_like(z).index_put(where, values), weight)

    torch.autograd.gradcheck(f, (values.requires_grad_(), weight.requires_grad_()))


@pytest.mark.parametrize("by", ["value", "magnitude"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("widths", [(9, 20), (9, 8, 20)])
def test_a_whole_objective_has_the_loss_and_the_gradients_of_the_dense_one(widths, tied, by):
    dense = aebook.variants.k_sparse(widths, 4, tied=tied, by=by).double()
    sparse = copy.deepcopy(dense)
    assert sparse_decoder(sparse.model.decoder) is sparse.model.decoder
    x, grads = torch.rand(5, 9, dtype=torch.float64), []
    for objective in (dense, sparse):
        objective(x).total.backward()
        grads.append({n: p.grad for n, p in objective.named_parameters()})
    torch.testing.assert_close(sparse(x).total, dense(x).total)
    assert grads[0].keys() == grads[1].keys()
    for name, expected in grads[0].items():
        found = grads[1][name]
        torch.testing.assert_close(found if found.shape == expected.shape else found.T, expected)


def test_variant_with_a_sparse_decode_trains_to_the_dense_weights():
    x, losses = torch.rand(64, 9), []
    for sparse_decode in (False, True):
        torch.manual_seed(0)
        objective = aebook.variants.k_sparse((9, 40), 3, sparse_decode=sparse_decode)
        losses.append(aebook.fit(objective, x, epochs=3, batch_size=16, lr=1e-2).loss)
    assert isinstance(objective.model.decoder[0].map, SparseLinear)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_sparse_layer_prints_its_shape_and_starts_at_the_scale_of_the_others():
    layer = SparseLinear(300, 200, bias=False)
    assert repr(layer) == "SparseLinear(300, 200, bias=False)"
    assert layer.weight.var().item() == pytest.approx(2 / 500, rel=0.05)


@pytest.mark.parametrize("first", ["sparse", "unit"])
def test_columns_stay_at_unit_norm_through_training(first):
    objective = aebook.variants.k_sparse((9, 6, 20), 4)
    if first == "sparse":
        sparse_decoder(objective.model.decoder)
    before = [w.clone() for w in columns(objective.model.decoder)]
    unit_columns(objective.model.decoder)
    unit_columns(objective.model.decoder)  # a second call changes nothing
    # a sparse layer is stored by rows
    along = [1 if first == "sparse" else 0, 0]
    expected = [w / w.norm(dim=d, keepdim=True) for w, d in zip(before, along, strict=True)]
    for w, start in zip(columns(objective.model.decoder), expected, strict=True):
        torch.testing.assert_close(w, start)
    aebook.fit(objective, torch.rand(64, 9), epochs=2, batch_size=16, lr=1e-2)
    for w, start, d in zip(columns(objective.model.decoder), expected, along, strict=True):
        torch.testing.assert_close(w.norm(dim=d), torch.ones(w.shape[1 - d]))
        assert not torch.allclose(w, start, atol=1e-3)


def test_l1_falls_for_free_without_unit_columns_and_not_with_them():
    free = aebook.Objective(
        aebook.variants.plain((9, 20), code=nn.ReLU, output=None).model,
        penalties={"l1": (0.1, aebook.penalties.activity())},
    ).double()
    unit = copy.deepcopy(free)
    unit_columns(unit.model.decoder)
    x = torch.rand(5, 9, dtype=torch.float64)
    for objective in (free, unit):
        before, old = objective(x), columns(objective.model.decoder)[0].clone()
        with torch.no_grad():
            for p in objective.model.encoder.parameters():
                p.div_(100)
            for p in objective.model.decoder.parameters():
                if p.dim() == 2:
                    p.mul_(100)
        after, new = objective(x), columns(objective.model.decoder)[0]
        torch.testing.assert_close(after.terms["l1"], before.terms["l1"] / 100)
        if objective is free:
            torch.testing.assert_close(after.terms["distance"], before.terms["distance"])
        else:
            torch.testing.assert_close(new, old)
            assert not torch.isclose(after.terms["distance"], before.terms["distance"])


def test_unit_columns_survive_copies_state_dicts_and_resumed_checkpoints(tmp_path):
    def make():
        torch.manual_seed(0)
        options = {"target": None, "kind": "l1", "unit_columns": True}
        return aebook.variants.sparse((9, 20), 1e-2, **options)

    x = torch.rand(64, 9)
    whole = make()
    aebook.fit(whole, x, epochs=4, batch_size=16, checkpoint=tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop(objective, history):
        if len(history) == 2:
            raise Stop

    resumed, path = make(), tmp_path / "resumed"
    go = {"epochs": 4, "batch_size": 16, "checkpoint": path}
    with pytest.raises(Stop):
        aebook.fit(resumed, x, callback=stop, **go)
    resumed = make()
    aebook.fit(resumed, x, **go)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)

    other = make()
    other.load_state_dict(whole.state_dict())
    for twin in (copy.deepcopy(whole), other.eval()):
        assert torch.equal(twin.model(x), whole.model(x))
        assert twin.model.decoder[0].map.weight is not whole.model.decoder[0].map.weight


def test_misuse_is_refused_with_advice():
    with pytest.raises(ValueError, match=r"codes of shape \(2, 3\) for a weight of \(4, 5\)"):
        sparse_linear(torch.rand(2, 3), torch.rand(4, 5))
    tied = aebook.variants.k_sparse((9, 20), 4, tied=True).model.decoder
    for decoder in (tied, sparse_decoder(copy.deepcopy(tied))):
        with pytest.raises(ValueError, match="tied decoder"):
            unit_columns(decoder)
    _, convolutions = aebook.networks.convolutional((1, 8, 8), (2,), 3)
    for make in (sparse_decoder, unit_columns):
        for decoder in (convolutions, nn.GRU(3, 4)):
            with pytest.raises(ValueError, match=r"expected a .* networks\.mlp"):
                make(decoder)
    plain = aebook.variants.k_sparse((9, 20), 4).model.decoder
    with pytest.raises(ValueError, match="call sparse_decoder first"):
        sparse_decoder(unit_columns(plain))


def test_sparse_decoder_twice_is_the_same():
    decoder = aebook.variants.k_sparse((9, 20), 4, tied=True).model.decoder
    first = sparse_decoder(decoder)[0].map
    z = aebook.bottlenecks.TopK(2)(torch.randn(3, 20))
    expected = decoder(z)
    sparse_decoder(decoder)
    torch.testing.assert_close(decoder(z), expected)
    assert type(decoder[0].map) is type(first)


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("kind", ["layer", "sequence", "mlp"])
def test_decoders_of_ones_own_gather_too_and_keep_their_columns(kind, wide):
    make = {
        "layer": lambda: nn.Linear(40, 6),
        "sequence": lambda: nn.Sequential(nn.Linear(40, 9), nn.Tanh(), nn.Linear(9, 6)),
        "mlp": lambda: aebook.networks.mlp((40, 9, 6)),
    }
    torch.manual_seed(0)
    decoder, x = make[kind](), torch.rand(5, 6)
    encoder = nn.Linear(6, 40)
    dense = aebook.variants.k_sparse((encoder, copy.deepcopy(decoder)), 3)
    sparse = aebook.variants.k_sparse((encoder, decoder), 3, sparse_decode=True)
    torch.testing.assert_close(sparse(x).total, dense(x).total)
    assert any(isinstance(part, SparseLinear) for part in sparse.model.decoder.modules())
    objective = aebook.variants.sparse(
        (nn.Sequential(encoder, nn.Sigmoid()), make[kind]()), 0.1, unit_columns=True
    )
    aebook.fit(objective, x, epochs=1)
    for part in objective.model.decoder.modules():
        if isinstance(part, nn.Linear):
            torch.testing.assert_close(part.weight.norm(dim=0), torch.ones(part.in_features))


@pytest.mark.parametrize(
    "decoder",
    [
        nn.Sequential(nn.ReLU(), nn.Linear(40, 6)),
        nn.Sequential(nn.Linear(40, 8), nn.LayerNorm(8)),
        nn.Sequential(nn.Unflatten(1, (10, 2, 2)), nn.Conv2d(10, 1, 2)),
        nn.Identity(),
    ],
    ids=["late", "norm", "conv", "none"],
)
def test_decoders_that_do_not_begin_with_a_linear_layer_do_not_gather(decoder):
    with pytest.raises(ValueError, match="expected a"):
        sparse_decoder(decoder)
