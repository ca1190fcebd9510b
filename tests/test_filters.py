import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aebook.applications.images import filters

STRENGTH = {
    "bm3d": 0.1,
    "gaussian": 1.0,
    "median": 3,
    "non_local_means": 0.1,
    "switching_median": 3,
    "total_variation": 0.1,
    "wavelet": 0.1,
}
NEEDED = {
    "bm3d": ["bm3d"],
    "non_local_means": ["skimage"],
    "total_variation": ["skimage"],
    "wavelet": ["skimage", "pywt"],
}
each = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.needs(*NEEDED.get(name, ()))) for name in STRENGTH],
)


def blocks(colour=False):
    """A picture of flat squares, which every filter should like."""
    g = np.random.default_rng(0)
    x = g.uniform(0.2, 0.8, (4, 4, 3) if colour else (4, 4))
    return x.repeat(8, 0).repeat(8, 1)


@pytest.mark.parametrize("colour", [False, True])
@each
def test_each_filter_makes_a_noisy_picture_better_and_leaves_its_input_alone(name, colour):
    x = blocks(colour)
    g = np.random.default_rng(1)
    if name == "switching_median":
        y = np.where(g.random(x.shape) < 0.2, g.integers(2, size=x.shape), x)
    else:
        y = x + 0.1 * g.standard_normal(x.shape)
    before = y.copy()
    out = getattr(filters, name)(y, STRENGTH[name])
    assert np.array_equal(y, before)
    assert out.shape == x.shape
    assert out.dtype == np.float64
    # by one decibel
    assert np.square(out - x).mean() < 10**-0.1 * np.square(y - x).mean()


@each
def test_a_flat_picture_stays_flat(name):
    x = np.full((16, 17), 0.4)
    # BM3D shrinks everything a little
    atol = 1e-3 if name == "bm3d" else 1e-6
    np.testing.assert_allclose(getattr(filters, name)(x, STRENGTH[name]), x, atol=atol)


@given(st.integers(0, 50), st.sampled_from([1, 3, 5]))
def test_the_medians_are_medians(seed, size):
    g = np.random.default_rng(seed)
    x = g.random((7, 6))
    x[g.random(x.shape) < 0.3] = 1
    x[g.random(x.shape) < 0.3] = 0
    half = size // 2
    padded = np.pad(x, half, mode="symmetric")
    median, switching = filters.median(x, size), filters.switching_median(x, size)
    for i in range(7):
        for j in range(6):
            window = padded[i : i + size, j : j + size]
            trusted = window[(window > 0) & (window < 1)]
            assert median[i, j] == np.sort(window.ravel())[size * size // 2]
            if 0 < x[i, j] < 1:
                assert switching[i, j] == x[i, j]
            else:
                expected = np.median(trusted) if trusted.size else median[i, j]
                assert switching[i, j] == pytest.approx(expected)


def test_the_gaussian_has_the_weights_of_its_formula():
    x = np.zeros((21, 21))
    x[10, 10] = 1
    out = filters.gaussian(x, 1.5)
    away = np.arange(-3, 4)
    expected = np.exp(-(away**2) / (2 * 1.5**2))
    np.testing.assert_allclose(out[10, 7:14] / out[10, 10], expected, rtol=1e-9)


@pytest.mark.needs("bm3d")
def test_bm3d_gives_the_same_twice():
    y = blocks()[:12, :12] + 0.1 * np.random.default_rng(2).standard_normal((12, 12))
    assert np.array_equal(filters.bm3d(y, 0.1), filters.bm3d(y, 0.1))


@each
def test_filters_refuse_what_makes_no_sense(name):
    function = getattr(filters, name)
    with pytest.raises(ValueError, match="expected one image"):
        function(np.zeros((2, 1, 8, 8)), STRENGTH[name])
    for bad in (0, -1, float("nan")) if "median" not in name else (0, 2, -3):
        with pytest.raises(ValueError, match=r"expected (a finite|an odd|a whole) number"):
            function(blocks(), bad)


@pytest.mark.needs("bm3d")
def test_bm3d_refuses_an_image_smaller_than_its_patches():
    with pytest.raises(ValueError, match="at least 8 × 8"):
        filters.bm3d(np.zeros((7, 20)), 0.1)


@pytest.mark.parametrize(
    ("name", "module", "package", "extra"),
    [
        pytest.param(
            *("wavelet", "pywt", "PyWavelets", "restoration"), marks=pytest.mark.needs("skimage")
        ),
        ("bm3d", "bm3d", "bm3d", "bm3d"),
        ("total_variation", "skimage.restoration", "scikit-image", "restoration"),
    ],
)
def test_a_missing_extra_is_named_with_the_command(monkeypatch, name, module, package, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"needs {package}.*aebook\[{extra}\]"):
        getattr(filters, name)(blocks(), 0.1)
