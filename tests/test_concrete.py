import math
import pickle
from itertools import pairwise

import pytest
import torch
from scipy.stats import chisquare, ks_2samp
from torch import nn
from torch.distributions import RelaxedOneHotCategorical

import aebook
from aebook.concrete import ConcreteSelector, relaxed_one_hot
from aebook.training import annealing, fit_until_converged, temperature_at
from aebook.training.schedules import constant

LOGITS = torch.tensor([1.5, 0.0, -0.7, 0.4, -2.0])


pytestmark = pytest.mark.usefixtures("on_the_cpu")


def puzzle(n=600):
    """Twenty features: four sources, two noisy copies of each, eight of noise alone; shuffled.

    Taking the four sources is the best choice of four: a copy says less of the others.
    """
    generator = torch.Generator().manual_seed(1)
    sources = torch.randn(n, 4, generator=generator)
    copies = torch.cat([sources, sources], 1) + 0.3 * torch.randn(n, 8, generator=generator)
    noise = 0.3 * torch.randn(n, 8, generator=generator)
    order = torch.randperm(20, generator=generator)
    x = torch.cat([sources, copies, noise], 1)[:, order]
    return x, sorted(order.argsort()[:4].tolist())


def decided(m, choices):
    """A selector that has decided for the given features."""
    selector = ConcreteSelector(m, len(choices))
    with torch.no_grad():
        selector.logits.zero_()
        selector.logits[range(len(choices)), choices] = 20.0
    return selector


# the distribution


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
def test_the_largest_entry_is_drawn_with_the_probability_of_the_softmax(temperature):
    n = 20_000
    drawn = relaxed_one_hot(LOGITS.expand(n, -1), temperature).argmax(1)
    observed = torch.bincount(drawn, minlength=5).numpy()
    expected = n * LOGITS.double().softmax(0).numpy()
    assert chisquare(observed, expected).pvalue > 1e-3


@pytest.mark.parametrize("temperature", [0.3, 1.0, 5.0])
def test_each_entry_has_the_distribution_that_torch_gives(temperature):
    n = 5000
    ours = relaxed_one_hot(LOGITS.expand(n, -1), temperature)
    oracle = RelaxedOneHotCategorical(torch.tensor(temperature), logits=LOGITS).sample((n,))
    for mine, theirs in zip(ours.T, oracle.T, strict=True):
        assert ks_2samp(mine.numpy(), theirs.numpy()).pvalue > 1e-3


def test_samples_lie_on_the_simplex_and_differ_from_call_to_call():
    first, second = (relaxed_one_hot(torch.randn(7, 5), 0.7) for _ in range(2))
    assert (first >= 0).all()
    torch.testing.assert_close(first.sum(-1), torch.ones(7))
    assert not torch.equal(first, second)


def test_a_low_temperature_gives_one_hot_vectors_and_a_high_one_the_mean():
    logits = torch.randn(200, 5)
    cold = relaxed_one_hot(logits, 1e-4)
    assert (cold.amax(1) > 1 - 1e-6).double().mean() > 0.99
    hot = relaxed_one_hot(logits, 1e4)
    torch.testing.assert_close(hot, torch.full_like(hot, 0.2), atol=2e-3, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("extreme", [0.0, 1.0])
def test_uniform_draws_at_the_ends_of_their_range_do_no_harm(extreme, dtype, monkeypatch):
    drawn = torch.tensor([0.5, extreme, 0.3, extreme, 0.9], dtype=dtype)
    monkeypatch.setattr(torch, "rand_like", lambda logits: drawn.clone())
    logits = LOGITS.to(dtype, copy=True).requires_grad_()
    sample = relaxed_one_hot(logits, 0.01)
    sample[0].backward()
    assert sample.isfinite().all()
    assert logits.grad.isfinite().all()


def test_with_the_same_noise_it_is_the_sample_that_torch_gives():
    oracle = RelaxedOneHotCategorical(torch.tensor(0.5), logits=LOGITS)
    torch.manual_seed(3)
    expected = oracle.rsample((20,))
    torch.manual_seed(3)
    torch.testing.assert_close(relaxed_one_hot(LOGITS.expand(20, -1), 0.5), expected)


@pytest.mark.parametrize("temperature", [10.0, 0.01])
def test_gradients_are_finite_and_reach_logits_and_decoder(temperature):
    objective = aebook.variants.concrete((20, 6, 3)).train()
    objective.model.encoder.set_temperature(temperature)
    for _ in range(50):
        objective(torch.rand(8, 20)).total.backward()
    for parameter in objective.parameters():
        assert parameter.grad.isfinite().all()
        assert parameter.grad.any()


def test_the_gradient_of_a_sample_is_that_of_a_softmax():
    torch.manual_seed(3)
    logits = torch.randn(4, dtype=torch.float64)
    gumbel = -(-torch.rand(4, dtype=torch.float64).log()).log()
    torch.manual_seed(3)
    logits = torch.randn(4, dtype=torch.float64).requires_grad_()
    sample = relaxed_one_hot(logits, 0.5)
    (gradient,) = torch.autograd.grad(sample[1], logits)
    s = ((logits.detach() + gumbel) / 0.5).softmax(0)
    torch.testing.assert_close(sample.detach(), s)
    expected = -s[1] * s / 0.5
    expected[1] += s[1] / 0.5
    torch.testing.assert_close(gradient, expected)


# the selector


def test_in_evaluation_the_code_is_a_copy_of_the_selected_features():
    selector, x = ConcreteSelector(9, 4).eval(), torch.randn(5, 9)
    chosen = [max(range(9), key=row.__getitem__) for row in selector.logits.tolist()]
    assert selector.selected.tolist() == chosen
    assert torch.equal(selector(x), x[:, chosen])
    assert torch.equal(selector(x), selector(x))


def test_in_training_one_matrix_serves_the_whole_batch():
    selector = ConcreteSelector(9, 4, temperature=0.8).train()
    x = torch.eye(9)
    matrix = selector(x).T  # what the nodes do to the unit vectors
    torch.testing.assert_close(matrix.sum(1), torch.ones(4))
    assert (matrix >= 0).all()
    torch.manual_seed(5)
    once = selector(torch.cat([x, x]))
    assert torch.equal(once[:9], once[9:])


def test_probabilities_and_confidence_are_those_of_the_softmax():
    selector = ConcreteSelector(3, 2)
    with torch.no_grad():
        selector.logits.copy_(torch.tensor([[0.0, 0.0, math.log(2)], [0.0, 0.0, 0.0]]))
    expected = torch.tensor([[0.25, 0.25, 0.5], [1 / 3] * 3])
    torch.testing.assert_close(selector.probabilities, expected)
    assert selector.confidence == pytest.approx((0.5 + 1 / 3) / 2)
    assert not selector.probabilities.requires_grad


@pytest.mark.parametrize(
    ("choices", "duplicates"),
    [([0, 3, 7], []), ([3, 0, 3], [3]), ([5, 1, 5, 1, 2, 5], [1, 5]), ([4], [])],
)
def test_duplicates_are_the_features_that_several_nodes_select(choices, duplicates):
    selector = decided(8, choices)
    assert selector.selected.tolist() == choices
    assert selector.duplicates.tolist() == duplicates
    assert selector.confidence == pytest.approx(1, abs=1e-6)


def test_the_temperature_is_a_buffer_that_forward_leaves_alone():
    selector = ConcreteSelector(9, 4).train()
    assert "temperature" in dict(selector.named_buffers())
    assert [name for name, _ in selector.named_parameters()] == ["logits"]
    for _ in range(3):
        selector(torch.rand(2, 9))
    assert selector.temperature == 10
    selector.set_temperature(0.5)
    other = ConcreteSelector(9, 4)
    other.load_state_dict(selector.state_dict())
    assert other.temperature == 0.5
    assert torch.equal(other.selected, selector.selected)
    assert repr(other) == "ConcreteSelector(m=9, k=4, temperature=0.5)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1), "got m=0, expected a whole number, 1 or more"),
        ((5, 2.5), r"got k=2\.5, expected a whole number"),
        ((5, 6), "got k=6, expected a whole number from 1 to 5"),
        ((5, 2, 0.0), r"got temperature=0\.0, expected a finite number above 0"),
        ((5, 2, math.inf), "got temperature=inf"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ConcreteSelector(*arguments)


@pytest.mark.parametrize("shape", [(3, 8), (9,), (3, 1, 9)])
def test_batches_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected \(B, 9\)"):
        ConcreteSelector(9, 4)(torch.rand(shape))


def test_a_temperature_that_makes_no_sense_is_refused():
    selector = ConcreteSelector(9, 4)
    with pytest.raises(ValueError, match=r"got temperature=-1"):
        selector.set_temperature(-1)
    with pytest.raises(ValueError, match=r"got start=0"):
        annealing(0, 0.1)
    with pytest.raises(ValueError, match="got end=nan"):
        annealing(1, math.nan)


# the schedule


def test_the_schedule_is_a_geometric_progression_between_its_ends():
    assert temperature_at(0) == 10
    assert temperature_at(1) == pytest.approx(0.01)
    assert temperature_at(0.5) == pytest.approx(math.sqrt(10 * 0.01))
    steps = [temperature_at(b / 60, 4, 0.1) for b in range(61)]
    assert (steps[0], steps[-1]) == pytest.approx((4, 0.1))
    ratios = [b / a for a, b in pairwise(steps)]
    assert ratios == pytest.approx([(0.1 / 4) ** (1 / 60)] * 60)


def test_fit_sets_the_temperature_before_each_step():
    objective = aebook.variants.concrete((6, 2))
    seen, schedule = [], annealing(8, 0.5)

    def watch(objective, t):
        schedule(objective, t)
        seen.append(float(objective.model.encoder.temperature))

    aebook.fit(objective, torch.rand(20, 6), epochs=3, batch_size=5, anneal=watch)
    assert seen == pytest.approx([8 * (0.5 / 8) ** (b / 12) for b in range(12)])
    # evaluation and inference leave it where training ended
    aebook.evaluate(objective, torch.rand(20, 6))
    assert float(objective.model.encoder.temperature) == seen[-1]


def test_the_schedule_can_be_pickled():
    schedule, objective = (
        pickle.loads(pickle.dumps(annealing(3, 1))),
        aebook.variants.concrete((6, 2)),
    )
    schedule(objective, 0.0)
    assert objective.model.encoder.temperature == 3


def test_a_schedule_without_a_selector_is_refused():
    with pytest.raises(ValueError, match="objective without a ConcreteSelector"):
        annealing()(aebook.variants.plain((6, 2)), 0.5)


class Interrupted(Exception):
    """Stands for a power cut."""


def test_a_resumed_run_ends_with_the_same_weights_and_temperature(tmp_path):
    x, schedule = torch.rand(30, 6), annealing(10, 0.1)

    def make():
        torch.manual_seed(0)
        return aebook.variants.concrete((6, 4, 2))

    def stop(objective, history):
        if len(history) == 3:
            raise Interrupted

    options = {"anneal": schedule, "epochs": 6, "batch_size": 10, "checkpoint": tmp_path / "run.pt"}
    whole, broken, resumed = make(), make(), make()
    aebook.fit(whole, x, epochs=6, batch_size=10, anneal=schedule)
    with pytest.raises(Interrupted):
        aebook.fit(broken, x, callback=stop, **options)
    aebook.fit(resumed, x, **options)
    for mine, theirs in zip(
        resumed.state_dict().values(), whole.state_dict().values(), strict=True
    ):
        assert torch.equal(mine, theirs)


# the autoencoder


def test_the_variant_selects_and_its_decoder_has_the_hidden_layers():
    objective = aebook.variants.concrete((20, 6, 3), output=None)
    assert isinstance(objective.model.encoder, ConcreteSelector)
    shapes = [tuple(p.shape) for p in objective.model.decoder.parameters() if p.dim() == 2]
    assert shapes == [(6, 3), (20, 6)]
    assert not any(isinstance(part, nn.Sigmoid) for part in objective.modules())
    x = torch.rand(5, 20)
    codes = objective.eval().model.encode(x)
    assert torch.equal(codes, x[:, objective.model.encoder.selected])


def test_the_variant_refuses_a_code_wider_than_the_message():
    with pytest.raises(ValueError, match="got k=8, expected a whole number from 1 to 6"):
        aebook.variants.concrete((6, 8))
    with pytest.raises(ValueError, match="expected at least 2 whole numbers"):
        aebook.variants.concrete((6,))


def test_it_combines_with_corruption_and_penalties():
    model = aebook.variants.concrete((20, 6, 3)).model
    objective = aebook.Objective(
        model,
        aebook.corruptions.masking(0.2),
        penalties={"l2": (0.01, aebook.penalties.weight_decay)},
    )
    history = aebook.fit(objective, torch.rand(30, 20), epochs=2, anneal=annealing())
    assert set(history.terms) == {"loss", "distance", "l2"}
    assert objective.model.encoder.temperature < 10


@pytest.mark.parametrize("seed", [0, 1])
def test_it_finds_the_features_that_the_others_are_copies_of(seed):
    x, sources = puzzle()
    torch.manual_seed(seed)
    objective = aebook.variants.concrete((20, 4), output=None)
    options = {"batch_size": 50, "lr": 5e-2, "schedule": constant, "seed": seed}
    aebook.fit(objective, x, epochs=100, anneal=annealing(), **options)
    selector = objective.model.encoder
    assert sorted(selector.selected.tolist()) == sources
    assert selector.duplicates.numel() == 0
    assert selector.confidence > 0.9


def test_training_until_converged_doubles_the_epochs_and_starts_anew():
    x, _ = puzzle(100)
    torch.manual_seed(0)
    objective = aebook.variants.concrete((20, 4), output=None)
    torch.manual_seed(0)
    alone = aebook.variants.concrete((20, 4), output=None)
    options = {"lr": 5e-2, "batch_size": 25}
    histories = fit_until_converged(objective, x, epochs=10, confidence=0.75, **options)
    epochs = [len(history) for history in histories]
    assert epochs == [10 * 2**i for i in range(len(epochs))]
    assert len(epochs) > 1
    assert objective.model.encoder.confidence >= 0.75
    # the last attempt is a run like any other
    options["schedule"] = constant
    aebook.fit(alone, x, epochs=epochs[-1], anneal=annealing(), **options)
    assert torch.equal(alone.model.encoder.logits, objective.model.encoder.logits)


def test_training_until_converged_says_when_it_did_not():
    x, _ = puzzle(50)
    objective = aebook.variants.concrete((20, 4), output=None)
    with pytest.warns(RuntimeWarning, match=r"ended with a confidence of 0\.\d+, expected 0\.99"):
        histories = fit_until_converged(objective, x, epochs=1, attempts=2)
    assert [len(history) for history in histories] == [1, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confidence": 1.0}, r"got confidence=1\.0, expected a finite number above 0 and"),
        ({"attempts": 0}, "got attempts=0, expected a whole number, 1 or more"),
        ({"epochs": 1.5}, r"got epochs=1\.5"),
        ({"checkpoint": "run.pt"}, "got a checkpoint, expected none"),
    ],
)
def test_training_until_converged_refuses_what_makes_no_sense(options, message):
    objective = aebook.variants.concrete((6, 2))
    with pytest.raises(ValueError, match=message):
        fit_until_converged(objective, torch.rand(5, 6), **{"epochs": 1, **options})


def test_training_until_converged_needs_a_selector():
    with pytest.raises(ValueError, match="objective without a ConcreteSelector"):
        fit_until_converged(aebook.variants.plain((6, 2)), torch.rand(5, 6), epochs=1)


@pytest.mark.parametrize("bad", [0, -1.0, math.nan, math.inf, "1", None, [1.0]])
def test_a_temperature_that_is_none_is_refused(bad):
    with pytest.raises(ValueError, match=r"^got temperature=.* above 0"):
        relaxed_one_hot(torch.zeros(3), bad)
    if isinstance(bad, int | float):
        with pytest.raises(ValueError, match=r"^got temperature=.* above 0"):
            relaxed_one_hot(torch.zeros(3), torch.tensor(float(bad)))
    with pytest.raises(ValueError, match=r"got logits of type torch\.int64"):
        relaxed_one_hot(torch.zeros(3, dtype=torch.long), 1.0)
