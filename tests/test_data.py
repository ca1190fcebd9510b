import math

import numpy as np
import pandas
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from torch.utils.data import DataLoader, Dataset, IterableDataset

import aebook
from aebook.data import batched


def batches(data, batch_size=None, *, shuffle=False, default=4, dtype=torch.float32):
    return batched(
        data,
        batch_size,
        shuffle=shuffle,
        default=default,
        dtype=dtype,
        device=torch.device("cpu"),
    )


@given(st.integers(1, 30), st.integers(1, 30), st.booleans())
def test_every_sample_comes_once_with_its_target(n, size, shuffle):
    size = min(n, size)
    x = torch.arange(n).float()[:, None]
    made = batches((x, -x), size, shuffle=shuffle)
    got = list(made)
    assert len(made) == len(got) == math.ceil(n / size)
    assert all(len(a) == size for a, _ in got[:-1])
    assert sorted(v for a, _ in got for v in a.flatten().tolist()) == list(range(n))
    assert all(torch.equal(a, -b) for a, b in got)


def test_without_shuffling_the_order_stays_and_with_it_every_pass_differs():
    x = torch.arange(40).float()[:, None]
    assert torch.equal(torch.cat([a for a, _ in batches(x)]), x)
    made = batches(x, shuffle=True)
    first, second = (torch.cat([a for a, _ in made]) for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("n", "expected"), [(3, 3), (4, 4), (9, 4)])
def test_the_default_is_no_more_than_the_data(n, expected):
    assert batches(torch.rand(n, 2)).batch_size == expected


def test_floats_are_converted_and_integers_stay():
    (x, target), *_ = batches((np.zeros((3, 2)), np.zeros((3, 2), dtype=np.int64)))
    assert x.dtype == torch.float32
    assert target.dtype == torch.int64
    (x, target), *_ = batches(torch.rand(3, 2).half(), dtype=torch.float64)
    assert x.dtype == torch.float64
    assert target is None


@pytest.mark.parametrize("change", ["readonly", "reversed"])
def test_arrays_that_torch_does_not_share_are_copied_silently(change):
    array = np.arange(12.0).reshape(4, 3)
    given = {
        "readonly": array.copy(),
        "reversed": array[:, ::-1],
    }
    given["readonly"].setflags(write=False)
    (x, _), *_ = batches(given[change])
    expected = array[:, ::-1] if change == "reversed" else array
    assert np.array_equal(x.numpy(), expected)


def test_messages_may_be_integers_with_integer_targets():
    words = torch.randint(10, (6, 5))
    for x, target in batches((words, words)):
        assert x.dtype == target.dtype == torch.int64


def test_a_loader_of_unknown_length_has_no_length():
    class Stream(IterableDataset):
        def __iter__(self):
            yield from torch.rand(5, 2)

    made = batches(Stream())
    assert made.samples is None
    with pytest.raises(TypeError):
        len(made)
    assert [len(x) for x, _ in made] == [4, 1]
    assert [len(x) for x, _ in made] == [4, 1]


def test_batches_of_three_parts_are_refused():
    class Three(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return torch.rand(2), torch.rand(2), torch.rand(2)

    with pytest.raises(ValueError, match="got 3 parts, expected messages, or a pair"):
        list(batches(DataLoader(Three())))


def test_an_empty_dataset_is_refused():
    class Empty(Dataset):
        def __len__(self):
            return 0

    with pytest.raises(ValueError, match="got no data"):
        batches(Empty())


def test_infinite_values_are_counted_and_located():
    x = torch.zeros(9, 2, 2)
    x[4, 0, 1] = math.inf
    x[7] = -math.inf
    with pytest.raises(
        ValueError, match=r"2 of 9 samples have NaN or infinite.* first is number 4"
    ):
        batches(x)


def test_targets_may_be_one_class_a_sample():
    classes = torch.tensor([0, 2, 1, 2])
    model = aebook.Autoencoder(aebook.networks.mlp((5, 2)), aebook.networks.mlp((2, 3)))
    objective = aebook.Objective(model, distance=aebook.distances.categorical)
    x = torch.rand(4, 5)
    expected = torch.nn.functional.cross_entropy(model(x), classes).item()
    assert aebook.evaluate(objective, (x, classes))["loss"] == pytest.approx(expected, rel=1e-6)


def with_zeros(*shape):
    """A matrix of which three entries in ten are not zero."""
    g = np.random.default_rng(0)
    return g.random(shape) * (g.random(shape) < 0.3)


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_sparse_matrix_gives_the_batches_of_the_dense_one(kind, shuffle):
    dense = sparse.coo_array(with_zeros(23, 5)).asformat(kind)
    target = torch.arange(23.0)
    for made in (dense, sparse.csr_matrix(dense)):
        torch.manual_seed(0)
        got = list(batches((made, target), 4, shuffle=shuffle))
        torch.manual_seed(0)
        expected = list(batches((dense.toarray(), target), 4, shuffle=shuffle))
        for (x, t), (y, s) in zip(got, expected, strict=True):
            assert x.dtype == torch.float32
            assert torch.equal(x, y)
            assert torch.equal(t, s)


def test_a_mapped_array_gives_the_batches_of_the_one_in_memory(tmp_path):
    x = np.random.default_rng(0).random((23, 2, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for shuffle in (False, True):
        torch.manual_seed(0)
        got = [a for a, _ in batches(mapped, 4, shuffle=shuffle)]
        torch.manual_seed(0)
        expected = [a for a, _ in batches(x, 4, shuffle=shuffle)]
        assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_a_mapped_array_that_is_not_finite_is_refused_by_the_number_of_the_sample(tmp_path):
    x = np.zeros((20, 3), np.float32)
    x[17] = np.nan
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for shuffle in (False, True):
        with pytest.raises(ValueError, match=r"1 of 4 samples .* the first is number 17"):
            list(batches(mapped, 4, shuffle=shuffle))


def test_tables_of_pandas_are_arrays():
    table = pandas.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    ((x, target),) = batches((table, table["b"]))
    assert torch.equal(x, torch.tensor([[1.0, 3.0], [2.0, 4.0]]))
    assert torch.equal(target, torch.tensor([3.0, 4.0]))
    with pytest.raises(ValueError, match=r"columns 'a' .*, expected numbers"):
        batches(pandas.DataFrame({"a": ["x", "y"]}))


def test_training_on_a_sparse_matrix_is_training_on_the_dense_one():
    x = sparse.csr_array(with_zeros(50, 6))
    found = []
    for data in (x, x.toarray()):
        torch.manual_seed(0)
        objective = aebook.variants.plain((6, 3))
        aebook.fit(objective, data, epochs=3, batch_size=8, device="cpu", progress=False)
        found.append(list(objective.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


class Once(IterableDataset):
    def __init__(self, values):
        self.values = iter(values)

    def __iter__(self):
        return self.values


@pytest.mark.parametrize("make", [Once, lambda x: DataLoader(Once(x), batch_size=7)])
def test_a_stream_that_can_be_read_once_is_told_from_an_empty_one(make):
    x = torch.rand(20, 6)
    objective = aebook.variants.plain((6, 3))
    for kind in ({"data": make(x)}, {"data": x, "validation": make(x)}):
        with pytest.raises(ValueError, match=r"only once: .* second pass; .*starts anew") as error:
            aebook.fit(objective, epochs=2, device="cpu", **kind)
        assert len(error.value.history) == 1
        with pytest.raises(ValueError, match="got no data: the loader ended before its first"):
            aebook.fit(objective, epochs=2, device="cpu", **kind | {"data": make([])})
    assert len(aebook.fit(objective, make(x), epochs=1, device="cpu")) == 1
