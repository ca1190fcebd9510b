"""Tests of aebook.datasets.tables: the published counts, and every number the docstrings give."""

from collections.abc import Callable

import pytest
import torch
from sklearn.metrics import roc_auc_score

from aebook.datasets import SATELLITE_CLASSES, SHUTTLE_CLASSES, Table, satellite, shuttle

Loader = Callable[..., Table]


def full_shuttle() -> Table:
    return shuttle(full=True)


@pytest.mark.parametrize(
    ("loader", "shape", "classes", "anomalies"),
    [
        (satellite, (6_435, 36), SATELLITE_CLASSES, 2_036),
        (shuttle, (49_097, 9), SHUTTLE_CLASSES.keys() - {4}, 3_511),
        (full_shuttle, (58_000, 9), SHUTTLE_CLASSES, 3_511 + 8_903),
    ],
)
def test_shapes_types_and_conventions(
    loader: Loader, shape: tuple[int, int], classes: set[int], anomalies: int
) -> None:
    data = loader()
    features, labels, anomalous = data
    assert features is data.features
    assert labels is data.labels
    assert anomalous is data.anomalous
    assert features.shape == shape
    assert features.dtype == torch.float32
    assert features.is_contiguous()
    assert not features.requires_grad
    assert labels.shape == anomalous.shape == shape[:1]
    assert labels.dtype == torch.int64
    assert anomalous.dtype == torch.bool
    assert labels.unique().tolist() == sorted(classes)
    assert anomalous.sum() == anomalies
    # whole numbers, none of the columns constant, no row twice
    assert torch.equal(features, features.round())
    assert (features.amax(0) > features.amin(0)).all()
    rows = torch.cat([features, labels[:, None]], dim=1)
    assert len({row.tobytes() for row in rows.numpy()}) == len(rows)


@pytest.mark.parametrize(
    ("loader", "training", "counts"),
    [  # of the published training files and of all rows
        (satellite, 4_435, {1: (1072, 1533), 2: (479, 703), 3: (961, 1358), 4: (415, 626),
                            5: (470, 707), 7: (1038, 1508)}),
        (full_shuttle, 43_500, {1: (34108, 45586), 2: (37, 50), 3: (132, 171), 4: (6748, 8903),
                                5: (2458, 3267), 6: (6, 10), 7: (11, 13)}),
    ],
)  # fmt: skip
def test_classes_have_the_published_sizes(
    loader: Loader, training: int, counts: dict[int, tuple[int, int]]
) -> None:
    labels = loader().labels
    for label, (first, total) in counts.items():
        assert (labels[:training] == label).sum() == first
        assert (labels == label).sum() == total


def test_first_rows_of_the_published_files() -> None:
    x, y, _ = satellite()
    assert x[0, :9].tolist() == [92, 115, 120, 94, 84, 102, 106, 79, 84]
    assert x[4_435, :9].tolist() == [80, 102, 102, 79, 76, 102, 102, 79, 76]
    assert (y[0], y[4_435]) == (3, 3)
    x, y, _ = shuttle(full=True)
    assert x[0].tolist() == [50, 21, 77, 0, 28, 0, 27, 48, 22]
    assert x[43_500].tolist() == [55, 0, 81, 0, -6, 11, 25, 88, 64]
    assert (y[0], y[43_500]) == (2, 4)


def test_anomalies_by_convention() -> None:
    _, labels, anomalous = satellite()
    assert torch.equal(anomalous, torch.isin(labels, torch.tensor([2, 4, 5])))
    sizes = labels.bincount()
    assert sizes[[2, 4, 5]].max() < sizes[[1, 3, 7]].min()  # the three smallest classes
    for full in (False, True):
        _, labels, anomalous = shuttle(full=full)
        assert torch.equal(anomalous, labels != 1)


def test_shuttle_leaves_out_class_4_and_nothing_else() -> None:
    part, full = shuttle(), shuttle(full=True)
    keep = full.labels != 4
    for chosen, whole in zip(part, full, strict=True):
        assert torch.equal(chosen, whole[keep])


@pytest.mark.parametrize("loader", [satellite, shuttle])
def test_each_call_returns_new_tensors(loader: Loader) -> None:
    first = loader()
    for tensor in first:
        tensor.fill_(1)
    again = loader()
    assert again.features.unique().numel() > 2
    assert again.labels.unique().numel() > 2
    assert not again.anomalous.all()


def test_names_of_the_classes() -> None:
    assert SATELLITE_CLASSES[5] == "soil with vegetation stubble"
    assert len(set(SATELLITE_CLASSES.values())) == 6
    assert SHUTTLE_CLASSES[1] == "Rad Flow"
    assert len(set(SHUTTLE_CLASSES.values())) == 7


def test_satellite_is_pixels_of_four_bands() -> None:
    x = satellite().features
    assert (x.min(), x.max()) == (27, 157)
    # Of all features, those most like a band of the central pixel are that band of its neighbours.
    similarity = torch.corrcoef(x.T).view(3, 3, 4, 3, 3, 4)[1, 1]  # (band, row, column, band)
    for band in range(4):
        same = similarity[band, :, :, band]
        others = similarity[band][..., [b for b in range(4) if b != band]]
        assert same.min() > others.max()


def test_satellite_neighbourhoods_overlap() -> None:
    """What the docstring warns of: rows share six pixels with others, often with the next."""
    pictures = satellite().features.view(-1, 3, 3, 4).numpy()

    def parts(rows: slice, columns: slice) -> list[bytes]:
        return [picture[rows, columns].tobytes() for picture in pictures]

    every, before, after = slice(None), slice(0, 2), slice(1, 3)
    shared = [False] * len(pictures)
    for first, second in (
        (parts(every, before), parts(every, after)),
        (parts(before, every), parts(after, every)),
    ):
        for one, other in ((first, second), (second, first)):
            known = set(other)
            shared = [s or part in known for s, part in zip(shared, one, strict=True)]
    assert sum(shared) == 6_434
    left, right = parts(every, before), parts(every, after)
    steps = sum(a == b for a, b in zip(right[:-1], left[1:], strict=True))
    assert steps / len(pictures) == pytest.approx(0.5, abs=0.02)


def test_shuttle_has_three_dependent_features() -> None:
    x = shuttle(full=True).features
    assert (x[:, 6] - (x[:, 2] - x[:, 0])).abs().max() == 1
    assert (x[:, 7] - (x[:, 2] - x[:, 4])).abs().max() == 2
    assert (x[:, 8] - (x[:, 7] - x[:, 6])).abs().max() == 2
    # and no fourth: the other six, each on its own scale, are far from dependent
    centred = x[:, :6] - x[:, :6].mean(0)
    assert torch.linalg.svdvals(centred / centred.norm(dim=0)).min() > 0.2


def test_shuttle_has_heavy_tails() -> None:
    x = shuttle().features[:, [1, 3, 5]].abs()
    assert ((x < 50).double().mean(0) > 0.99).all()
    assert (x.amax(0) > 1_000).all()


def test_shuttle_is_mostly_easy() -> None:
    x, _, anomalous = shuttle()
    assert roc_auc_score(anomalous, x[:, 8]) == pytest.approx(0.984, abs=5e-4)


def test_shuttle_is_in_random_order() -> None:
    """Neighbours agree in class as often as independent rows: within four standard errors."""
    labels = shuttle(full=True).labels
    shares = labels.bincount() / len(labels)
    expected = (shares**2).sum()
    agreement = (labels[1:] == labels[:-1]).double().mean()
    assert (agreement - expected).abs() < 4 * (expected * (1 - expected) / len(labels)).sqrt()
