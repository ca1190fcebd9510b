"""Data in, results out: every kind of data against every function that takes messages."""

import re
import sys
import types
import warnings
from collections import Counter
from functools import partial

import numpy as np
import pandas
import pytest
import torch
from scipy import sparse
from torch import nn
from torch.optim import SGD
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import aebook
from aebook import estimators, live, metrics
from aebook.applications.anomaly import (
    decompose,
    likelihood_regret,
    mahalanobis,
    negative_elbo,
    negative_log_likelihood,
    reconstruction_error,
    reconstruction_probability,
)
from aebook.applications.popularity import stacked_features
from aebook.applications.retrieval import SemanticHasher, itq, lsh, pca_sign
from aebook.boltzmann import RBM, pretrain
from aebook.concrete import relaxed_one_hot
from aebook.data import batched
from aebook.inference import evaluating, in_pieces
from aebook.theory import dimension, likelihood, linear, score
from aebook.training import layerwise
from aebook.training.reach import output_range

pytestmark = pytest.mark.usefixtures("on_the_cpu")

N, M = 30, 6
GENERATOR = np.random.default_rng(5)
#: Sixteenths, which every type of floating point holds exactly.
GREY = (GENERATOR.integers(0, 17, (N, M)) / 16).astype(np.float32)
BITS = (GREY > 0.5).astype(np.float32)


class Rows(Dataset):
    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        return self.values[index]


class NoLength(Dataset):
    def __getitem__(self, index):
        return torch.zeros(M)


class Flow(IterableDataset):
    def __init__(self, values):
        self.values = values

    def __iter__(self):
        return iter(self.values)


class InFile:
    """What h5py and zarr offer: a shape, a type, and slices."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.most = values, values.shape, values.dtype, 0

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        part = self.values[rows].copy()
        self.most = max(self.most, len(part))
        return part


class Faulty(InFile):
    """The same, which says or gives what is not so."""

    def __init__(self, values, shape=None, gives=None):
        super().__init__(values)
        self.shape, self.gives = self.shape if shape is None else shape, gives

    def __getitem__(self, rows):
        return super().__getitem__(rows) if self.gives is None else self.gives(self.values[rows])


class Failing(Rows):
    """A data set that does not know numbers by which it is asked."""

    def __getitem__(self, index):
        return self.values[index + 25]


# polars is not among what the tests need; these two do what is asked of it


class PolarsType(str):
    __slots__ = ()

    def is_numeric(self):
        return self in ("Float32", "Float64", "Int64")


class PolarsSeries:
    def __init__(self, name="", values=None):
        self.name, self.values = name, np.asarray(values)
        kinds = {"f": "Float32", "i": "Int64", "b": "Boolean"}
        first = next((v for v in self.values.ravel().tolist() if v is not None), "")
        fallback = "Boolean" if isinstance(first, bool) else "String"
        self.dtype = PolarsType(kinds.get(self.values.dtype.kind, fallback))

    def is_null(self):
        return np.array([value is None for value in self.values.ravel().tolist()])

    def to_numpy(self):
        return self.values

    def __array__(self, dtype=None, copy=None):
        return self.values.astype(dtype)


class PolarsFrame:
    def __init__(self, data, schema=None):
        columns = data if isinstance(data, dict) else dict(zip(schema, data.T, strict=True))
        self.held = {name: PolarsSeries(name, values) for name, values in columns.items()}
        self.columns, self.shape = (
            list(self.held),
            (len(next(iter(columns.values()))), len(columns)),
        )

    def get_columns(self):
        return list(self.held.values())

    def to_numpy(self):
        return np.stack([series.values for series in self.held.values()], axis=1)


@pytest.fixture(autouse=True)
def polars(monkeypatch):
    module = types.ModuleType("polars")
    module.Series, module.DataFrame = PolarsSeries, PolarsFrame
    # scikit-learn asks for it
    module.LazyFrame = type("LazyFrame", (), {})
    for kind in (PolarsSeries, PolarsFrame):
        monkeypatch.setattr(kind, "__module__", "polars.dataframe")
    monkeypatch.setitem(sys.modules, "polars", module)
    return module


NAMES = list("abcdef")


def mapped(x, tmp_path):
    np.save(tmp_path / "x.npy", x)
    return np.load(tmp_path / "x.npy", mmap_mode="r")


def frozen(x):
    x = x.copy()
    x.setflags(write=False)
    return x


def frame(x):
    return pandas.DataFrame(x, columns=NAMES, index=[f"row {k}" for k in range(len(x))])


#: What is in memory, and read in the order in which the tensor is.
IN_MEMORY = {
    "tensor": torch.from_numpy,
    "tensor of doubles": lambda x: torch.from_numpy(x).double(),
    "tensor of halves": lambda x: torch.from_numpy(x).half(),
    "tensor of bfloat16": lambda x: torch.from_numpy(x).bfloat16(),
    "tensor of float8": lambda x: torch.from_numpy(x).to(torch.float8_e4m3fn),
    "tensor that asks for gradients": lambda x: torch.from_numpy(x).clone().requires_grad_(),
    "tensor in another order": lambda x: torch.from_numpy(x.T.copy()).T,
    "array": lambda x: x,
    "array of doubles": lambda x: x.astype(float),
    "array of halves": lambda x: x.astype(np.float16),
    "big-endian": lambda x: x.astype(">f4"),
    "big-endian doubles": lambda x: x.astype(">f8"),
    "long double": lambda x: x.astype(np.longdouble),
    "read-only": frozen,
    "backwards": lambda x: x[::-1].copy()[::-1],
    "Fortran": np.asfortranarray,
    "nothing masked": lambda x: np.ma.masked_array(x, mask=np.zeros_like(x, bool)),
    "table": frame,
    "table of doubles": lambda x: frame(x.astype(float)),
    "nullable table": lambda x: frame(x).astype("Float64"),
    "sparse table": lambda x: frame(x).astype(pandas.SparseDtype("float32", 0)),
    "mixed table": lambda x: frame(x).astype({"a": "Float32", "b": float}),
    "names twice": lambda x: pandas.DataFrame(x, columns=list("aabbcc")),
    "polars": lambda x: PolarsFrame(x, NAMES),
    "csr": sparse.csr_array,
    "csc": sparse.csc_matrix,
    "coo": lambda x: sparse.coo_array(x.astype(float)),
    "dok": sparse.dok_array,
    "TensorDataset": lambda x: TensorDataset(torch.from_numpy(x)),
    "one part": lambda x: (x,),
}
if torch.cuda.is_available():
    # the models being on the CPU
    IN_MEMORY["tensor on a GPU"] = lambda x: torch.from_numpy(x).cuda()
IN_PARTS = {
    "memory-mapped": mapped,
    "big-endian memory-mapped": lambda x, path: mapped(x.astype(">f8"), path),
    "in a file": lambda x, path: InFile(x),
    "big-endian in a file": lambda x, path: InFile(x.astype(">f4")),
    "nothing masked in a file": lambda x, path: InFile(np.ma.masked_array(x)),
}
#: In what order, or in which batches, these train differs from the tensor.
LOADED = {
    "Dataset": lambda x: Rows(torch.from_numpy(x)),
    "Dataset of arrays": Rows,
    "ConcatDataset": lambda x: ConcatDataset([Rows(x[:10]), Rows(x[10:])]),
    "DataLoader": lambda x: DataLoader(Rows(x), batch_size=7),
    "DataLoader that shuffles": lambda x: DataLoader(Rows(x), batch_size=7, shuffle=True),
    "DataLoader that drops": lambda x: DataLoader(Rows(x), batch_size=N, drop_last=True),
    "DataLoader of a list": lambda x: DataLoader(list(x), batch_size=7),
    "DataLoader of arrays": lambda x: DataLoader(Rows(x), batch_size=7, collate_fn=np.stack),
    "DataLoader of doubles": lambda x: DataLoader(Rows(x.astype(float)), batch_size=7),
    "batches of its own": lambda x: DataLoader(
        Rows(x), batch_sampler=BatchSampler(SequentialSampler(range(N)), 7, drop_last=False)
    ),
    "Dataset of big-endian rows": lambda x: Rows(x.astype(">f8")),
    "Dataset of long doubles": lambda x: Rows(x.astype(np.longdouble)),
    "Dataset of rows backwards": lambda x: Rows(x[:, ::-1].copy()[:, ::-1]),
    "Dataset with nothing masked": lambda x: Rows(np.ma.masked_array(x)),
    "Dataset that asks for gradients": lambda x: Rows(torch.from_numpy(x).clone().requires_grad_()),
    "big-endian batches": lambda x: DataLoader(Rows(np.split(x.astype(">f4"), 3)), batch_size=None),
    "tables in batches": lambda x: DataLoader(
        Rows(x), 7, collate_fn=lambda batch: frame(np.stack(batch))
    ),
    "sparse batches": lambda x: DataLoader(
        Rows(x), 7, collate_fn=lambda batch: sparse.csr_array(np.stack(batch))
    ),
    "no batches": lambda x: DataLoader(Rows(torch.from_numpy(x).split(7)), batch_size=None),
    "stream": lambda x: Flow(torch.from_numpy(x)),
    "DataLoader of a stream": lambda x: DataLoader(Flow(x), batch_size=7),
}
#: Truth values and counts, which tables and sparse matrices hold.
BINARY = {
    "truth values": lambda x: torch.from_numpy(x).bool(),
    "array of truth values": lambda x: x.astype(bool),
    "table of truth values": lambda x: frame(x.astype(bool)),
    "nullable truth values": lambda x: frame(x.astype(bool)).astype("boolean"),
    "dummies": lambda x: frame(x).astype({"a": bool, "b": "boolean", "c": "Int64", "d": int}),
    "nullable whole numbers": lambda x: frame(x.astype(int)).astype("Int64"),
    "polars, truth values": lambda x: PolarsFrame(x.astype(bool), NAMES),
    "sparse truth values": lambda x: sparse.csr_array(x.astype(bool)),
    "sparse counts": lambda x: sparse.csr_matrix(x.astype(int)),
}


def plain(**options):
    torch.manual_seed(0)
    return aebook.variants.plain((M, 5, 2), **options)


def vae():
    torch.manual_seed(0)
    return aebook.variants.variational((M, 5, 2)).eval()


def straight():
    torch.manual_seed(0)
    return aebook.variants.linear((M, 2)).model


def backwards():
    torch.manual_seed(0)
    return aebook.Autoencoder(nn.Identity(), nn.Linear(M, 2))


def weights(*modules):
    state = [value for module in modules for value in module.state_dict().values()]
    return torch.cat([value.detach().double().flatten() for value in state])


ALONE = {"epochs": 2, "progress": False}


def fitted(data, **options):
    objective = plain()
    size = {} if isinstance(data, DataLoader) else {"batch_size": 7}
    aebook.fit(objective, data, **ALONE, **size, **options)
    return weights(objective)


def at_once(data):
    objective = plain(activation=nn.Tanh).double()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="L-BFGS stopped after 2 iterations")
        aebook.lbfgs(objective, data, iterations=2)
    return weights(objective)


def layers(data):
    objective = plain()
    size = {} if isinstance(data, DataLoader) else {"batch_size": 7}
    layerwise(objective, data, **ALONE, **size)
    return weights(objective)


def machine(data):
    torch.manual_seed(0)
    rbm = RBM(M, 3)
    rbm.fit(data, epochs=2, **({} if isinstance(data, DataLoader) else {"batch_size": 7}))
    return weights(rbm)


def stack(data):
    torch.manual_seed(0)
    return weights(*pretrain((M, 4, 2), data, epochs=1))


def parts_of(data):
    parts = decompose(plain(), data, 0.1, rounds=1)
    return [parts.L, parts.S]


TRAINS = {
    "fit": fitted,
    "fit, validation": lambda d: fitted(torch.from_numpy(GREY), validation=d, patience=1),
    "layerwise": layers,
    "RBM.fit": machine,
    "pretrain": stack,
    "decompose": parts_of,
}
COMPUTES = {
    "evaluate": lambda d: aebook.evaluate(plain(), d)["loss"],
    "lbfgs": at_once,
    "encode": lambda d: aebook.encode(plain().model, d),
    "reconstruct": lambda d: aebook.reconstruct(plain().model, d, chunk=4),
    "decode": lambda d: aebook.decode(backwards(), d),
    "reconstruction_error": lambda d: reconstruction_error(plain(), d),
    "reconstruction_probability": lambda d: reconstruction_probability(vae(), d, 2),
    "negative_elbo": lambda d: negative_elbo(vae(), d, 2),
    "negative_log_likelihood": lambda d: negative_log_likelihood(vae(), d, 2),
    "likelihood_regret": lambda d: likelihood_regret(vae(), d, steps=2, samples=2),
    "mahalanobis": lambda d: mahalanobis(plain(), d, torch.from_numpy(GREY)),
    "reference": lambda d: mahalanobis(plain(), torch.from_numpy(GREY), d),
    "SemanticHasher": lambda d: SemanticHasher(plain().model, d).bits(d),
    "lsh": lambda d: lsh(d, 5).encode(d),
    "pca_sign": lambda d: pca_sign(d, 3).bits(d),
    "itq": lambda d: itq(d, 3).bits(d),
    "stacked_features": lambda d: stacked_features(d, (3,), epochs=1, fine_tune=0)(d),
    "principal_components": lambda d: linear.principal_components(d, 3).components,
    "masked_map": lambda d: linear.masked_map(d, 0.5, 3).matrix,
    "eckart_young": lambda d: linear.eckart_young(d, 3),
    "two_nn": lambda d: dimension.two_nn(d).dimension,
    "linear_denoiser": lambda d: score.linear_denoiser(d, 0.1).matrix,
    "linear_denoising_loss": lambda d: score.linear_denoising_loss(straight(), d, 0.1),
    "score": lambda d: score.score(plain().eval().model, d, 0.1),
    "elbo": lambda d: likelihood.elbo(vae(), d, 2),
    "importance_weighted_bound": lambda d: likelihood.importance_weighted_bound(vae(), d, 4),
    "active_units": lambda d: likelihood.active_units(vae().model, d, 0),
    "fvu": lambda d: metrics.fvu(d, torch.from_numpy(GREY + 1)),
    "explore": lambda d: np.array(live.explore(plain().model, d, shape=(1, M)).data["start"]),
    "sketch": lambda d: live.sketch(plain().model, d, shape=(1, M)).data["usual"],
    "l0": metrics.l0,
    "dead_units": metrics.dead_units,
}
LIKELIHOODS = {
    "reconstruction_probability",
    "negative_elbo",
    "negative_log_likelihood",
    "likelihood_regret",
    "elbo",
    "importance_weighted_bound",
}


def numbers(result):
    if isinstance(result, list):
        return np.concatenate([numbers(part) for part in result])
    if hasattr(result, "detach"):
        result = result.detach().cpu()
    elif hasattr(result, "to_numpy"):
        result = result.to_numpy()
    return np.asarray(result, dtype=float)


def given(x, tmp_path, *kinds):
    for kind in kinds:
        for name, make in kind.items():
            yield name, make(x, tmp_path) if kind is IN_PARTS else make(x)


@pytest.mark.parametrize("function", TRAINS)
def test_every_kind_of_data_trains_as_the_tensor_does(function, tmp_path):
    train = TRAINS[function]
    for x, kinds in ((GREY, (IN_MEMORY, IN_PARTS)), (BITS, (BINARY,))):
        expected = numbers(train(torch.from_numpy(x)))
        for name, data in given(x, tmp_path, *kinds):
            np.testing.assert_array_equal(numbers(train(data)), expected, err_msg=name)
    for name, data in given(GREY, tmp_path, LOADED):
        assert np.isfinite(numbers(train(data))).all(), name


@pytest.mark.parametrize("function", COMPUTES)
def test_every_kind_of_data_gives_what_the_tensor_gives(function, tmp_path):
    compute = COMPUTES[function]
    grey = BITS if function in LIKELIHOODS else GREY
    for x, kinds in ((grey, (IN_MEMORY, IN_PARTS, LOADED)), (BITS, (BINARY,))):
        expected = numbers(compute(torch.from_numpy(x)))
        for name, data in given(x, tmp_path, *kinds):
            found = numbers(compute(data))
            assert found.shape == expected.shape, name
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5, err_msg=name)


def structured(x):
    return np.rec.fromarrays(x.T, names=NAMES)


def holed(x, value):
    x = x.copy()
    x[3, 2] = value
    return x


def masked(x):
    return np.ma.masked_array(x, mask=holed(np.zeros_like(x), 1) > 0)


def masked_tensor(x):
    x = torch.from_numpy(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a prototype, says PyTorch
        return torch.masked.masked_tensor(x, x >= 0)


#: What cannot be taken, and what is said of it.
WRONG = {
    "list of arrays": (list, r"list of 30 numpy\.ndarray.*np\.stack"),
    "list of tensors": (
        lambda x: list(torch.from_numpy(x)),
        r"list of 30 torch\.Tensor.*torch\.st",
    ),
    "list of lists": (lambda x: x.tolist(), r"list of 30 list.*np\.array"),
    "list of two": (lambda x: [x, x], r"list of 2 .*a pair, which is a tuple"),
    "list of two tensors": (lambda x: [torch.from_numpy(x)] * 2, r"a pair, which is a tuple"),
    "three parts": (lambda x: (x, x, x), "got 3 parts"),
    "masked": (masked, "masked array with 1 masked"),
    "masked in a file": (lambda x: InFile(masked(x)), "masked array with 1 masked"),
    "masked rows": (lambda x: Rows(masked(x)), "masked array with 1 masked"),
    "masked rows in a loader": (lambda x: DataLoader(Rows(masked(x)), 7), "with 1 masked"),
    "masked batches": (lambda x: DataLoader(Rows([masked(x)]), batch_size=None), "with 1 masked"),
    "complex": (lambda x: x.astype(complex), "complex numbers"),
    "complex tensor": (lambda x: torch.from_numpy(x).cfloat(), "complex numbers"),
    "text": (lambda x: frame(x).assign(colour="red"), r"'colour' \(.*get_dummies"),
    "categories": (lambda x: frame(x).astype({"b": "category"}), r"'b' \(category\)"),
    "times": (lambda x: frame(x).assign(when=pandas.Timestamp(0)), r"'when' \(datetime64"),
    "objects in a table": (lambda x: frame(x).astype({"c": object}), r"'c' \(object\)"),
    "missing": (lambda x: frame(holed(x, np.nan)).astype("Float64"), "missing values in .*'c'"),
    "missing truth value": (
        lambda x: frame(x).assign(there=pandas.array([None, *[True] * (N - 1)], "boolean")),
        "missing values in .*'there'",
    ),
    "NaN in a table": (lambda x: frame(holed(x, np.nan)), "NaN or missing values in .*'c'"),
    "text in polars": (lambda x: PolarsFrame({"a": ["x"] * N, "b": x[:, 0]}), r"'a' \(String\)"),
    "missing in polars": (lambda x: PolarsFrame({"b": [None, *[True] * (N - 1)]}), "missing .*'b'"),
    "objects": (lambda x: x.astype(object), r"array of object.*astype\(float\)"),
    "strings": (lambda x: x.astype(str), "these are text"),
    "records": (structured, "records"),
    "times in an array": (lambda x: x.astype("datetime64[s]"), "times"),
    "records in a file": (lambda x: InFile(structured(x)), "records"),
    "complex in a file": (lambda x: InFile(x.astype(complex)), "complex"),
    "complex sparse": (lambda x: sparse.csr_array(x.astype(complex)), "complex"),
    "sparse vector": (lambda x: sparse.coo_array(x[0]), r"sparse array of shape \(6,\)"),
    "sparse tensor": (lambda x: torch.from_numpy(x).to_sparse(), "sparse.* tensor.*to_dense"),
    "masked tensor": (lambda x: masked_tensor(x), "got a masked tensor.*to_tensor"),
    "rows of masked tensors": (lambda x: Rows([masked_tensor(r) for r in x]), "a masked tensor"),
    "batches of masked tensors": (
        lambda x: DataLoader(Rows([masked_tensor(x)]), batch_size=None),
        "got a masked tensor",
    ),
    "unknown length": (
        lambda x: Faulty(x, (None, M)),
        r"shape \(None, 6\), expected whole numbers",
    ),
    "unknown width": (lambda x: Faulty(x, (N, -1)), r"shape \(30, -1\), expected whole numbers"),
    "no shape": (lambda x: Faulty(x, "?"), r"Faulty of shape '\?', expected whole numbers"),
    "more said than there": (lambda x: Faulty(x, (2 * N, M)), r"from x\[\d+:\d+\] of a .*Faulty"),
    "wider than said": (lambda x: Faulty(x, (N, 2)), r"expected numbers of shape \(\d+, 2\)"),
    "slices of nothing": (lambda x: Faulty(x, gives=lambda part: None), r"shape \(\) and object"),
    "slices of text": (lambda x: Faulty(x, gives=lambda part: part.astype(str)), "and <U"),
    "slices of lists": (lambda x: Faulty(x, gives=lambda part: [[1.0], [2.0, 3.0]]), "array"),
    "meta tensor": (lambda x: torch.from_numpy(x).to("meta"), "meta tensor"),
    "NaN": (lambda x: holed(x, np.nan), "1 of 30 samples have NaN.*number 3"),
    "infinity": (lambda x: holed(x, np.inf), "1 of 30 samples have NaN.*number 3"),
    "NaN in a tensor": (lambda x: torch.from_numpy(holed(x, np.nan)), "number 3"),
    "NaN in a file": (lambda x: InFile(holed(x, np.nan)), "number 3"),
    "NaN in a sparse matrix": (lambda x: sparse.csr_array(holed(x, np.nan)), "number 3"),
    "NaN in a loader": (lambda x: DataLoader(Rows(holed(x, np.nan))), "NaN or infinite"),
    "NaN in a stream": (lambda x: Flow(holed(x, np.nan)), "NaN or infinite"),
    "Dataset of dicts": (lambda x: Rows([{"x": row} for row in x]), "dict with the keys 'x'"),
    "loader of dicts": (lambda x: DataLoader([{"x": row} for row in x]), "dict with the keys 'x'"),
    "no length": (lambda x: NoLength(), "NoLength without a length.*IterableDataset"),
    "loader without length": (
        lambda x: DataLoader(NoLength(), sampler=range(N)),
        "without a length",
    ),
    "Dataset of text": (lambda x: Rows(["a"] * N), "list of .* str as data"),
    "Dataset of anything": (lambda x: Rows([object()] * N), "could not make a batch"),
    "ragged Dataset": (
        lambda x: Rows([row[: 1 + k % 2] for k, row in enumerate(x)]),
        "one shape|a batch of shape",
    ),
    "loader of rows": (
        lambda x: DataLoader(Rows(x), batch_size=9, collate_fn=list),
        r"list of 9 numpy\.ndarray.*np\.stack",
    ),
    "loader of two": (
        lambda x: DataLoader(Rows(torch.from_numpy(x).split(5)), 2, collate_fn=list),
        "list of 2 .*a pair, which is a tuple",
    ),
    "Dataset of lists of two": (
        lambda x: Rows([[row, row] for row in x]),
        "list of 2 .*a pair, which is a tuple",
    ),
    "batches that are lists of two": (
        lambda x: DataLoader(Rows([[x, x]]), batch_size=None),
        "list of 2 .*a pair, which is a tuple",
    ),
    "Dataset of lists": (lambda x: Rows(x.tolist()), r"list of 6 float.*np\.array"),
    "sparse rows": (
        lambda x: Rows([row.to_sparse() for row in torch.from_numpy(x)]),
        "sparse.* tensor.*to_dense",
    ),
    "ragged Dataset of tuples": (
        lambda x: Rows([(row,) * (1 + k % 2) for k, row in enumerate(x)]),
        "could not make a batch",
    ),
    "loader of a table": (lambda x: DataLoader(frame(x), 7), "DataLoader of a DataFrame"),
    "loader of a column": (lambda x: DataLoader(frame(x)["a"], 7), "DataLoader of a Series"),
    "loader of a dict": (lambda x: DataLoader({"x": x}, 7), "DataLoader of a dict"),
    "past the end": (lambda x: Failing(x), r"data set failed at \d+ \(IndexError: .*iloc"),
    "names for numbers": (
        lambda x: Failing(dict(enumerate(x))),
        r"data set failed at \d+ \(KeyError: \d+\).*iloc",
    ),
    "messages, then pairs": (lambda x: Rows([x[0], (x[0], x[0])] * 15), "expected one kind"),
    "pairs, then messages": (lambda x: Rows([(x[0], x[0]), x[0]] * 15), "expected one kind"),
    "batches, then pairs": (
        lambda x: DataLoader(Rows([x[:5], (x[:5], x[:5])]), batch_size=None),
        "expected one kind",
    ),
    "pairs, then batches": (
        lambda x: DataLoader(Rows([(x[:5], x[:5]), x[:5]]), batch_size=None),
        "expected one kind|got pairs|messages alone",
    ),
    "empty batches": (lambda x: DataLoader(Rows([x[:0]]), batch_size=None), "without samples"),
    "single messages": (lambda x: DataLoader(Rows(x), batch_size=None), r"shape \(6,\)"),
    "a vector": (lambda x: x[0], r"shape \(6,\).*x\[None\]"),
    "a number": (lambda x: np.float32(1), r"shape \(\)"),
    "nothing": (lambda x: x[:0], "got no data"),
    "no numbers": (lambda x: x[:, :0], r"shape \(30, 0\), expected at least one number"),
    "no columns": (lambda x: frame(x)[[]], "a table without columns"),
    "no parts": (lambda x: (), "got 0 parts"),
    "empty loader": (lambda x: DataLoader(Flow([])), "ended before its first batch"),
    "a path": (lambda x: "images.npy", "got str as data"),
    "a dict": (lambda x: {"x": x}, "dict with the keys 'x'"),
    "a generator": (lambda x: (row for row in x), "got generator as data"),
    "None": (lambda x: None, "got NoneType as data"),
}


@pytest.mark.parametrize("function", [*TRAINS, *COMPUTES])
def test_what_cannot_be_taken_is_refused_by_name(function):
    call = {**TRAINS, **COMPUTES}[function]
    x = BITS if function in LIKELIHOODS else GREY
    outcomes, faults = Counter(), []
    for name, (make, message) in WRONG.items():
        if function == "fit, validation" and name == "None":
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
                call(make(x))
        except ValueError as error:
            said = bool(re.search(message, str(error)))
            outcomes["refused by name" if said else "another word"] += 1
            faults += [] if said else [(name, str(error))]
        except Exception as error:
            outcomes["raw"] += 1
            faults.append((name, repr(error)))
        else:
            outcomes["accepted"] += 1
            faults.append((name, "accepted"))
    assert not faults, (outcomes, faults)


# Estimators


def estimate(kind, data):
    options = {"novelty": False} if kind is estimators.AutoencoderDetector else {}
    made = kind(epochs=1, hidden_layer_sizes=(4,), scale=False, random_state=0, **options).fit(data)
    found = (made.score_samples if hasattr(made, "score_samples") else made.transform)(data)
    found = found.toarray() if sparse.issparse(found) else found
    return [weights(made.objective_), found.ravel()]


ESTIMATORS = [getattr(estimators, name) for name in estimators.__all__]
# a selector of one epoch says that it is not sure
unsure = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@unsure
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_estimators_take_what_everything_takes(kind, tmp_path):
    loaded = {name: LOADED[name] for name in ("DataLoader that shuffles", "big-endian batches")}
    for x, kinds in ((GREY, (IN_MEMORY, IN_PARTS, loaded)), (BITS, (BINARY,))):
        expected = numbers(estimate(kind, torch.from_numpy(x)))
        for name, data in given(x, tmp_path, *kinds):
            # to scikit-learn a tuple is a list of rows; it refuses names twice, and knows polars
            if not re.match("one part|names twice|polars", name):
                found = numbers(estimate(kind, data))
                np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6, err_msg=name)


#: What scikit-learn takes too: tuples and lists are rows, and objects may be numbers.
OF_SCIKIT_LEARN = {"list of arrays", "list of tensors", "list of lists", "objects"}
#: What an estimator refuses in the same words as everything does.
SAME_WORDS = """
    masked|masked in a file|masked rows|masked rows in a loader|masked batches|text|categories|times
    |objects in a table|missing|missing truth value|NaN in a table|text in polars|missing in polars
    |strings|records|times in an array|records in a file|complex tensor|complex in a file
    |sparse tensor|meta tensor|Dataset of dicts|Dataset of text|loader of two|no columns
    |Dataset of lists of two|NaN in a loader
"""


@unsure
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_estimators_refuse_what_everything_refuses(kind):
    same = {name.strip() for name in SAME_WORDS.split("|")}
    assert same | OF_SCIKIT_LEARN < set(WRONG)
    for name, (make, message) in WRONG.items():
        if name in OF_SCIKIT_LEARN:
            estimate(kind, make(GREY))
            continue
        words = message if name in same else f"{message}|got X=.*, expected a matrix"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
            with pytest.raises(ValueError, match=words):
                estimate(kind, make(GREY))
    for texts in (["1"] * M, np.array(["1"] * M, object), np.array([np.datetime64(1, "s")] * M)):
        with pytest.raises(ValueError, match=r"text|times"):
            estimate(kind, [texts] * N)


# Results out


X = torch.from_numpy(GREY)


def test_results_are_of_the_kind_that_came(polars, tmp_path):
    model, objective = plain().model, plain()
    index = [f"row {k}" for k in range(N)]
    for name, data in given(GREY, tmp_path, IN_MEMORY, IN_PARTS, LOADED):
        codes, again = aebook.encode(model, data), aebook.reconstruct(model, data)
        error = reconstruction_error(objective, data)
        if isinstance(data, tuple):
            continue
        results, shapes = (codes, again, error), ((N, 2), (N, M), (N,))
        assert tuple(r.shape for r in results if hasattr(r, "shape")) in (shapes, shapes[:2]), name
        if isinstance(data, torch.Tensor | Dataset | DataLoader):
            assert all(isinstance(r, torch.Tensor) and not r.requires_grad for r in results), name
            assert all(r.dtype == torch.float32 for r in results), name
        elif isinstance(data, pandas.DataFrame):
            assert isinstance(error, pandas.Series), name
            assert list(codes.columns) == ["z0", "z1"], name
            assert list(again.columns) == list(data.columns), name
            assert all(r.index.equals(data.index) for r in results), name
            assert name == "names twice" or list(data.index) == index
        elif isinstance(data, PolarsFrame):
            assert isinstance(error, PolarsSeries)
            assert codes.columns == ["z0", "z1"]
            assert again.columns == data.columns
        else:
            assert all(type(r) is np.ndarray and r.dtype == np.float32 for r in results), name


def test_decoding_what_was_encoded_reconstructs():
    model = plain().model
    for kind in (torch.from_numpy, np.array, frame):
        data = kind(GREY)
        again, expected = (
            aebook.decode(model, aebook.encode(model, data)),
            aebook.reconstruct(model, data),
        )
        assert type(again) is type(expected)
        np.testing.assert_allclose(numbers(again), numbers(expected), rtol=1e-6)
    # as many columns as the messages have are not known here
    assert list(aebook.decode(model, frame(GREY)[["a", "b"]]).columns) == [
        f"x{k}" for k in range(M)
    ]


def test_pieces_are_bounded_and_results_leave_the_device_one_by_one():
    model, sizes = plain().model, []
    model.encoder.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    held = InFile(GREY)
    found = aebook.encode(model, held, chunk=4)
    assert max(sizes) == held.most == 4
    np.testing.assert_allclose(found, aebook.encode(model, GREY), rtol=1e-6)


class Giving(nn.Module):
    """Gives what a function makes of the messages, whatever its one weight."""

    def __init__(self, function):
        super().__init__()
        self.function, self.weight = function, nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.function(x)


POOR = {
    "NaN": (lambda x: x / 0 * 0, "is NaN or infinite, though its weights"),
    "infinite in one": (lambda x: x.where(x != x[0, 0], torch.inf), "is NaN or infinite, though"),
    "one number": (lambda x: x.sum(), r"of shape \(\) for "),
    "one message": (lambda x: x[:1], r"of shape \(1, 6\) for "),
    "transposed": (lambda x: x.T, r"of shape \(6, 30\) for 30 messages"),
    "no tensor": (lambda x: (x, x), "what the (en|de)coder gave"),
}


@pytest.mark.parametrize("poor", POOR)
def test_results_are_finite_and_one_a_message(poor):
    part, message = POOR[poor]
    x, rest = torch.tensor(GREY), nn.Identity()
    behind, before = (aebook.Autoencoder(*p) for p in ((rest, Giving(part)), (Giving(part), rest)))
    for function, model in ((aebook.encode, before), (aebook.decode, behind)):
        with pytest.raises(ValueError, match=message):
            function(model, x)
    with pytest.raises(ValueError, match=message):
        aebook.reconstruct(behind, x)


def test_weights_that_are_not_finite_are_the_cause_where_they_are():
    model = aebook.Autoencoder(nn.Linear(M, 2), nn.Linear(2, M))
    model.encoder.weight.data[0, 0] = torch.nan
    with pytest.raises(ValueError, match="weights that are NaN"):
        aebook.encode(model, torch.tensor(GREY))


def test_only_a_model_is_encoded_with():
    for call in (aebook.encode, aebook.decode, aebook.reconstruct):
        with pytest.raises(ValueError, match=r"got model=Objective.*objective\.model"):
            call(plain(), X)
        with pytest.raises(ValueError, match="got chunk=0"):
            call(plain().model, X, chunk=0)


def test_the_state_of_nothing_is_changed():
    objective = aebook.Objective(
        aebook.Autoencoder(
            nn.Sequential(nn.Linear(M, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)), nn.Linear(4, M)
        )
    ).train()
    objective.model.encoder[1].eval()
    modes = [module.training for module in objective.modules()]
    before = {k: v.clone() for k, v in objective.state_dict().items()}
    random, asks = torch.get_rng_state(), X.clone().requires_grad_()
    loader = DataLoader(Rows(X), batch_size=7, shuffle=True)
    for data in (X, asks, loader, Rows(X), Flow(X), DataLoader(Flow(X), batch_size=7)):
        aebook.encode(objective.model, data)
        reconstruction_error(objective, data)
        aebook.evaluate(objective, data)
        assert [module.training for module in objective.modules()] == modes
        assert all(torch.equal(v, before[k]) for k, v in objective.state_dict().items())
        assert torch.equal(torch.get_rng_state(), random)
    with evaluating(objective):
        assert not any(module.training for module in objective.modules())
    assert [module.training for module in objective.modules()] == modes
    aebook.fit(objective, asks, **ALONE)
    assert asks.grad is None


def test_a_loader_is_read_in_the_order_of_its_data_set():
    x, model = (
        torch.arange(20.0)[:, None].expand(20, M),
        aebook.Autoencoder(nn.Identity(), nn.Identity()),
    )
    doubled = lambda rows: 2 * torch.stack(rows)  # noqa: E731
    for options in (
        {"shuffle": True},
        {"shuffle": True, "drop_last": True},
        {"drop_last": True},
        {"sampler": torch.utils.data.RandomSampler(x)},
        {"batch_sampler": BatchSampler(SequentialSampler(x), 3, drop_last=True)},
    ):
        size = {} if "batch_sampler" in options else {"batch_size": 3}
        loader = DataLoader(Rows(x), collate_fn=doubled, **size, **options)
        assert torch.equal(aebook.encode(model, loader), 2 * x)
    assert torch.equal(aebook.encode(model, DataLoader(Rows(x), num_workers=1, batch_size=4)), x)


def test_a_loader_of_the_callers_stays_as_it_is():
    for loader in (DataLoader(Rows(GREY), 10), DataLoader(Rows(np.split(GREY, 3)), None)):
        before = dict(vars(loader))
        assert torch.isfinite(fitted(loader)).all()
        assert vars(loader) == before


class Own(DataLoader):
    def __iter__(self):
        return iter(())


@pytest.mark.parametrize(
    "make",
    [
        lambda x: DataLoader(Rows(x), sampler=WeightedRandomSampler([1.0] * N, N)),
        lambda x: DataLoader(Rows(x), sampler=SubsetRandomSampler([1, 2])),
        lambda x: DataLoader(Rows(x), sampler=torch.utils.data.RandomSampler(x, num_samples=3)),
        lambda x: DataLoader(Rows(x), batch_sampler=[[1, 2], [3]]),
        lambda x: DataLoader(Rows(x), sampler=[3, 1, 2]),
        lambda x: Own(Rows(x)),
    ],
)
def test_an_order_that_nobody_can_tell_is_refused(make):
    with pytest.raises(ValueError, match=r"whose order nobody can tell.*Subset"):
        aebook.encode(plain().model, make(X))


# Pairs


def test_scores_compare_with_the_target_where_there_is_one():
    objective = plain()
    expected = ((objective.model(X) - (1 - X)) ** 2).sum(1).detach()
    for data in (
        (X, 1 - X),
        (GREY, 1 - GREY),
        (frame(GREY), frame(1 - GREY)),
        (sparse.csr_array(GREY), InFile(1 - GREY)),
        TensorDataset(X, 1 - X),
        DataLoader(TensorDataset(X, 1 - X), batch_size=7, shuffle=True),
        Rows(list(zip(GREY, 1 - GREY, strict=True))),
        DataLoader(Rows([(GREY, 1 - X)]), batch_size=None),
    ):
        found = reconstruction_error(objective, data)
        np.testing.assert_allclose(numbers(found), expected, rtol=1e-5)
        assert aebook.evaluate(objective, data)["loss"] == pytest.approx(float(expected.mean()))
        np.testing.assert_allclose(
            numbers(aebook.encode(objective.model, data)),
            objective.model.eval().encode(X),
            rtol=1e-5,
        )


def test_targets_of_another_shape_are_those_of_the_decoder():
    torch.manual_seed(0)
    model = aebook.Autoencoder(aebook.networks.mlp((M, 2)), aebook.networks.mlp((2, 3)))
    objective, target = aebook.Objective(model), X[:, :3] * 2
    aebook.fit(objective, (X, target), **ALONE)
    expected = ((model(X) - target) ** 2).sum(1)
    torch.testing.assert_close(reconstruction_error(objective, (X, target)), expected)
    aebook.lbfgs(objective.double(), (frame(GREY), target.numpy()), iterations=40, tolerance=10)
    layerwise(objective.float(), (X, target), **ALONE)


def test_a_likelihood_is_that_of_the_target():
    objective, b = vae(), torch.from_numpy(BITS)
    # nothing but the posterior is that of the message
    with pytest.raises(ValueError, match="values other than 0 and 1"):
        negative_elbo(objective, (b, X), 2)
    for score_ in (negative_elbo, reconstruction_probability, negative_log_likelihood):
        assert torch.equal(score_(objective, (b, b), 2), score_(objective, b, 2))
        assert not torch.equal(score_(objective, (b, 1 - b), 2), score_(objective, b, 2))
    assert torch.equal(likelihood.elbo(objective, (X, b)), likelihood.elbo(objective, (X, b)))


@pytest.mark.parametrize(
    "form", [lambda p: p, lambda p: TensorDataset(*p), lambda p: Rows(list(zip(*p, strict=True)))]
)
def test_what_has_no_use_for_targets_refuses_them(form):
    pair = form((X, X))
    for call in (
        lambda d: RBM(M, 2).fit(d, epochs=1),
        lambda d: decompose(plain(), d, 0.1, rounds=1),
        linear.principal_components,
        lambda d: lsh(d, 3),
    ):
        with pytest.raises(ValueError, match=r"got pairs .* expected messages alone"):
            call(pair)


def test_targets_may_be_series_of_classes():
    torch.manual_seed(0)
    model = aebook.Autoencoder(aebook.networks.mlp((M, 2)), aebook.networks.mlp((2, 3)))
    objective = aebook.Objective(model, distance=aebook.distances.categorical)
    classes = np.arange(N) % 3
    expected = aebook.evaluate(objective, (X, torch.from_numpy(classes)))["loss"]
    for target in (
        classes,
        classes.astype(np.uint8),
        classes.astype(np.uint16),
        pandas.Series(classes),
        pandas.Series(classes).astype("Int64"),
        PolarsSeries("y", classes),
    ):
        assert aebook.evaluate(objective, (GREY, target))["loss"] == expected
    for series, message in (
        (pandas.Series(["a"] * N, name="kind"), r"column 'kind' of .*factorize"),
        (pandas.Series([1.0, None] * (N // 2), name="y"), "missing values in the column 'y'"),
    ):
        with pytest.raises(ValueError, match=message):
            aebook.fit(objective, (GREY, series), epochs=1)
    with pytest.raises(ValueError, match="leave class labels out"):
        aebook.fit(plain(), (X, classes), epochs=1)


# Batches, devices


def test_a_batch_is_at_most_the_data():
    expected = fitted(X)
    for size in (N, N + 1, 10**9):
        objective = plain()
        aebook.fit(objective, X, batch_size=size, **ALONE)
        assert size > N or not torch.equal(weights(objective), expected)
        assert aebook.evaluate(plain(), X, batch_size=size) == aebook.evaluate(plain(), X)


def test_data_that_would_fill_the_device_are_moved_a_batch_at_a_time(monkeypatch):
    asked, meta = [], torch.device("meta")
    monkeypatch.setattr("aebook.data.has_room", lambda size, device: asked.append(size) or False)
    made = batched((X.double(), X), 7, shuffle=True, default=64, dtype=torch.float32, device=meta)
    assert asked == [2 * 4 * X.numel()]
    assert made.x.device.type == made.target.device.type == "cpu"
    for x, target in made:
        assert x.device == target.device == meta
        assert x.dtype == torch.float32
    monkeypatch.setattr("aebook.data.has_room", lambda size, device: True)
    made = batched(X, 7, shuffle=True, default=64, dtype=torch.float32, device=meta)
    assert made.x.device == meta


def test_integers_that_are_images_are_refused_with_the_factor():
    for kind, advice in ((np.uint8, "bytes by 255"), (np.uint16, "16 bits by 65535")):
        for call in (fitted, COMPUTES["encode"], COMPUTES["reconstruction_error"]):
            with pytest.raises(ValueError, match=advice):
                call((GREY * 200).astype(kind))
    with pytest.raises(ValueError, match=r"2\*\*63"):
        fitted(np.full((N, M), 2**63, np.uint64))


# Corruptions that work in place


@pytest.mark.parametrize(
    "corruption",
    [
        lambda x: x.mul_(0),
        lambda x: x.zero_().add(1),
        lambda x: nn.functional.dropout(x, 0.5, inplace=True),
    ],
)
def test_a_corruption_that_works_in_place_leaves_the_target_alone(corruption):
    by_hand = aebook.Objective(plain().model, lambda x: corruption(x.clone()))
    objective = aebook.Objective(plain().model, corruption)
    mine = X.clone()
    for kind in (lambda x: x, lambda x: DataLoader(Rows(x.split(7)), batch_size=None)):
        assert aebook.evaluate(objective, kind(mine)) == aebook.evaluate(by_hand, kind(X.clone()))
        aebook.fit(objective, kind(mine), **ALONE)
        aebook.fit(by_hand, kind(X.clone()), **ALONE)
        assert torch.equal(mine, X)
        assert torch.equal(weights(objective.model), weights(by_hand.model))


# Values that the decoder cannot reach


SIGMOIDS = {
    "plain": lambda: aebook.variants.plain((M, 2)),
    "tied": lambda: aebook.variants.plain((M, 2), tied=True),
    "k_sparse": lambda: aebook.variants.k_sparse((M, 4), 2),
    "sparse": lambda: aebook.variants.sparse((M, 4), 0.1),
    "denoising": lambda: aebook.variants.denoising((M, 2), aebook.corruptions.gaussian(0.1)),
    "contractive": lambda: aebook.variants.contractive((M, 2), 0.1),
    "a user's own": lambda: aebook.Objective(
        aebook.Autoencoder(nn.Linear(M, 2), nn.Sequential(nn.Linear(2, M), nn.Sigmoid()))
    ),
}


@pytest.mark.parametrize("name", SIGMOIDS)
def test_values_beyond_a_sigmoid_are_said_once(name):
    train = lambda data: aebook.fit(SIGMOIDS[name](), data, **ALONE)  # noqa: E731
    for data, bounds in (
        (X * 2 - 1, "-1 to 1"),
        (X.numpy() * 255, "0 to 255"),
        (frame(GREY * 2), "0 to 2"),
        (InFile(GREY - 1), "-1 to 0"),
        (DataLoader(Rows(X * 2), batch_size=N), "0 to 2"),
        (Flow(X * 2), "0 to 2"),
        ((X, X * 3), "0 to 3"),
    ):
        with pytest.warns(
            UserWarning, match=f"targets from {bounds} .* in sigmoid.*output=None"
        ) as w:
            train(data)
        assert len(w) == 1
        assert w[0].filename == __file__
    train((X * 5, X))
    train(X)


#: What is read in parts, and pairs of which the target is.
PARTS = {
    "memory-mapped": lambda x, folder: np.load(folder / "x.npy", mmap_mode="r"),
    "in a file": lambda x, folder: InFile(x),
    "sparse": lambda x, folder: sparse.csr_array(x),
    "targets": lambda x, folder: (np.tile(GREY, (2, 1)), InFile(x)),
    "a loader": lambda x, folder: DataLoader(Rows(x), batch_size=5),
    "in memory": lambda x, folder: x,
}


@pytest.mark.parametrize("role", ["data", "validation"])
@pytest.mark.parametrize("kind", PARTS)
def test_values_beyond_a_sigmoid_are_said_wherever_they_lie(kind, role, tmp_path):
    x = np.concatenate([GREY, GREY * np.float32(50), GREY[:0]])
    np.save(tmp_path / "x.npy", x)
    data = PARTS[kind](x, tmp_path)
    batches = {} if kind == "a loader" and role == "data" else {"batch_size": 5}
    given = {role: data} if role == "validation" else {}
    with pytest.warns(UserWarning, match="targets from .* in sigmoid") as caught:
        aebook.fit(
            SIGMOIDS["plain"](),
            X if given else data,
            epochs=2,
            device="cpu",
            progress=False,
            **given,
            **batches,
        )
    assert len(caught) == 1


#: What is finite in float64, and not in float32.
LARGE = {
    "array": lambda x: x,
    "tensor": torch.from_numpy,
    "table": frame,
    "in a file": InFile,
    "sparse": sparse.csr_array,
    "rows": Rows,
    "a loader": lambda x: DataLoader(Rows(x), 7),
    "a stream": Flow,
    "a target": lambda x: (GREY, x),
}


@pytest.mark.parametrize("kind", LARGE)
@pytest.mark.parametrize("function", ["fit", "evaluate", "lbfgs", "encode"])
def test_what_is_too_large_is_not_called_missing(function, kind):
    objective = SIGMOIDS["plain"]()
    data, short = LARGE[kind](GREY * np.float64(1e300)), GREY * 1e5
    call = {
        "fit": lambda data: aebook.fit(objective, data, **ALONE),
        "evaluate": lambda data: aebook.evaluate(objective, data),
        "lbfgs": lambda data: aebook.lbfgs(objective, data, iterations=1),
        "encode": lambda data: aebook.encode(objective.model, data),
    }[function]
    with pytest.raises(
        ValueError, match=r"got data from .*e\+300, expected what .*float32 can hold"
    ):
        call(data)
    objective.half()
    with pytest.raises(ValueError, match=r"got data from 0 to 1e\+05, expected .*float16 can hold"):
        call(short)


@pytest.mark.skipif(np.finfo(np.longdouble).max == np.finfo(float).max, reason="no longer numbers")
def test_longer_numbers_that_fit_none_are_said():
    huge = GREY.astype(np.longdouble) * np.longdouble("1e4000")
    for data in (huge, InFile(huge), Rows(huge)):
        with pytest.raises(ValueError, match=r"numbers up to .*, expected what float64 can hold"):
            aebook.fit(SIGMOIDS["plain"](), data, **ALONE)


class Functional(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.map, self.function = nn.Linear(2, M), function

    def forward(self, z):
        return self.function(self.map(z)).view(-1, 2, 3).flatten(1)


@pytest.mark.parametrize(
    ("function", "found", "low", "high"),
    [
        (torch.sigmoid, "sigmoid", 0, 1),
        (torch.tanh, "tanh", -1, 1),
        (torch.relu, "relu", 0, np.inf),
        (nn.functional.softplus, "softplus", 0, np.inf),
        (torch.exp, "exp", 0, np.inf),
        (lambda z: z.softmax(-1), "softmax", 0, 1),
    ],
)
def test_the_last_operation_of_any_decoder_is_found(function, found, low, high):
    decoder, z = Functional(function), torch.randn(3, 2)
    assert output_range(decoder, z) == (found, low, high)
    assert output_range(decoder.requires_grad_(False), z) == (found, low, high)
    objective = aebook.Objective(aebook.Autoencoder(nn.Linear(M, 2), Functional(function)))
    reach = -5 * X if low == 0 else X * 9 - 4
    with pytest.warns(UserWarning, match=found):
        aebook.fit(objective, reach, **ALONE)
    if high > 1:
        aebook.fit(objective, X * 100, **ALONE)


def test_decoders_without_bounds_and_rounding_say_nothing():
    for decoder in (nn.Linear(2, M), nn.Sequential(nn.Linear(2, M), nn.LeakyReLU())):
        assert output_range(decoder, torch.randn(3, 2)) is None
        objective = aebook.Objective(aebook.Autoencoder(nn.Linear(M, 2), decoder))
        aebook.fit(objective, X * 100 - 50, **ALONE)
    aebook.fit(plain(), X.double() * (1 + 1e-7), **ALONE)
    # nothing is drawn, and no statistic moves, to find out
    objective = aebook.Objective(
        aebook.Autoencoder(nn.Sequential(nn.Linear(M, 2), nn.BatchNorm1d(2)), nn.Linear(2, M))
    )
    before = weights(objective)
    aebook.fit(objective, X * 5, epochs=0)
    assert torch.equal(weights(objective), before)


# Weights of samples


def repeated(x, times):
    return x[np.repeat(np.arange(len(x)), times)]


TIMES = np.arange(N) % 4


# not where there is noise or a statistic of the batch
@pytest.mark.parametrize(
    "name", [*sorted(SIGMOIDS.keys() - {"denoising", "sparse"}), "variational"]
)
def test_whole_weights_are_repetitions(name):
    x = BITS if name == "variational" else GREY
    make = (
        (lambda: aebook.variants.variational((M, 2))) if name == "variational" else SIGMOIDS[name]
    )
    torch.manual_seed(0)
    objective = make().eval()
    weighted = objective(torch.from_numpy(x), None, torch.from_numpy(TIMES / TIMES.mean()).float())
    torch.testing.assert_close(weighted, objective(torch.from_numpy(repeated(x, TIMES))))
    expected = aebook.evaluate(objective, repeated(x, TIMES))
    for data in (
        x,
        frame(x),
        InFile(x),
        sparse.csr_array(x),
        (x, x),
        TensorDataset(torch.from_numpy(x)),
    ):
        for weight in (TIMES, torch.from_numpy(TIMES), pandas.Series(TIMES), TIMES * 0.37):
            found = aebook.evaluate(objective, data, sample_weight=weight, batch_size=7)
            assert found == pytest.approx(expected, rel=1e-5)


def test_training_with_whole_weights_is_training_on_repetitions():
    by_weight, by_hand = plain().double(), plain().double()
    options = {**ALONE, "batch_size": 10**6, "optimizer": torch.optim.SGD}
    aebook.fit(by_weight, GREY, sample_weight=TIMES, **options)
    aebook.fit(by_hand, repeated(GREY, TIMES), **options)
    torch.testing.assert_close(weights(by_weight), weights(by_hand))
    # a common factor does nothing, and no weight, or one for all, is none
    listed = plain().double()
    aebook.fit(listed, GREY, sample_weight=TIMES.tolist(), **options)
    assert torch.equal(weights(listed), weights(by_weight))
    scaled = plain().double()
    aebook.fit(scaled, GREY, sample_weight=4e300 * TIMES, **options)
    torch.testing.assert_close(weights(scaled), weights(by_weight))
    for weight in (None, np.full(N, 3), np.ones(N, bool)):
        objective = plain()
        aebook.fit(objective, X, sample_weight=weight, batch_size=7, **ALONE)
        assert torch.equal(weights(objective), fitted(X))


def test_gradients_of_batches_are_right_on_average():
    objective = plain().double()
    weight = torch.rand(N, dtype=torch.float64) + 0.1
    x = X.double()

    def gradient(loss):
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, objective.parameters())])

    kind = {"dtype": torch.float64, "device": torch.device("cpu")}
    made = batched(x, 5, shuffle=True, default=64, weights=weight, **kind)
    mean = sum(gradient(objective(*batch).total) for batch in made) / len(made)
    per_sample = objective.per_sample(x)["distance"]
    torch.testing.assert_close(mean, gradient((weight * per_sample).sum() / weight.sum()))


def test_a_sample_without_weight_has_no_say():
    spoilt, weight = X.clone(), torch.ones(N)
    spoilt[4], weight[4] = 0.5, 0
    assert torch.equal(fitted(spoilt, sample_weight=weight), fitted(X, sample_weight=weight))


def test_penalties_of_weights_are_not_weighed_and_those_of_samples_are():
    penalties = {
        "weights": (1.0, lambda seen: seen.model.encoder[0][0].weight.square().sum()),
        "samples": (1.0, lambda seen: seen.code.square().sum(1)),
    }
    objective = aebook.Objective(plain().model, penalties=penalties)
    weight = torch.rand(N) + 0.5
    terms = objective(X, None, weight).terms
    each = objective.per_sample(X)
    torch.testing.assert_close(terms["weights"], each["weights"])
    torch.testing.assert_close(terms["samples"], (weight * each["samples"]).mean())


def test_a_bound_with_importance_weights_takes_weights_of_samples_too():
    bound = likelihood.ImportanceWeighted(vae(), 2)
    b = torch.from_numpy(BITS)
    expected = aebook.evaluate(bound, b[:10])
    weight = torch.zeros(N)
    weight[:10] = 1
    found = aebook.evaluate(bound, b, sample_weight=weight, batch_size=N)
    # other noise for other batches
    assert found["loss"] == pytest.approx(expected["loss"], rel=0.1)


class Blind(nn.Module):
    def __init__(self):
        super().__init__()
        self.objective = plain()

    def forward(self, x, target=None):
        return self.objective(x, target)


@pytest.mark.parametrize(
    ("data", "weight", "message"),
    [
        (X, np.ones(3), r"sample_weight of shape \(3,\) for 30 samples"),
        (X, np.ones((N, 1)), r"sample_weight of shape \(30, 1\)"),
        (X, -np.ones(N), "sample_weight from -1 to -1 for 30 samples, expected .* 0 or more"),
        (X, np.zeros(N), "sample_weight from 0 to 0 for 30 samples, expected .* not all zero"),
        (X, np.full(N, np.nan), "sample_weight from nan to nan for 30 samples, expected .* finite"),
        (X, [1.0] * (N - 1), r"sample_weight of shape \(29,\) for 30"),
        (X, [1.0, [1.0]], "expected numbers in an array"),
        (X, ["1"] * N, "these are text"),
        (X, masked(GREY)[3], "with 1 masked"),
        (X, np.ones(N, complex), "of type ndarray for 30"),
        (X, "balanced", "got str as data"),
        (Rows(X), np.ones(N), "sample_weight with a Rows.*WeightedRandomSampler"),
        (DataLoader(Rows(X)), np.ones(N), "sample_weight with a DataLoader"),
        (Flow(X), np.ones(N), "sample_weight with a Flow"),
    ],
)
def test_weights_that_make_no_sense_are_refused(data, weight, message):
    for call in (fitted, lambda d, **w: aebook.evaluate(plain(), d, **w)):
        with pytest.raises(ValueError, match=message):
            call(data, sample_weight=weight)
    with pytest.raises(ValueError, match=r"sample_weight with a Blind.*aebook\.core\.averaged"):
        aebook.evaluate(Blind(), X, sample_weight=np.ones(N))


def test_layerwise_takes_validation_and_weights():
    objective = plain()
    histories = layerwise(
        objective, frame(GREY), validation=Rows(X), sample_weight=TIMES, patience=1, **ALONE
    )
    assert all(history.validation_loss for history in histories)
    codes = in_pieces(objective, X, 5, objective.model.encode)
    assert codes.shape == (N, 2)


def small(*layers):
    return aebook.Objective(aebook.Autoencoder(nn.Sequential(*layers), nn.Linear(2, M)))


RAW = {
    "rate": (
        lambda x: aebook.fit(small(nn.Linear(M, 2)), x, epochs=1, lr=1e300, optimizer=SGD),
        "lower lr",
    ),
    "schedule": (
        lambda x: aebook.fit(
            small(nn.Linear(M, 2)), x, epochs=1, schedule=lambda t: 1e300, optimizer=SGD
        ),
        "lower lr",
    ),
    "rate of a machine": (lambda x: RBM(M, 2).fit(x, epochs=1, lr=1e300), "lower lr"),
    "seed": (lambda x: aebook.fit(small(nn.Linear(M, 2)), x, epochs=1, seed=2**70), "got seed="),
    "unknown word": (
        lambda x: aebook.encode(small(nn.Embedding(3, 2)).model, torch.full((2, 1), 7)),
        "nn.Embedding",
    ),
    "one sample": (
        lambda x: aebook.fit(small(nn.Linear(M, 2), nn.BatchNorm1d(2)), x[:1], epochs=1),
        "two samples or more",
    ),
    "small temperature": (lambda x: relaxed_one_hot(x, 1e-40), "temperature"),
    "infinite logits": (lambda x: relaxed_one_hot(x / 0, 1.0), "logits"),
    "no order": (
        lambda x: estimators.AutoencoderTransformer(2, hidden_layer_sizes={}).fit(x),
        "hidden_layer_sizes",
    ),
}


@pytest.mark.parametrize("raw", RAW)
def test_what_pytorch_cannot_do_is_said_with_what_to_do(raw):
    call, message = RAW[raw]
    with pytest.raises(ValueError, match=message):
        call(torch.tensor(BITS))


NO_FILES = ["a\0b", "", "loop", "n" * 300, ".", "file/x"]


@pytest.mark.parametrize("name", NO_FILES)
def test_what_can_be_no_file_is_refused(monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("", "utf8")
    (tmp_path / "loop").symlink_to("loop")
    objective = small(nn.Linear(M, 2))
    for call in (
        lambda: aebook.save(objective.model, name),
        lambda: aebook.load(name),
        lambda: aebook.fit(objective, GREY, epochs=1, checkpoint=name),
    ):
        with pytest.raises(ValueError, match=r"got (path|checkpoint)="):
            call()


@pytest.mark.parametrize("factor", [1e308, 1e-300])
def test_a_factor_of_all_weights_does_nothing(factor):
    make = partial(estimators.AutoencoderTransformer, 2, epochs=1, random_state=0)
    weight = np.full(N, factor)
    expected = make().fit(GREY).transform(GREY)
    assert np.allclose(make().fit(GREY, sample_weight=weight).transform(GREY), expected, atol=1e-5)
