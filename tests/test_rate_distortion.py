import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import features
from scipy import integrate

from aebook.applications.compression.rate_distortion import (
    Curve,
    bd_psnr,
    bd_rate,
    bits_per_pixel,
    curve,
    pareto,
    pillow,
)
from aebook.metrics import psnr

METHODS = ("pchip", "akima", "cubic")

# libx265 at four settings with two presets: an example of Herglotz et al., whose package
# bjontegaard 1.3.0 gave the numbers below and agrees with the spreadsheet of JVET
PRESETS = (
    ([9487.76, 4593.60, 2486.44, 1358.24], [40.037, 38.615, 36.845, 34.851]),
    ([9787.80, 4469.00, 2451.52, 1356.24], [40.121, 38.651, 36.970, 34.987]),
)
# the example that goes with most implementations, with values of the same package
EXAMPLE = (
    ([686.76, 309.58, 157.11, 85.95], [40.28, 37.18, 34.24, 31.42]),
    ([893.34, 407.8, 204.93, 112.75], [40.39, 37.21, 34.17, 31.24]),
)
PUBLISHED = [
    (PRESETS, "cubic", -4.420462706, 0.120409419),
    (PRESETS, "pchip", -4.417485351, 0.119692785),
    (PRESETS, "akima", -4.425245157, 0.119409270),
    (EXAMPLE, "cubic", 31.39737405, -1.184897922),
    (EXAMPLE, "pchip", 31.37987820, -1.183472405),
    (EXAMPLE, "akima", 31.38398898, -1.183658970),
]
# means over the Kodak photographs as CompressAI publishes them: OpenJPEG in ffmpeg 3.4.6, and the
# factorised prior of Ballé et al. 2018 trained for squared error
# fmt: off
JPEG_2000 = (
    [
        2.397323, 1.198240, 0.798280, 0.598829, 0.479290, 0.398625, 0.341843, 0.298563,
        0.265727, 0.239409, 0.217566, 0.199174, 0.184436, 0.170674, 0.159484, 0.148884,
        0.140762, 0.132456, 0.125799,
    ],
    [
        39.7920, 35.6807, 33.4900, 32.0897, 31.0746, 30.3008, 29.6961, 29.1917,
        28.7742, 28.4166, 28.0992, 27.7966, 27.5545, 27.3170, 27.1183, 26.9228,
        26.7574, 26.5862, 26.4404,
    ],
)
# fmt: on
FACTORISED = (
    [0.122623, 0.188527, 0.287808, 0.440379, 0.648136, 0.966977, 1.351166, 1.833266],
    [26.9088, 28.2179, 29.6169, 31.2771, 32.9561, 35.3809, 37.3969, 39.6213],
)


# Bjøntegaard deltas --------------------------------------------------------------------------


@pytest.mark.parametrize(("curves", "method", "rate", "quality"), PUBLISHED)
def test_deltas_of_published_curves(curves, method, rate, quality):
    assert bd_rate(*curves, method) == pytest.approx(rate, abs=1e-6)
    assert bd_psnr(*curves, method) == pytest.approx(quality, abs=1e-6)


def test_what_is_published_of_the_factorised_prior_against_jpeg_2000():
    assert bd_rate(JPEG_2000, FACTORISED, "cubic") == pytest.approx(-14.4, abs=0.1)
    for method in METHODS:
        assert -15 < bd_rate(JPEG_2000, FACTORISED, method) < -14


curves = st.tuples(
    st.lists(st.floats(0.1, 2), min_size=4, max_size=8),
    st.lists(st.floats(0.1, 3), min_size=8, max_size=8),
).map(lambda t: (np.cumsum(t[0]), 25 + np.cumsum(t[1][: len(t[0])])))


@settings(max_examples=12)
@given(curves, st.floats(-0.9, 3), st.sampled_from(METHODS))
def test_a_share_more_of_every_rate_is_that_share(given_curve, more, method):
    rate, quality = given_curve
    found = bd_rate((rate, quality), (rate * (1 + more), quality), method)
    assert found == pytest.approx(100 * more, abs=1e-6)


@given(curves, st.floats(-5, 5), st.sampled_from(METHODS))
def test_a_shift_of_every_quality_is_that_shift(given_curve, shift, method):
    rate, quality = given_curve
    assert bd_psnr((rate, quality), (rate, quality + shift), method) == pytest.approx(
        shift, abs=1e-6
    )


@given(curves, curves)
def test_there_and_back_is_nothing(one, other):
    try:
        there = bd_rate(one, other)
    except ValueError:
        return  # no quality in common
    assert (1 + there / 100) * (1 + bd_rate(other, one) / 100) == pytest.approx(1)
    shuffled = tuple(values[::-1] for values in one)
    assert bd_rate(shuffled, other) == there


@pytest.mark.parametrize("method", METHODS)
def test_straight_lines_have_the_delta_of_the_integral(method):
    # quality is 10 log2 of the rate, and 9 log2 of it plus 2
    rate = np.array([1.0, 2, 4, 8, 16])
    a, b = (rate, 10 * np.log2(rate)), (rate, 9 * np.log2(rate) + 2)
    high = min(a[1][-1], b[1][-1])
    area, _ = integrate.quad(lambda q: (q - 2) / 9 - q / 10, 2, high)
    assert bd_rate(a, b, method) == pytest.approx(100 * (2 ** (area / (high - 2)) - 1))


@pytest.mark.parametrize(
    ("anchor", "says"),
    [
        (([1, 2, 3], [1, 2, 3]), "four points or more"),
        (([1, 2, 3, 4], [1, 2, 3]), "four points or more"),
        (([0, 1, 2, 3], [1, 2, 3, 4]), "not above 0"),
        (([1, 2, 3, 4], [1, 2, 3, np.inf]), "not finite"),
        (([1, 2, 3, 4], [1, 3, 2, 4]), r"use pareto"),
        (([1, 2, 2, 4], [1, 2, 3, 4]), r"use pareto"),
        (([1, 2, 3, 4], [60, 70, 80, 90]), "no qualities in common"),
    ],
)
def test_curves_that_cannot_be_compared_are_refused(anchor, says):
    with pytest.raises(ValueError, match=says):
        bd_rate(anchor, PRESETS[0])
    with pytest.raises(ValueError, match="expected 'pchip', 'akima' or 'cubic'"):
        bd_rate(*PRESETS, method="linear")


# Curves --------------------------------------------------------------------------------------


points = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=12)


@given(points, points)
def test_what_is_kept_is_what_no_other_point_beats(one, other):
    kept = pareto(*(Curve(*np.array(each, float).T) for each in (one, other)))
    best = {
        p
        for p in one + other
        if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in one + other)
    }
    assert sorted(best) == [(int(r), int(q)) for r, q in zip(*kept, strict=True)]


def gradient():
    g = np.random.default_rng(0)
    ramp = np.add.outer(np.arange(40), 2 * np.arange(56))[:, :, None] + np.array([0, 30, 60])
    return (ramp + g.integers(0, 12, (40, 56, 3))).astype(np.uint8)


def test_bits_count_every_byte_and_every_pixel_once():
    assert bits_per_pixel(bytes(100), np.zeros((20, 10, 3))) == 4
    assert bits_per_pixel(bytes(100), np.zeros((20, 10))) == 4


@pytest.mark.parametrize(
    ("format", "settings"),
    [
        ("JPEG", [{"quality": q} for q in (90, 20, 50, 75)]),
        ("JPEG2000", [{"quality_mode": "rates", "quality_layers": [r]} for r in (8, 40, 20, 12)]),
        ("WEBP", [{"quality": q} for q in (90, 10, 40, 70)]),
    ],
)
def test_codecs_of_pillow_give_rising_curves(format, settings):
    names = {"JPEG": "jpg", "JPEG2000": "jpg_2000", "WEBP": "webp"}
    if not features.check(names[format]):
        pytest.skip(f"this Pillow has no {format}")
    image = gradient()
    found = curve(image, [pillow(format, **options) for options in settings])
    assert len(found.rate) == 4
    assert (np.diff(found.rate) > 0).all()
    assert (np.diff(found.quality) > 0).all()
    there, back = pillow(format, **settings[0])
    assert found.rate[-1] == 8 * len(there(image)) / (40 * 56)
    assert found.quality[-1] == psnr(back(there(image)), image)


def test_jpeg_2000_transforms_colours_unless_told_otherwise():
    if not features.check("jpg_2000"):
        pytest.skip("this Pillow has no JPEG 2000")
    ramp = np.linspace(0, 255, 64 * 64).reshape(64, 64, 1)
    # three channels that are nearly the same are one number and little else
    noise = np.random.default_rng(0).normal(0, 8, (64, 64, 1))
    image = (ramp + noise + [0, 3, 5]).clip(0, 255).astype(np.uint8)
    rates = {"quality_mode": "dB", "quality_layers": [40], "irreversible": True}
    usual, apart = (len(pillow("JPEG2000", **rates, **more)[0](image)) for more in ({}, {"mct": 0}))
    assert usual < apart
    assert usual == len(pillow("JPEG2000", **rates, mct=1)[0](image))
    grey = image[:, :, 0]
    there, back = pillow("JPEG2000", **rates)
    assert back(there(grey)).shape == grey.shape


def test_codecs_of_pillow_take_grey_pictures_and_own_codecs_objects():
    grey = gradient()[:, :, 0]
    there, back = pillow("PNG")
    assert np.array_equal(back(there(grey)), grey)

    class Raw:
        def compress(self, image):
            return image.tobytes()

        def decompress(self, data):
            return np.frombuffer(data, np.uint8).reshape(grey.shape)

    found = curve(grey, [Raw(), (there, back)])
    assert sorted(found.rate) == sorted(itertools.chain([8.0], [bits_per_pixel(there(grey), grey)]))
    assert (found.quality == np.inf).all()


@pytest.mark.parametrize("format", ["PNG", "WEBP", "JPEG2000", "TIFF"])
def test_a_codec_of_pillow_keeps_alpha_where_the_format_has_a_place_for_it(format):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 4), np.uint8)
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    there, back = pillow(format, **options)
    assert np.array_equal(back(there(image)), image)


@pytest.mark.parametrize(
    ("format", "image", "message"),
    [
        ("JPEG", np.zeros((8, 8, 4), np.uint8), r"cannot write.*:3\] for alpha"),
        ("JPEG", np.zeros((3, 8, 8), np.uint8), "channels first"),
        ("JPEG", np.zeros((8, 8, 2), np.uint8), "got channels=2, expected 3 or 4"),
        ("JPEG", np.zeros((8, 8)), "float64, expected uint8"),
        ("JPEG", np.zeros((0, 8), np.uint8), "expected one image"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(format, image, message):
    with pytest.raises(ValueError, match=message):
        pillow(format)[0](image)


@pytest.mark.parametrize("format", ["FOO", None, 3, ""])
def test_a_format_that_pillow_does_not_write_is_refused(format):
    with pytest.raises(ValueError, match=r"got format=.*, expected"):
        pillow(format)


def test_bits_are_those_of_an_image():
    assert bits_per_pixel(b"abc", np.zeros((4, 6, 3))) == 1
    for shape in ((3, 16, 16), (0, 4), (4,)):
        with pytest.raises(ValueError, match="expected one image"):
            bits_per_pixel(b"abc", np.zeros(shape))
