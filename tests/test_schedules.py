import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from aebook.training.schedules import constant, cosine, one_cycle

TIMES = st.floats(0, 1)


def torch_rates(scheduler, steps, **options):
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    made = scheduler(optimiser, **options)
    rates = []
    for _ in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        made.step()
    return rates


def test_constant_is_one():
    assert {constant(t / 10) for t in range(11)} == {1.0}


def test_cosine_is_the_cosine_annealing_of_pytorch():
    steps = 20
    expected = torch_rates(torch.optim.lr_scheduler.CosineAnnealingLR, steps, T_max=steps)
    assert [cosine(s / steps) for s in range(steps)] == pytest.approx(expected, abs=1e-12)


def test_one_cycle_is_that_of_pytorch():
    steps, peak = 101, 29
    expected = torch_rates(
        torch.optim.lr_scheduler.OneCycleLR,
        steps,
        max_lr=1.0,
        # PyTorch peaks at the step before pct_start * total_steps
        total_steps=steps,
        pct_start=(peak + 1) / steps,
        div_factor=25,
        final_div_factor=100,
        cycle_momentum=False,
    )
    up = [0.3 * s / peak for s in range(peak)]
    down = [0.3 + 0.7 * s / (steps - 1 - peak) for s in range(steps - peak)]
    assert [one_cycle(t) for t in up + down] == pytest.approx(expected, abs=1e-12)


def test_one_cycle_starts_peaks_and_ends_where_it_says():
    assert one_cycle(0.0) == pytest.approx(1 / 25)
    assert one_cycle(0.3) == 1.0
    assert one_cycle(1.0) == pytest.approx(1 / 2500)


@given(TIMES, TIMES)
def test_cosine_falls_and_one_cycle_rises_then_falls(s, t):
    s, t = sorted((s, t))
    assert cosine(s) >= cosine(t)
    assert 0 <= cosine(t) <= 1
    assert 1 / 2501 <= one_cycle(t) <= 1
    if t <= 0.3:
        assert one_cycle(s) <= one_cycle(t) + 1e-12
    elif s >= 0.3:
        assert one_cycle(s) >= one_cycle(t) - 1e-12


def test_the_mean_rate_of_each_half_cosine_is_that_of_its_ends():
    assert quad(cosine, 0, 1)[0] == pytest.approx(1 / 2)
    mean = 0.3 * (1 / 25 + 1) / 2 + 0.7 * (1 + 1 / 2500) / 2
    assert quad(one_cycle, 0, 1, points=[0.3])[0] == pytest.approx(mean)


@given(st.floats(1e-9, 1e-6))
def test_one_cycle_has_no_jump(step):
    assert abs(one_cycle(0.3 - step) - one_cycle(0.3 + step)) < 1e-9
