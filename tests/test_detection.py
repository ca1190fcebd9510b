import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aebook.applications import detection
from aebook.applications.detection import (
    Window,
    detections,
    overlap,
    score_map,
    standardised,
    windows,
)


def brightness(v):
    return v.mean((1, 2))


def test_windows_are_the_slices_of_the_image():
    image = np.random.default_rng(0).random((9, 12))
    found = windows(image, (3, 5), stride=2)
    assert found.shape == (4, 4, 3, 5)
    for i in range(4):
        for j in range(4):
            assert np.array_equal(found[i, j], image[2 * i : 2 * i + 3, 2 * j : 2 * j + 5])
    assert not found.flags.writeable


def test_a_shrunk_image_is_the_average_of_blocks():
    image = np.kron(np.random.default_rng(0).random((6, 8)), np.ones((4, 4)))
    small = detection._shrunk(image, 4)
    # a triangle as wide as two pixels of the shrunk image: it keeps constants and the mean
    assert small.shape == (6, 8)
    assert np.corrcoef(small.ravel(), image[::4, ::4].ravel())[0, 1] > 0.9
    np.testing.assert_allclose(detection._shrunk(np.full((40, 30), 0.3), 3.7), 0.3)
    assert np.array_equal(detection._shrunk(image, 1), image)


def test_the_map_is_the_score_of_each_window(monkeypatch):
    image = np.random.default_rng(0).random((20, 23))
    expected = [[image[i : i + 4, j : j + 6].mean() for j in range(18)] for i in range(17)]
    np.testing.assert_allclose(score_map(image, brightness, (4, 6)), expected)
    np.testing.assert_allclose(
        score_map(image, brightness, (4, 6), stride=3), np.array(expected)[::3, ::3]
    )
    monkeypatch.setattr(detection, "CHUNK", 7)
    np.testing.assert_allclose(score_map(image, brightness, (4, 6)), expected)


def test_images_and_scores_may_be_tensors():
    image = torch.rand(12, 12)

    def score(v):
        return torch.from_numpy(v).mean((1, 2))

    assert score_map(image, score, (5, 5)).shape == (8, 8)


@pytest.mark.parametrize("side", [10, 20, 40])
def test_what_was_hidden_is_found_at_its_size(side):
    rng = np.random.default_rng(side)
    image = 0.1 * rng.random((120, 160))
    top, left = 37, 71
    # a disc: bright in the middle, dark around it
    axis = np.linspace(-1, 1, side)
    disc = (np.hypot(*np.meshgrid(axis, axis)) < 0.6).astype(float)
    image[top : top + side, left : left + side] += disc
    axis = np.linspace(-1, 1, 10)
    template = (np.hypot(*np.meshgrid(axis, axis)) < 0.6) - 0.3

    def score(v):
        return (v * template).sum((1, 2))

    best = detections(image, score, (10, 10), scales=(1, 2, 4), stride=1, limit=1)[0]
    assert overlap(best, (top, left, top + side, left + side)) > 0.8
    assert best.bottom - best.top == best.right - best.left == side


def test_no_two_detections_share_more_than_is_allowed():
    image = np.random.default_rng(0).random((40, 40))
    for shared in (0.0, 0.3, 1.0):
        found = detections(
            image, brightness, (8, 8), scales=(1, 1.5), stride=1, shared=shared, limit=12
        )
        assert [w.score for w in found] == sorted((w.score for w in found), reverse=True)
        assert all(overlap(a, b) <= shared for n, a in enumerate(found) for b in found[:n])
    assert len(found) == 12
    # with everything allowed, they are the best of all
    every = np.concatenate(
        [score_map(image, brightness, (8, 8), scale=s).ravel() for s in (1, 1.5)]
    )
    np.testing.assert_allclose([w.score for w in found], np.sort(every)[::-1][:12])


def test_scales_at_which_the_image_is_too_small_are_left_out():
    image = np.random.default_rng(0).random((30, 20))
    found = detections(image, brightness, (10, 10), scales=(1, 5), limit=1)
    assert found[0].bottom - found[0].top == 10
    with pytest.raises(ValueError, match=r"smaller than windows of .* at every scale"):
        detections(image, brightness, (10, 10), scales=(5,))


boxes = st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 12)] * 2).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@given(a=boxes, b=boxes)
def test_overlap_is_that_of_sets_of_pixels(a, b):
    first, second = ({(i, j) for i in range(w[0], w[2]) for j in range(w[1], w[3])} for w in (a, b))
    assert overlap(a, b) == pytest.approx(len(first & second) / len(first | second))
    assert overlap(a, b) == overlap(Window(*b, 0.0), a)


def test_brightness_and_contrast_of_each_image_are_taken_out():
    images = np.random.default_rng(0).random((5, 6, 7))
    rows = standardised(images)
    assert rows.shape == (5, 42)
    np.testing.assert_allclose(rows.mean(1), 0, atol=1e-12)
    np.testing.assert_allclose(rows.std(1), 1)
    scales = np.array([0.2, 1, 3, 1, 0.5])[:, None, None]
    np.testing.assert_allclose(standardised(torch.from_numpy(scales * images - 0.3)), rows)
    # one at a time or all at once
    np.testing.assert_allclose(standardised(images[2:3]), rows[2:3])
    # a flat image stays flat, and a nearly flat one small
    np.testing.assert_allclose(standardised(np.full((1, 6, 7), 0.4)), 0, atol=1e-12)
    np.testing.assert_allclose(standardised(0.4 + 1e-3 * rows[:1], floor=0.1).std(), 0.01)


def test_what_makes_no_sense_is_refused():
    image = np.random.default_rng(0).random((20, 20))
    with pytest.raises(ValueError, match=r"got image of shape"):
        windows(np.zeros((20, 20, 3)), (5, 5))
    with pytest.raises(ValueError, match="got image of shape"):
        windows(np.full((20, 20), np.nan), (5, 5))
    with pytest.raises(ValueError, match="smaller than windows of"):
        windows(image, (5, 5), scale=10)
    for scale in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="expected a finite number"):
            windows(image, (5, 5), scale=scale)
    with pytest.raises(ValueError, match="got stride=0"):
        windows(image, (5, 5), stride=0)
    with pytest.raises(ValueError, match=r"got scores of shape"):
        score_map(image, lambda v: v.mean(1), (5, 5))
    with pytest.raises(ValueError, match="got scores of shape"):
        score_map(image, lambda v: np.full(len(v), np.nan), (5, 5))
    with pytest.raises(ValueError, match="got shared=2"):
        detections(image, brightness, (5, 5), shared=2)
    with pytest.raises(ValueError, match="got limit=0"):
        detections(image, brightness, (5, 5), limit=0)
    with pytest.raises(ValueError, match="expected some area"):
        overlap((0, 0, 0, 5), (0, 0, 5, 5))
    with pytest.raises(ValueError, match="got floor=0"):
        standardised(image[None], floor=0)
    with pytest.raises(ValueError, match=r"images of shape \(20,\)"):
        standardised(image[0])
