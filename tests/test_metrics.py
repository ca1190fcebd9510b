import pytest
import torch

from aebook.metrics import dead_units, fvu, l0


def test_fvu_against_two_loops():
    x, x1 = torch.randn(6, 3), torch.randn(6, 3)
    mean = [sum(x[n, j].item() for n in range(6)) / 6 for j in range(3)]
    error = sum((x[n, j] - x1[n, j]).item() ** 2 for n in range(6) for j in range(3))
    total = sum((x[n, j].item() - mean[j]) ** 2 for n in range(6) for j in range(3))
    assert fvu(x1, x) == pytest.approx(error / total, rel=1e-5)


def test_fvu_is_zero_for_a_copy_one_for_the_mean_and_more_for_worse():
    x = torch.randn(8, 1, 4, 4)
    assert fvu(x, x) == 0
    assert fvu(x.double().mean(0).expand_as(x), x) == pytest.approx(1)
    assert fvu(-x, x) > 1


def test_l0_counts_what_is_not_zero():
    assert l0(torch.tensor([[0.0, 1, -2], [0, 0, 3], [0, 0, 0]])) == 1
    assert l0(torch.ones(4, 7)) == 7


def test_a_unit_is_dead_if_no_sample_activates_it():
    codes = torch.tensor([[0.0, 0, 1, 0], [0, -1, 0, 0]])
    assert dead_units(codes) == 2
    assert dead_units(codes[:1]) == 3
    assert isinstance(dead_units(codes), int)


def test_misuse_is_refused():
    with pytest.raises(ValueError, match="expected the same with two samples"):
        fvu(torch.rand(4, 3), torch.rand(4, 2))
    with pytest.raises(ValueError, match="expected the same with two samples"):
        fvu(torch.rand(1, 3), torch.rand(1, 3))
    with pytest.raises(ValueError, match="expected some variance"):
        fvu(torch.rand(3, 2), torch.ones(3, 2))
    for metric in (l0, dead_units):
        for codes in (torch.rand(3), torch.rand(0, 3)):
            with pytest.raises(ValueError, match=r"expected \(N, p\) with N > 0"):
                metric(codes)
