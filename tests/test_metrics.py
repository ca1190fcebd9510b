import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_score, recall_score, roc_auc_score

from aebook.metrics import (
    aupro,
    dead_units,
    fvu,
    l0,
    mean_average_precision,
    ms_ssim,
    precision_at_k,
    precision_recall,
    psnr,
    threshold,
)

# up to seven entries of one query: distance and relevance
rankings = st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=7)


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
    with pytest.raises(ValueError, match=r"got reconstruction of shape .* expected \(4, 2\)"):
        fvu(torch.rand(4, 3), torch.rand(4, 2))
    with pytest.raises(ValueError, match="got 1 samples, expected 2 or more"):
        fvu(torch.rand(1, 3), torch.rand(1, 3))
    with pytest.raises(ValueError, match="expected some variance"):
        fvu(torch.rand(3, 2), torch.ones(3, 2))
    for metric in (l0, dead_units):
        for codes in (torch.rand(3), torch.rand(0, 3), torch.rand(2, 3, 4)):
            with pytest.raises(ValueError, match=r"got (data|codes) of shape|got no data"):
                metric(codes)


def orders(ranking):
    """Relevance in the order of every ranking that the distances allow, ties in any order."""
    for order in itertools.permutations(ranking):
        if all(a[0] <= b[0] for a, b in itertools.pairwise(order)):
            yield [right for _, right in order]


def average_precision(right):
    """The definition, in fractions."""
    precisions = [Fraction(sum(right[: i + 1]), i + 1) for i in range(len(right)) if right[i]]
    return sum(precisions, Fraction(0)) / sum(right)


def arrays(ranking):
    distances, relevant = zip(*ranking, strict=True)
    return np.array([relevant]), np.array([distances])


@given(rankings, st.data())
def test_precision_at_k_is_the_mean_over_all_orders_of_ties(ranking, data):
    relevant, distances = arrays(ranking)
    k = data.draw(st.integers(1, len(ranking)))
    every = [Fraction(sum(right[:k]), k) for right in orders(ranking)]
    expected = float(sum(every) / len(every))
    assert precision_at_k(relevant, k, distances) == pytest.approx(expected, rel=1e-12)
    assert precision_at_k(relevant, k) == pytest.approx(relevant[0, :k].mean(), rel=1e-12)


@given(rankings.filter(lambda ranking: any(right for _, right in ranking)))
def test_mean_average_precision_is_the_mean_over_all_orders_of_ties(ranking):
    relevant, distances = arrays(ranking)
    every = [average_precision(right) for right in orders(ranking)]
    expected = float(sum(every) / len(every))
    assert mean_average_precision(relevant, distances) == pytest.approx(expected, rel=1e-12)


def test_without_ties_average_precision_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    distances = rng.permuted(np.tile(np.arange(40), (30, 1)), axis=1)
    relevant = rng.random((30, 40)) < 0.2
    relevant[:, 3] = True
    expected = np.mean(
        [average_precision_score(r, -d) for r, d in zip(relevant, distances, strict=True)]
    )
    ranked = np.take_along_axis(relevant, distances.argsort(axis=1), axis=1)
    found = mean_average_precision(relevant, distances)
    assert found == pytest.approx(expected, rel=1e-12)
    assert mean_average_precision(ranked) == pytest.approx(expected, rel=1e-12)
    assert mean_average_precision(torch.tensor(ranked)) == mean_average_precision(ranked)
    assert mean_average_precision(relevant, 0.1 * distances - 7) == found


def test_perfect_worst_and_random_rankings():
    relevant = np.array([[1, 1, 0, 0]])
    assert mean_average_precision(relevant) == 1
    assert mean_average_precision(relevant[:, ::-1]) == pytest.approx((1 / 3 + 2 / 4) / 2)
    # nothing is known: every entry at the same distance
    assert precision_at_k(relevant, 1, np.zeros((1, 4))) == 0.5
    assert precision_at_k(relevant, 3, np.zeros((1, 4))) == 0.5


def test_queries_without_relevant_entries():
    relevant = np.array([[1, 0, 1], [0, 0, 0]])
    assert mean_average_precision(relevant) == mean_average_precision(relevant[:1])
    assert precision_at_k(relevant, 1) == 0.5
    alone = precision_recall(np.array([[0, 1, 2]]), relevant[:1])
    both = precision_recall(np.array([[0, 1, 2], [0, 0, 0]]), relevant)
    for a, b in zip(alone, both, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_ranking_that_is_cut_off_is_judged_by_all_relevant_entries():
    relevant = np.array([[1, 0, 1, 0], [0, 0, 0, 0]])
    # the second query has relevant entries, and none of them is in its list
    expected = ((1 + 2 / 3) / 5 + 0) / 2
    assert mean_average_precision(relevant, total=[5, 2]) == pytest.approx(expected)
    assert mean_average_precision(relevant, total=torch.tensor([2, 0])) == pytest.approx(5 / 6)


@given(st.integers(0, 10**6))
def test_precision_and_recall_are_those_of_scikit_learn_at_every_radius(seed):
    rng = np.random.default_rng(seed)
    distances = rng.integers(0, 9, (4, 12)).astype(rng.choice(["u1", "i4", "u8"]))
    relevant = rng.random((4, 12)) < 0.4
    relevant[:, 0] = True
    curve = precision_recall(distances, relevant)
    assert len(curve.precision) == len(curve.recall) == distances.max() + 1
    for radius in range(len(curve.recall)):
        within = distances <= radius
        pairs = list(zip(relevant, within, strict=True))
        recalls = [recall_score(r, w) for r, w in pairs]
        precisions = [precision_score(r, w) for r, w in pairs if w.any()]
        assert curve.recall[radius] == pytest.approx(np.mean(recalls))
        assert curve.answered[radius] == within.any(axis=1).mean()
        if precisions:
            assert curve.precision[radius] == pytest.approx(np.mean(precisions))
        else:
            assert np.isnan(curve.precision[radius])
    assert curve.recall[-1] == curve.answered[-1] == 1


def test_a_radius_at_which_nothing_is_found_has_no_precision():
    curve = precision_recall(torch.tensor([[2, 3], [1, 3]]), torch.tensor([[1, 0], [1, 1]]))
    np.testing.assert_array_equal(curve.precision, [np.nan, 1, 1, 0.75])
    np.testing.assert_array_equal(curve.recall, [0, 0.25, 0.75, 1])
    np.testing.assert_array_equal(curve.answered, [0, 0.5, 1, 1])


def test_misuse_of_rankings_is_refused():
    relevant, distances = np.ones((2, 3), bool), np.ones((2, 3), np.int64)
    for metric in (
        lambda relevant, distances=distances: precision_at_k(relevant, 1, distances),
        mean_average_precision,
        lambda relevant, distances=distances: precision_recall(distances, relevant),
    ):
        with pytest.raises(ValueError, match=r"got relevant of shape"):
            metric(np.ones(3))
        with pytest.raises(ValueError, match="values other than 0 and 1"):
            metric(2 * relevant)
        with pytest.raises(ValueError, match=r"got distances of shape"):
            metric(relevant, distances[:, :2])
        with pytest.raises(ValueError, match="got distances of shape"):
            metric(relevant, distances * np.nan)
    for k in (0, 4, 1.5, True):
        with pytest.raises(ValueError, match=rf"got k={k}, expected a whole number"):
            precision_at_k(relevant, k)
    for total in ([3], [3, 2], [np.nan, 3]):
        with pytest.raises(ValueError, match="expected one whole number each that is not below"):
            mean_average_precision(relevant, total=total)
    with pytest.raises(ValueError, match="got no query with a relevant entry"):
        mean_average_precision(~relevant)
    with pytest.raises(ValueError, match="got no query with a relevant entry"):
        precision_recall(distances, ~relevant)
    for bad in (distances - 2, distances / 2):
        with pytest.raises(ValueError, match="got distances of shape"):
            precision_recall(bad, relevant)


@pytest.mark.parametrize("far", [10**6, 2**40, 2**63 - 1, 2**64 - 1])
def test_distances_that_no_codes_have_are_refused_before_there_is_memory_for_them(far):
    kind = np.uint64 if far >= 2**63 else np.int64
    with pytest.raises(ValueError, match=r"got distances of .* to 999999: for others"):
        precision_recall(np.array([[0, far]], kind), np.array([[1, 0]]))
    assert len(precision_recall(np.array([[0, 10**6 - 1]]), np.array([[1, 0]])).recall) == 10**6


# Peak signal-to-noise ratio ----------------------------------------------------------------------


@given(seed=st.integers(0, 100), colour=st.booleans())
def test_psnr_is_its_formula(seed, colour):
    g = np.random.default_rng(seed)
    x = g.random((13, 12, 3) if colour else (13, 12))
    y = x + 0.3 * g.standard_normal(x.shape)
    expected = -10 * np.log10(((y.clip(0, 1) - x) ** 2).mean())
    assert psnr(y, x) == pytest.approx(expected, rel=1e-9)
    assert psnr(torch.from_numpy(y), torch.from_numpy(x)) == psnr(y, x)


def test_psnr_of_bytes_has_the_peak_255():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    other = image ^ np.uint8(5)
    error = np.mean((other - 1.0 * image) ** 2)
    assert psnr(other, image) == pytest.approx(20 * np.log10(255 / np.sqrt(error)))
    assert psnr(other, image) == pytest.approx(psnr(other / 255, image / 255))
    assert psnr(np.array([[0, 255]], np.uint8), np.array([[1, 255]], np.uint8)) == pytest.approx(
        51.1411, abs=1e-4
    )
    assert psnr(image, image) == float("inf")


def test_psnr_does_not_depend_on_the_range_that_an_image_happens_to_have():
    x = np.full((11, 11), 0.25)
    assert psnr(x + 0.1, x) == pytest.approx(20)
    assert psnr(x, x) == float("inf")


@pytest.mark.parametrize(
    ("restored", "image", "message"),
    [
        (np.zeros((5, 6)), np.zeros((6, 6)), "got restored of shape"),
        (np.zeros(6), np.zeros(6), r"\(H, W\)"),
        (np.zeros((6, 6), np.uint8), np.zeros((6, 6)), "bytes twice or neither"),
        (np.zeros((6, 6)), np.full((6, 6), 2.0), r"got image of shape"),
        (np.full((6, 6), np.nan), np.zeros((6, 6)), "got restored of shape"),
    ],
    ids=["shapes", "no image", "one of bytes", "out of range", "NaN"],
)
def test_psnr_refuses_what_it_cannot_compare(restored, image, message):
    with pytest.raises(ValueError, match=message):
        psnr(restored, image)


# thresholds

distinct = st.lists(st.integers(-1000, 1000).map(float), min_size=1, max_size=30, unique=True).map(
    np.array
)


@given(distinct, st.floats(0, 0.99))
def test_contamination_is_the_share_that_lies_above(scores, c):
    flagged = (scores > threshold(scores, contamination=c)).sum()
    assert flagged <= c * len(scores) + 1e-6
    assert flagged + 1 > c * len(scores) - 1e-6


@given(distinct, st.floats(0.01, 0.99))
def test_a_quantile_keeps_its_promise_for_every_message_that_might_be_the_new_one(scores, q):
    n = len(scores) - 1
    if n < 1 or math.ceil(q * (n + 1) - 1e-9) > n:
        return
    # exchangeable: each of the n + 1 is the new one equally often
    alarms = [scores[i] > threshold(np.delete(scores, i), quantile=q) for i in range(len(scores))]
    assert np.mean(alarms) <= 1 - q + 1e-6
    assert np.mean(alarms) + 1 / (n + 1) > 1 - q - 1e-6


def test_thresholds_by_hand():
    scores = torch.tensor([5.0, 1.0, 4.0, 2.0, 3.0])
    assert threshold(scores, contamination=0) == 5
    assert threshold(scores, contamination=0.2) == 4
    assert threshold(scores, contamination=0.39) == 4
    assert threshold(scores, contamination=0.4) == 3
    assert threshold(scores, quantile=0.5) == 3
    assert threshold(scores, quantile=5 / 6) == 5
    # 0.29 · 100 and 0.9 · (9 + 1) are not what they should be in binary
    assert threshold(np.arange(100), contamination=0.29) == 70
    assert threshold(np.arange(9), quantile=0.9) == 8


def test_ties_lie_on_the_threshold_and_are_let_pass():
    scores = np.array([1.0, 1, 1, 1, 2])
    assert threshold(scores, contamination=0.6) == 1
    assert (scores > 1).sum() == 1


def test_what_is_no_scores_is_refused():
    for scores in (np.zeros((2, 2)), np.zeros(0), np.array([1.0, np.nan])):
        with pytest.raises(ValueError, match="got scores of shape"):
            threshold(scores, quantile=0.5)
    one = np.arange(10.0)
    for options in ({}, {"contamination": 0.1, "quantile": 0.9}):
        with pytest.raises(ValueError, match="expected one of them"):
            threshold(one, **options)
    for c in (-0.1, 1, math.nan):
        with pytest.raises(ValueError, match=r"expected (0 or more and below 1|a finite number)"):
            threshold(one, contamination=c)
    for q in (0, 1, math.nan):
        with pytest.raises(ValueError, match=r"expected a (number between 0 and 1|finite number)"):
            threshold(one, quantile=q)
    with pytest.raises(ValueError, match=r"at most 10/11: .* give at least 99 scores"):
        threshold(one, quantile=0.99)
    assert threshold(np.arange(99), quantile=0.99) == 98


@given(distinct, st.floats(0.05, 0.95), st.data())
def test_a_weight_says_how_many_messages_a_score_stands_for(scores, q, data):
    # ranks count messages, so what is given once with its weight is what is given as often
    counts = data.draw(st.lists(st.integers(1, 4), min_size=len(scores), max_size=len(scores)))
    every = np.repeat(scores, counts)
    weighted = threshold(scores, contamination=1 - q, sample_weight=counts)
    assert weighted == threshold(every, contamination=1 - q)
    assert threshold(scores, contamination=1 - q, sample_weight=3 * np.array(counts)) == weighted
    ones = np.ones(len(scores))
    for interpolate in (False, True):
        options = {"contamination": 1 - q, "interpolate": interpolate}
        assert threshold(scores, **options) == threshold(scores, sample_weight=ones, **options)


@pytest.mark.parametrize(("n", "c"), [(19, 0.07), (35, 0.05), (35, 0.1), (100, 0.033)])
def test_between_ranks_the_share_of_exponential_scores_is_the_one_promised(n, c):
    scores = np.random.default_rng(0).exponential(size=(4000, n))
    shares = [np.exp(-threshold(s, quantile=1 - c, interpolate=True)) for s in scores]
    assert abs(np.mean(shares) - c) < 4 * np.std(shares) / 4000**0.5
    # where the rank is whole it is the rank
    for q in np.arange(1, n + 1) / (n + 1):
        between = threshold(scores[0], quantile=q, interpolate=True)
        assert between == pytest.approx(threshold(scores[0], quantile=q))


@pytest.mark.parametrize("weight", [[1.0], [1, -1, 1], [0, 0, 0], [1, np.nan, 1]])
def test_weights_of_scores_that_make_no_sense(weight):
    with pytest.raises(ValueError, match=r"got sample_weight .* for 3 samples, expected"):
        threshold([1.0, 2, 3], contamination=0.1, sample_weight=weight)


# Structural similarity at five scales --------------------------------------------------------


def two_pictures():
    """Waves in three colours, and the same with noise."""
    y, x = np.mgrid[:192, :256] / 32
    waves = np.stack([np.sin(x * k + y) + np.cos(y * k - x) for k in (1, 2, 3)], -1)
    image = ((waves / 4 + 0.5) * 255).round().astype(np.uint8)
    noise = 20 * np.random.default_rng(0).standard_normal(image.shape)
    return image, (image + noise).clip(0, 255).round().astype(np.uint8)


def test_ms_ssim_is_that_of_another_implementation():
    image, noisy = two_pictures()
    # pytorch-msssim 1.0.0, ms_ssim(..., data_range=255)
    assert ms_ssim(noisy, image) == pytest.approx(0.8720764, abs=1e-6)
    assert ms_ssim(noisy / 255, image / 255) == pytest.approx(0.8720764, abs=1e-6)


def test_ms_ssim_is_the_product_of_those_of_scikit_image():
    structural = pytest.importorskip("skimage.metrics").structural_similarity
    image, noisy = (each[:, :, 0] / 255 for each in two_pictures())
    options = dict(data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    expected, a, b = 1.0, noisy, image
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        # with a huge K1 its brightness is 1, and contrast and structure are left
        value = structural(a, b, K1=0.01 if scale == 4 else 1e6, **options)
        expected *= value**weight
        a, b = (x.reshape(len(x) // 2, 2, -1, 2).mean((1, 3)) for x in (a, b))
    assert ms_ssim(noisy, image) == pytest.approx(expected, abs=1e-5)


def test_ms_ssim_needs_room_and_is_one_for_a_copy():
    image, noisy = two_pictures()
    assert ms_ssim(image, image) == pytest.approx(1, abs=1e-6)
    assert ms_ssim(noisy, image) == ms_ssim(image, noisy)
    with pytest.raises(ValueError, match=r"shape \(175, 256, 3\), expected sides of 176"):
        ms_ssim(noisy[:175], image[:175])


# Per-region overlap ------------------------------------------------------------------------------


def defects(seed):
    """Scores of three images, with ties, and masks of several regions."""
    g = np.random.default_rng(seed)
    masks = np.zeros((3, 20, 24), bool)
    for _ in range(5):
        n, i, j = g.integers((3, 20, 24))
        masks[n, i : i + g.integers(1, 6), j : j + g.integers(1, 6)] = True
    return np.round(g.random(masks.shape) + 0.5 * masks, 1 + int(g.integers(3))), masks


def flooded(mask):
    """Regions as sets of pixels, found by walking from neighbour to neighbour."""
    left, regions = set(map(tuple, np.argwhere(mask))), []
    while left:
        region, edge = set(), {left.pop()}
        while edge:
            region |= edge
            near = {(i + a, j + b) for i, j in edge for a in (-1, 0, 1) for b in (-1, 0, 1)}
            edge = near & left
            left -= edge
        regions.append(tuple(np.array(sorted(region)).T))
    return regions


@given(seed=st.integers(0, 1000), limit=st.sampled_from([0.05, 0.3, 1.0]))
def test_aupro_is_the_area_under_a_curve_drawn_threshold_by_threshold(seed, limit):
    maps, masks = defects(seed)
    regions = [(n, *pixels) for n, mask in enumerate(masks) for pixels in flooded(mask)]
    points = [(0.0, 0.0)]
    for threshold_ in np.unique(maps)[::-1]:
        called = maps >= threshold_
        points.append((called[~masks].mean(), np.mean([called[r].mean() for r in regions])))
    area = 0.0
    for (f, p), (g, q) in itertools.pairwise(points):
        if g > f and f < limit:
            stop = min(g, limit)
            area += (stop - f) * (p + (p + (q - p) * (stop - f) / (g - f))) / 2
    assert aupro(maps, masks, limit=limit) == pytest.approx(area / limit, rel=1e-9)


def test_aupro_of_one_region_is_the_area_under_the_roc_curve():
    g = np.random.default_rng(0)
    masks = np.zeros((1, 30, 30), bool)
    masks[0, 4:9, 5:20] = True
    maps = g.standard_normal(masks.shape) + masks
    whole = roc_auc_score(masks.ravel(), maps.ravel())
    assert aupro(maps, masks, limit=1) == pytest.approx(whole)
    # McClish's standardised area, turned back
    low, most = 0.3**2 / 2, 0.3
    part = roc_auc_score(masks.ravel(), maps.ravel(), max_fpr=0.3)
    area = (2 * part - 1) * (most - low) + low
    assert aupro(maps, masks) == pytest.approx(area / 0.3)


def test_aupro_of_a_blind_map_is_half_the_limit_and_order_is_all_that_counts():
    maps, masks = defects(3)
    assert aupro(np.zeros(masks.shape), masks) == pytest.approx(0.15)
    assert aupro(np.exp(5 * maps), masks) == pytest.approx(aupro(maps, masks))
    assert aupro(masks, masks.astype(int)) == 1
    levels = (10 * maps).astype(np.uint8)
    assert aupro(levels, masks) == pytest.approx(aupro(levels.astype(float), masks))
    assert aupro(torch.from_numpy(maps), torch.from_numpy(masks)) == aupro(maps, masks)


def test_regions_that_touch_at_a_corner_are_one_and_those_of_two_images_are_two():
    masks = np.zeros((2, 6, 6), bool)
    masks[0, 1, 1] = masks[0, 2, 2] = masks[1, 3, 3] = True
    maps = masks.astype(float)
    maps[1] = -1  # below all others
    assert aupro(maps, masks, limit=0.1) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("maps", "masks", "message"),
    [
        (np.zeros((2, 6, 6)), np.zeros((6, 6)), "got masks of shape"),
        (np.zeros((6, 6)), np.zeros((6, 6)), r"got maps of shape .* expected \(n, H, W\)"),
        (np.zeros((1, 6, 6)), np.zeros((1, 6, 6)), "got masks that are all 0 or all 1"),
        (np.zeros((1, 6, 6)), np.ones((1, 6, 6)), "got masks that are all 0 or all 1"),
        (np.zeros((1, 6, 6)), np.full((1, 6, 6), 2), "masks with values other than 0 and 1"),
        (np.full((1, 6, 6), np.nan), np.zeros((1, 6, 6)), "got maps of shape"),
    ],
    ids=["shapes", "one image", "no defect", "nothing else", "grey", "NaN"],
)
def test_aupro_refuses_what_it_cannot_judge(maps, masks, message):
    with pytest.raises(ValueError, match=message):
        aupro(maps, masks)
