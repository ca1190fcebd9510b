import numpy as np
import pytest
import torch

from aebook.applications.molecules import search


def read(z):
    return [f"{a:.2f}" for a in z[:, 0].tolist()]


def closeness(texts):
    return [-abs(float(text) - 3) for text in texts]


def step(g):
    return lambda z: z + 0.3 * torch.randn(z.shape, generator=g)


def test_it_climbs_and_never_falls():
    g = torch.Generator().manual_seed(0)
    start = torch.randn(10, 2, generator=g)
    found = search(start, step(g), read, closeness, rounds=30)
    assert len(found.best) == 31
    assert (np.diff(found.best) >= 0).all()
    assert found.best[0] == max(closeness(read(start)))
    assert found.best[-1] == found.values[0] > -0.05
    assert (np.diff(found.values) <= 0).all()
    assert len(set(found.texts)) == len(found.texts) <= 310
    assert closeness(found.texts) == pytest.approx(found.values.tolist())
    assert isinstance(found.parents, torch.Tensor)
    assert read(found.parents) == found.texts[:10]


def test_without_rounds_it_ranks_the_start():
    start = torch.tensor([[1.0], [3.5], [2.9]])
    found = search(start, list, read, closeness, rounds=0)
    assert found.texts == ["2.90", "3.50", "1.00"]
    assert found.parents[:, 0].tolist() == pytest.approx([2.9, 3.5, 1.0])


def test_texts_may_be_varied_themselves_and_are_scored_once():
    asked = []

    def score(texts):
        asked.extend(texts)
        return [t.count("a") if "x" not in t else np.nan for t in texts]

    found = search(["b", "x", "b"], lambda texts: [t + "a" for t in texts], list, score, rounds=3)
    assert found.texts == ["baaa", "baa", "ba", "b"]
    assert found.values.tolist() == [3, 2, 1, 0]
    assert found.best == [0, 1, 2, 3]
    # one parent alone is left, and takes all places
    assert found.parents == ["baaa", "baa", "ba"]
    assert sorted(asked) == sorted(set(asked))


def test_worthless_texts_never_go_on_but_may_not_be_all():
    with pytest.raises(ValueError, match="no text with a value"):
        search(["x"], list, list, lambda texts: [np.nan] * len(texts))


def test_it_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="got nothing to start from"):
        search([], list, list, len)
    with pytest.raises(ValueError, match="got rounds=-1"):
        search(["a"], list, list, len, rounds=-1)
    with pytest.raises(ValueError, match="got 2 texts and 1 children and 1 parents, expected as"):
        search(["a"], list, lambda x: x * 2, len)
    with pytest.raises(ValueError, match="got 2 texts and 2 children and 1 parents, expected as"):
        search(["a"], lambda x: x * 2, list, lambda texts: [1.0] * len(texts), rounds=1)
    with pytest.raises(ValueError, match="got scores of shape"):
        search(["a", "b"], list, list, lambda texts: [1.0])
