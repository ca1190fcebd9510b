import copy
import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import aebook
from aebook.corruptions import gaussian, masking, salt_and_pepper

KINDS = {
    "gaussian": gaussian(0.3),
    "masking": masking(0.3),
    "salt_and_pepper": salt_and_pepper(0.3),
}
PROBABILITIES = st.floats(0, 1)
SEEDS = st.integers(0, 2**31)


def within(count, p, draws, deviations=5):
    """Whether a binomial count is as near to its mean as it should be."""
    return abs(count - p * draws) <= deviations * math.sqrt(p * (1 - p) * draws)


@pytest.fixture(params=KINDS, ids=list(KINDS))
def corruption(request):
    return KINDS[request.param]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(4, 6), (4, 1, 3, 2)])
def test_shape_and_dtype_stay_and_the_message_is_not_written_to(corruption, shape, dtype):
    x = torch.rand(shape).to(dtype)
    before = x.clone()
    corrupted = corruption(x)
    assert corrupted.shape == x.shape
    assert corrupted.dtype == dtype
    assert torch.equal(x, before)


def test_each_call_draws_anew_and_the_seed_decides(corruption):
    x = torch.rand(20, 50)
    torch.manual_seed(3)
    first, second = corruption(x), corruption(x)
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    assert torch.equal(corruption(x), first)


def test_corruptions_can_be_copied_and_sent_to_another_process(corruption):
    x = torch.rand(5, 6)
    copies = (copy.deepcopy(corruption), pickle.loads(pickle.dumps(corruption)))
    torch.manual_seed(1)
    expected = corruption(x)
    for other in copies:
        torch.manual_seed(1)
        assert torch.equal(other(x), expected)


def test_integers_are_refused(corruption):
    with pytest.raises(ValueError, match=r"torch.uint8.*floating point.*255"):
        corruption(torch.zeros(3, 4, dtype=torch.uint8))


def test_gradients_pass_through_what_is_left(corruption):
    # low and high given, for the extremes of a batch have gradients too
    if "salt" in str(corruption):
        corruption = salt_and_pepper(0.3, 0.0, 1.0)
    x = (torch.rand(30, 40) / 2 + 0.25).requires_grad_()
    corrupted = corruption(x)
    corrupted.sum().backward()
    kept = (corrupted == x) if "gaussian" not in str(corruption) else torch.ones(30, 40)
    assert torch.equal(x.grad, kept.float())


@given(sigma=st.floats(1e-3, 1e3), seed=SEEDS)
def test_gaussian_noise_has_the_moments_of_its_law(sigma, seed):
    torch.manual_seed(seed)
    n = 20_000
    noise = (gaussian(sigma)(torch.full((100, n // 100), 0.5).double()) - 0.5).flatten() / sigma
    # mean, variance and fourth moment of N(0, 1) have variances 1/n, 2/n and 96/n
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (4, 3, 96)):
        assert abs((noise**power).mean() - moment) < 6 * math.sqrt(variance / n)


def test_gaussian_noise_is_independent_between_entries_and_messages():
    noise = gaussian(1.0)(torch.zeros(4000, 6).double())
    covariance = noise.T @ noise / 4000
    assert (covariance - torch.eye(6)).abs().max() < 6 * math.sqrt(2 / 4000)
    assert abs((noise[1:] * noise[:-1]).mean()) < 6 / math.sqrt(6 * 4000)


def test_no_noise_leaves_messages_as_they_are():
    x = torch.randn(5, 6)
    for corruption in (gaussian(0), masking(0), salt_and_pepper(0)):
        assert torch.equal(corruption(x), x)


@given(p=PROBABILITIES, seed=SEEDS)
def test_masked_entries_are_zero_with_probability_p_and_others_are_untouched(p, seed):
    torch.manual_seed(seed)
    x = torch.rand(100, 200) + 0.5
    corrupted = masking(p)(x)
    masked = corrupted == 0
    assert torch.equal(corrupted[~masked], x[~masked])
    assert within(int(masked.sum()), p, x.numel())


def test_masking_is_independent_between_entries():
    masked = (masking(0.5)(torch.ones(4000, 6)) == 0).double()
    covariance = (masked - 0.5).T @ (masked - 0.5) / 4000
    assert (covariance - torch.eye(6) / 4).abs().max() < 6 * 0.25 / math.sqrt(4000)


def test_masking_hides_whatever_was_there():
    x = torch.tensor([[math.nan, math.inf, -3.0]])
    corrupted = masking(1.0)(x)
    assert torch.equal(corrupted, torch.zeros(1, 3))
    assert not torch.signbit(corrupted).any()


@given(p=PROBABILITIES, seed=SEEDS)
def test_salt_and_pepper_come_from_a_fair_coin(p, seed):
    torch.manual_seed(seed)
    x = torch.rand(100, 200)
    corrupted = salt_and_pepper(p, -1.0, 2.0)(x)
    pepper, salt = corrupted == -1, corrupted == 2
    assert torch.equal(corrupted[~(pepper | salt)], x[~(pepper | salt)])
    assert within(int(pepper.sum()), p / 2, x.numel())
    assert within(int(salt.sum()), p / 2, x.numel())


def test_salt_and_pepper_take_the_extremes_of_the_batch_unless_told():
    x = torch.rand(50, 40) * 3 - 7
    corrupted = salt_and_pepper(0.5)(x)
    changed = corrupted[corrupted != x]
    assert set(changed.tolist()) == {x.min().item(), x.max().item()}


def test_columns_of_a_table_have_extremes_of_their_own():
    x = torch.randn(500, 3) * torch.tensor([1.0, 10.0, 100.0])
    low, high = x.amin(0), x.amax(0)
    corrupted = salt_and_pepper(0.5, low, high)(x)
    for column in range(3):
        changed = corrupted[:, column][corrupted[:, column] != x[:, column]]
        assert set(changed.tolist()) == {low[column].item(), high[column].item()}


def test_rare_noise_is_as_rare_in_half_precision():
    # bfloat16 knows 1/256 next to 0: a draw in it would miss p = 1e-3 by a factor
    x = torch.ones(1000, 1000, dtype=torch.bfloat16)
    assert within(int((masking(1e-3)(x) == 0).sum()), 1e-3, x.numel())


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf])
def test_what_is_no_probability_is_refused(value):
    for kind in (masking, salt_and_pepper):
        with pytest.raises(ValueError, match="expected a finite number"):
            kind(value)


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_what_is_no_standard_deviation_is_refused(value):
    with pytest.raises(ValueError, match=r"got sigma=.*, expected a finite number"):
        gaussian(value)


def test_extremes_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match=r"got low=1.* and high=0.*, expected low <= high"):
        salt_and_pepper(0.1, 1.0, 0.0)
    with pytest.raises(ValueError, match="expected low <= high"):
        salt_and_pepper(0.1, torch.tensor([0.0, 2.0]), torch.tensor([1.0, 1.0]))


def test_a_compiled_objective_corrupts_too():
    objective = aebook.variants.denoising((6, 3), KINDS["masking"])
    graph = torch.compile(objective, backend="eager", fullgraph=True)
    assert graph(torch.rand(4, 6)).total.isfinite()
