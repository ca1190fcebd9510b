import pytest
import torch
from torch import nn

import aebook
from aebook.distances import bernoulli


def parts(chain):
    return [type(module) for layer in chain for module in layer]


def test_plain_mirrors_its_widths_with_a_linear_code_and_a_sigmoid_at_the_end():
    model = aebook.variants.plain((7, 5, 2)).model
    assert parts(model.encoder) == [nn.Linear, nn.ReLU, nn.Linear]
    assert parts(model.decoder) == [nn.Linear, nn.ReLU, nn.Linear, nn.Sigmoid]
    shapes = [tuple(p.shape) for p in model.parameters() if p.dim() == 2]
    assert shapes == [(5, 7), (2, 5), (5, 2), (7, 5)]


def test_plain_takes_activations_and_a_distance():
    objective = aebook.variants.plain(
        (7, 5, 2), activation=nn.Tanh, code=nn.Sigmoid, output=None, distance=torch.dist
    )
    assert parts(objective.model.encoder) == [nn.Linear, nn.Tanh, nn.Linear, nn.Sigmoid]
    assert parts(objective.model.decoder) == [nn.Linear, nn.Tanh, nn.Linear]
    assert objective.distance is torch.dist


def test_plain_with_bernoulli_is_trainable():
    objective = aebook.variants.plain((7, 2), distance=bernoulli)
    loss = objective(torch.rand(3, 7))
    loss.total.backward()
    assert all(p.grad.isfinite().all() for p in objective.parameters())


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("widths", [(6, 2), (6, 4, 2)])
def test_linear_is_affine_of_the_rank_of_its_code(widths, bias, tied):
    model = aebook.variants.linear(widths, bias=bias, tied=tied).double().model.eval()
    x = torch.randn(20, 6, dtype=torch.float64)
    a, b = torch.randn(2, dtype=torch.float64)
    origin = model(torch.zeros(1, 6, dtype=torch.float64))
    torch.testing.assert_close(
        model(a * x[:10] + b * x[10:]) - origin,
        a * (model(x[:10]) - origin) + b * (model(x[10:]) - origin),
    )
    assert torch.linalg.matrix_rank(model(x) - origin) == 2
    if not bias:
        assert not origin.any()


@pytest.mark.parametrize("make", [aebook.variants.plain, aebook.variants.linear])
def test_tied_variants_have_half_the_weights(make):
    free, tied = make((6, 4, 2)), make((6, 4, 2), tied=True)
    count = lambda o: sum(p.numel() for p in o.parameters() if p.dim() == 2)  # noqa: E731
    assert count(free) == 2 * count(tied)


@pytest.mark.parametrize("make", [aebook.variants.plain, aebook.variants.linear])
def test_variants_refuse_a_single_width(make):
    with pytest.raises(ValueError, match="expected at least 2 whole numbers"):
        make((784,))


# --- what every variant takes

GIVEN = {
    "k_sparse": (2,),
    "sparse": (0.1,),
    "denoising": (aebook.corruptions.masking(0.2),),
    "contractive": (0.1,),
}
ALL = sorted(aebook.variants.__all__)
OWN = {"denoising": set()}


def make(name, widths=(6, 4, 3), **options):
    torch.manual_seed(0)
    return getattr(aebook.variants, name)(widths, *GIVEN.get(name, ()), **options)


def networks(name):
    """Networks of one's own that suit a variant."""
    code = 2 * 3 if name == "variational" else 3
    squash = [] if name in ("binary", "variational") else [nn.Sigmoid()]
    encoder = nn.Sequential(nn.Linear(6, code), *squash)
    if name == "concrete":
        encoder = aebook.concrete.ConcreteSelector(6, 3)
    return encoder, nn.Sequential(nn.Linear(3, 6), nn.Sigmoid())


@pytest.mark.parametrize("name", ALL)
def test_networks_of_ones_own_take_the_place_of_widths(name):
    encoder, decoder = networks(name)
    objective = make(name, (encoder, decoder))
    assert objective.model.encoder is encoder
    assert objective.model.decoder is decoder
    made = make(name)
    assert type(objective.model.bottleneck) is type(made.model.bottleneck)
    # of layers, only the last is treated
    assert {p.split("_")[0] for p in objective.penalties} == {
        p.split("_")[0] for p in made.penalties
    }
    loss = objective.train()(torch.rand(5, 6))
    loss.total.backward()
    assert loss.total.isfinite()


@pytest.mark.parametrize("name", ALL)
def test_what_belongs_into_networks_is_refused_beside_them(name):
    import inspect

    parameters = inspect.signature(getattr(aebook.variants, name)).parameters
    for argument in {"activation", "code", "output", "tied", "bias", "centred"} & parameters.keys():
        with pytest.raises(ValueError, match=f"^got networks and {argument}, which {name} takes"):
            make(name, networks(name), **{argument: parameters[argument].default})


@pytest.mark.parametrize("name", ALL)
def test_every_variant_takes_a_corruption_a_distance_and_more_penalties(name):
    def corruption(x):
        return 0.5 * x

    def distance(reconstruction, target):
        return (reconstruction - target).abs().sum(1)

    def size(seen):
        return seen.code.square().sum(1)

    options = {"corruption": corruption, "distance": distance, "penalties": {"size": (0.3, size)}}
    if name == "denoising":
        del options["corruption"]
    if name == "linear":
        del options["distance"]
    before, after = make(name).train(), make(name, **options).train()
    for key, value in options.items():
        if key != "penalties":
            assert getattr(after, key) is value
    assert list(after.penalties) == [*before.penalties, "size"]
    ours, theirs = after.model.state_dict(), before.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    x = torch.rand(5, 6)
    assert after(x).terms["size"] > 0


@pytest.mark.parametrize("name", ["sparse", "variational", "contractive"])
def test_a_penalty_of_the_variants_own_name_is_refused(name):
    (own, *_) = make(name).penalties
    with pytest.raises(ValueError, match=f"got a penalty '{own}', which the variant has"):
        make(name, penalties={own: (1.0, aebook.penalties.weight_decay)})


@pytest.mark.parametrize("name", [n for n in ALL if n not in ("concrete", "variational")])
def test_tied_and_without_biases_where_the_mathematics_allows(name):
    tied = make(name, tied=True, bias=False)
    free = make(name, tied=False, bias=True)
    shapes = [tuple(p.shape) for p in tied.model.parameters()]
    assert shapes == [(4, 6), (3, 4)]
    assert sum(p.dim() == 1 for p in free.model.parameters()) == 4


def test_a_convolutional_variational_autoencoder_is_one_line():
    parts = aebook.networks.convolutional((1, 9, 7), (3, 4), 2, posterior=True)
    objective = aebook.variants.variational(parts, distance=aebook.distances.Gaussian())
    x = torch.rand(6, 1, 9, 7)
    history = aebook.fit(objective, x, epochs=2, progress=False)
    assert list(history.terms) == ["loss", "distance", "kl"]
    assert objective.model.encode(x).shape == (6, 2)
    assert aebook.theory.likelihood.sample(objective.model, 4).shape == (4, 1, 9, 7)


def test_the_layers_of_a_plain_sequence_are_seen_one_by_one():
    encoder = nn.Sequential(nn.Linear(6, 4), nn.Sigmoid(), nn.Linear(4, 3), nn.Sigmoid())
    chain = aebook.networks.Chain((6,), encoder[:2], encoder[2:])
    x = torch.rand(5, 6)
    for layer, same in ((1, 0), (3, 1), (-1, -1)):
        first, second = (
            aebook.Objective(
                aebook.Autoencoder(network, nn.Linear(3, 6)),
                penalties={"sparsity": (1.0, aebook.penalties.sparsity(0.2, layer=number))},
            )
            for network, number in ((encoder, layer), (chain, same))
        )
        a, b = (o(x).terms["sparsity"] for o in (first, second))
        torch.testing.assert_close(a, b)
    seen = []
    encoder.register_forward_hook(lambda *_: seen.append(1))
    aebook.Objective(aebook.Autoencoder(encoder, nn.Linear(3, 6)))(x)
    assert seen == [1]


class Own(nn.Sequential):
    pass


class Otherwise(nn.Sequential):
    def forward(self, x):
        return super().forward(x).relu()


def test_the_layers_of_a_sequence_are_seen_through_hooks_and_classes():
    x, layers = torch.randn(5, 6), aebook.core.layers
    parts = nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 4), nn.Tanh()
    expected = layers(nn.Sequential(*parts), x)
    torch.testing.assert_close(layers(Own(*parts), x), expected)
    hooked = nn.Sequential(*parts)
    hooked.register_forward_hook(lambda module, given, output: 2 * output)
    torch.testing.assert_close(layers(hooked, x), (*expected[:-1], 2 * expected[-1]))
    assert not any(part._forward_hooks for part in parts)
    # a part that comes twice, the second time last
    twice = nn.Sequential(parts[0], parts[1], parts[0])
    again = layers(twice, x)
    twice.register_forward_pre_hook(lambda module, given: None)
    torch.testing.assert_close(layers(twice, x), again)
    # what computes otherwise is one layer
    (output,) = layers(Otherwise(*parts), x)
    torch.testing.assert_close(output, expected[-1].relu())


def test_sparsity_counts_the_last_layers_of_an_encoder_of_ones_own():
    encoder = nn.Sequential(nn.Linear(6, 4), nn.Sigmoid(), nn.Linear(4, 3), nn.Sigmoid())
    objective = aebook.variants.sparse(
        (encoder, nn.Linear(3, 6)), [0.1, 0.0, 0.2], target=[0.1, 0.2, 0.3]
    )
    x = torch.rand(5, 6)
    with pytest.raises(ValueError, match="expected 0 to 1"):  # the second layer is linear
        objective(10 * x)
    layers = aebook.core.layers(encoder, x)
    own = aebook.variants.sparse((encoder, nn.Linear(3, 6)), 0.2, target=0.3)
    rho = layers[-1].mean(0)
    kl = 0.3 * (0.3 / rho).log() + 0.7 * (0.7 / (1 - rho)).log()
    torch.testing.assert_close(own(x).terms["sparsity"], 0.2 * kl.sum())


def test_a_convolutional_sparse_autoencoder_is_one_line():
    parts = aebook.networks.convolutional((1, 9, 7), (4,), 5, code_activation=nn.Sigmoid)
    objective = aebook.variants.sparse(parts, 0.1)
    x = torch.rand(8, 1, 9, 7)
    aebook.fit(objective, x, epochs=1)
    codes = objective.model.encode(x)
    assert codes.min() >= 0
    assert codes.max() <= 1


def test_the_temperature_of_a_selector_is_given_when_it_is_made():
    assert aebook.variants.concrete((6, 3), temperature=0.1).model.encoder.temperature == 0.1
    with pytest.raises(ValueError, match="networks and temperature"):
        aebook.variants.concrete(networks("concrete"), temperature=0.1)


def assembled(corruption, penalties):
    """What applications make of the variants, each with a message that it takes."""
    molecules, words = aebook.applications.molecules, aebook.applications.words
    compression = aebook.applications.compression
    given = dict(corruption=corruption, penalties=penalties)
    symbols = torch.randint(3, 5, (4, 6))
    yield molecules.variational(5, 4, 6, hidden=8, **given), symbols
    yield words.word_autoencoder(8, 2, penalties=penalties), torch.rand(4, 8).softmax(1)
    yield compression.transform_coder(0.1, hidden=4, **given), torch.rand(2, 3, 32, 32)


def test_what_applications_assemble_takes_penalties_too():
    seen = []
    more = {"decay": (0.5, aebook.penalties.weight_decay)}
    for objective, x in assembled(lambda x: seen.append(1) or x, more):
        terms = objective(x).terms
        decay = aebook.penalties.weight_decay(aebook.core.Pass(objective.model, *[x] * 5))
        torch.testing.assert_close(terms["decay"], 0.5 * decay)
    assert len(seen) == 2
    with pytest.raises(ValueError, match="rename yours"):
        aebook.applications.molecules.variational(5, 4, 6, penalties={"kl": more["decay"]})
