import ast
import importlib
import inspect
import pickle
import pkgutil
import warnings
from functools import partial
from itertools import combinations, permutations

import joblib
import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.stats import chi
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import aebook
from aebook.applications import anomaly
from aebook.applications.retrieval import SemanticHasher, unpack
from aebook.estimators import (
    AutoencoderDetector,
    AutoencoderTransformer,
    ConcreteFeatureSelector,
    SemanticHashTransformer,
)
from aebook.estimators.network import TAIL, _chance

SMALL = {"hidden_layer_sizes": (5,), "epochs": 2, "device": "cpu"}
VARIANTS = {
    "plain": {"tied": True},
    "linear": {"bias": True},
    "denoising": {"corruption": "masking", "level": 0.2},
    "sparse": {"weight": 0.1, "target": 0.2},
    "k_sparse": {"k": 1},
    "contractive": {"weight": 0.1},
    "variational": {"beta": 0.5},
}
EVERY = [
    AutoencoderTransformer(**SMALL, random_state=0),
    AutoencoderDetector(**SMALL, random_state=0),
    ConcreteFeatureSelector(**SMALL, random_state=0),
    SemanticHashTransformer(5, **SMALL, random_state=0),
]
each = pytest.mark.parametrize("estimator", EVERY, ids=lambda e: type(e).__name__)
undecided = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
outside = pytest.mark.filterwarnings("ignore:columns .* have values outside the range:UserWarning")


def table(n=120, m=6, seed=0):
    """Noisy mixtures of two sources, columns of very different scale and place."""
    g = np.random.default_rng(seed)
    x = g.standard_normal((n, 2)) @ g.standard_normal((2, m)) + 0.1 * g.standard_normal((n, m))
    return x * 10.0 ** np.arange(-2, m - 2) + 100


def output(estimator, x):
    """What an estimator has to say about samples."""
    name = "score_samples" if isinstance(estimator, AutoencoderDetector) else "transform"
    return getattr(estimator, name)(x)


# What scikit-learn asks of all ---------------------------------------------------------------


CHECKED = {
    **{
        variant: AutoencoderTransformer(1, variant=variant, variant_params=options, **SMALL)
        for variant, options in VARIANTS.items()
    },
    "tanh": AutoencoderTransformer(3, activation="tanh", scale=False, batch_size=7, **SMALL),
    "detector": AutoencoderDetector(**{**SMALL, "epochs": 10}),
    "detector among its own": AutoencoderDetector(novelty=False, **SMALL),
    "variational detector": AutoencoderDetector(
        1, contamination=0.1, variant="variational", scale=False, novelty=False, **SMALL
    ),
    "selector": ConcreteFeatureSelector(**SMALL),
    "selector of one": ConcreteFeatureSelector(1, scale=False, **SMALL),
    "hasher": SemanticHashTransformer(9, **SMALL),
    "noisy hasher": SemanticHashTransformer(3, kind="noise", scale=False, **SMALL),
}


def called(value):
    """The short name of an estimator or a check."""
    if not callable(value):
        return next(name for name, estimator in CHECKED.items() if estimator is value)
    options = []
    while isinstance(value, partial):
        options += value.keywords
        value = value.func
    return " ".join([value.__name__.removeprefix("check_"), *options])


# a sample given twice has two places in the order in which samples are drawn, so that what is
# trained is equal in one batch and without noise alone; what holds of weights is tested below
ORDERED = "sample_weight_equivalence_on_"
OF_SCIKIT_LEARN, PAIRS = parametrize_with_checks([*CHECKED.values()]).args[:2]


@undecided
@outside
@pytest.mark.parametrize(
    OF_SCIKIT_LEARN, [p for p in PAIRS if not called(p[1]).startswith(ORDERED)], ids=called
)
def test_every_check_of_scikit_learn_passes(estimator, check):
    check(estimator)


# Together with other estimators --------------------------------------------------------------


@undecided
@each
def test_a_clone_has_parameters_and_no_weights(estimator):
    fitted = clone(estimator).fit(table())
    again = clone(fitted)
    assert again.get_params() == fitted.get_params()
    assert set(vars(again)) == set(estimator.get_params())
    with pytest.raises(NotFittedError):
        output(again, table())


@undecided
@each
def test_a_pickle_says_the_same(estimator):
    fitted = clone(estimator).fit(table())
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(
        output(loaded, table(9, seed=1)), output(fitted, table(9, seed=1))
    )


@undecided
@each
@pytest.mark.parametrize("n", [1, 2, 33])
def test_few_samples_will_do(estimator, n):
    # the batch is 32: less than one, and one and a single sample
    estimator = clone(estimator).set_params(batch_size=32)
    if isinstance(estimator, AutoencoderDetector):
        # of so few none can be spared
        estimator.set_params(novelty=False)
    result = output(estimator.fit(table(n)), table(n))
    assert len(result) == n
    assert np.isfinite(result).all()


@undecided
@each
def test_the_seed_decides_everything_and_torch_keeps_its_own(estimator):
    x = table()
    before = torch.get_rng_state()
    first = clone(estimator).fit(x)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(17)
    second = clone(estimator).fit(x)
    third = clone(estimator).set_params(random_state=1).fit(x)
    weights = [e.objective_.state_dict().values() for e in (first, second, third)]
    assert all(torch.equal(a, b) for a, b in zip(*weights[:2], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(*weights[1:], strict=True))


@undecided
@each
def test_a_generator_goes_on_and_none_is_another_each_time(estimator):
    x = table(20)
    for state in (np.random.RandomState(0), None):
        estimator = clone(estimator)
        # set afterwards, since a clone would copy the generator
        fits = [estimator.set_params(random_state=state).fit(x).objective_ for _ in range(2)]
        a, b = (next(objective.parameters()) for objective in fits)
        assert not torch.equal(a, b)


@undecided
@each
def test_single_and_double_precision_agree(estimator):
    x = table().astype(np.float32)
    single, double = clone(estimator).fit(x), clone(estimator).fit(x.astype(np.float64))
    a, b = output(single, x), output(double, x.astype(np.float64))
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    if isinstance(estimator, AutoencoderDetector):
        assert a.dtype == b.dtype == np.float64
    elif isinstance(estimator, SemanticHashTransformer):
        assert a.dtype == b.dtype == bool
    else:
        assert a.dtype == np.float32
        assert b.dtype == np.float64


@undecided
@each
def test_a_sample_does_not_depend_on_its_company(estimator):
    # the training samples themselves, one of which is the median, one at the threshold
    x = table(121)
    fitted = clone(estimator).fit(x)
    together = output(fitted, x)
    alone = np.concatenate([output(fitted, row[None]) for row in x])
    if together.dtype == bool:
        np.testing.assert_array_equal(alone, together)
    np.testing.assert_allclose(alone, together, rtol=1e-10, atol=1e-12)


@undecided
@each
def test_pandas_output_and_columns(estimator):
    pd = pytest.importorskip("pandas")
    x = pd.DataFrame(table(), columns=list("abcdef"))
    fitted = clone(estimator).fit(x)
    assert list(fitted.feature_names_in_) == list("abcdef")
    if isinstance(estimator, AutoencoderDetector):
        detector = clone(estimator).set_params(novelty=False)
        np.testing.assert_array_equal(clone(detector).fit(x).predict(x), detector.fit_predict(x))
        return
    frame = clone(estimator).set_output(transform="pandas").fit_transform(x)
    assert list(frame.columns) == list(fitted.get_feature_names_out())
    np.testing.assert_array_equal(frame.to_numpy(), fitted.transform(x))
    mixed = x.assign(kind=["u", "v"] * 60)
    columns = ColumnTransformer(
        [("ae", clone(estimator), list("abcd")), ("kind", "drop", ["kind"])]
    )
    frame = columns.set_output(transform="pandas").fit_transform(mixed)
    assert all(name.startswith("ae__") for name in frame.columns)


@undecided
@pytest.mark.parametrize("estimator", [e for e in EVERY if hasattr(e, "transform")])
def test_column_transformer(estimator):
    x = np.column_stack([table(), np.arange(120) % 3])
    columns = ColumnTransformer(
        [("ae", clone(estimator), slice(0, 6)), ("hot", OneHotEncoder(), [6])]
    )
    result = columns.fit_transform(x)
    np.testing.assert_array_equal(result[:, :-3], clone(estimator).fit_transform(x[:, :6]))
    assert len(columns.get_feature_names_out()) == result.shape[1]


def test_grid_search_over_components_finds_what_pca_finds():
    # data of two dimensions in six: one is too few, and a third explains only noise
    x, components = table(), [1, 2, 3]
    linear = AutoencoderTransformer(
        variant="linear",
        hidden_layer_sizes=(),
        epochs=150,
        lr=0.02,
        early_stopping=False,
        random_state=0,
    )
    search = GridSearchCV(linear, {"n_components": components}, cv=3).fit(x)
    expected = np.zeros((3, 3))
    for fold, (train, test) in enumerate(KFold(3).split(x)):
        scaler = StandardScaler().fit(x[train])
        seen, new = scaler.transform(x[train]), scaler.transform(x[test])
        for row, p in enumerate(components):
            pca = PCA(p).fit(seen)
            left = np.square(new - pca.inverse_transform(pca.transform(new))).sum()
            expected[row, fold] = 1 - left / np.square(new - new.mean(0)).sum()
    scores = search.cv_results_["mean_test_score"]
    np.testing.assert_allclose(scores, expected.mean(1), atol=0.02)
    assert scores[1] - scores[0] > 10 * (scores[2] - scores[1])
    assert search.transform(table(5)).shape == (5, search.best_params_["n_components"])


@outside
def test_grid_search_in_a_pipeline():
    x, y = load_wine(return_X_y=True)
    pipeline = make_pipeline(
        StandardScaler(),
        AutoencoderTransformer(scale=False, epochs=30, random_state=0),
        LogisticRegression(),
    )
    search = GridSearchCV(pipeline, {"autoencodertransformer__n_components": [1, 4]}, cv=2)
    assert search.fit(x, y).best_score_ > 0.9


@each
def test_infinite_input_is_refused(estimator):
    for bad in (np.nan, np.inf):
        x = table()
        x[3, 2] = bad
        with pytest.raises(ValueError, match=r"contains (NaN|infinity)"):
            clone(estimator).fit(x)


@undecided
@each
def test_a_sparse_matrix_is_refused_where_scaling_would_fill_it(estimator):
    x = sparse.csr_array(table())
    with pytest.raises(TypeError, match=r"got a sparse matrix with scale=True.*scale=False"):
        clone(estimator).fit(x)
    fitted = clone(estimator).fit(table())
    if isinstance(fitted, ConcreteFeatureSelector):
        # it takes columns out and scales nothing
        np.testing.assert_array_equal(output(fitted, x).toarray(), output(fitted, table()))
    else:
        with pytest.raises(TypeError, match=r"got a sparse matrix with scale=True"):
            output(fitted, x)


@undecided
@each
@pytest.mark.parametrize("form", [sparse.csr_array, sparse.csc_matrix, sparse.coo_array])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_sparse_matrix_says_what_the_dense_one_says(estimator, form, dtype):
    g = np.random.default_rng(0)
    x = (g.random((90, 12)) * (g.random((90, 12)) < 0.2)).astype(dtype)
    x[:3] = 0
    ours, theirs = (clone(estimator).set_params(scale=False) for _ in range(2))
    ours.fit(form(x))
    theirs.fit(x)
    found = output(ours, form(x))
    found = found.toarray() if sparse.issparse(found) else found
    np.testing.assert_array_equal(found, output(theirs, x))
    if isinstance(ours, AutoencoderTransformer):
        assert ours.score(form(x)) == theirs.score(x)
        ours.partial_fit(form(x))
        np.testing.assert_array_equal(ours.transform(x), theirs.partial_fit(x).transform(x))


def test_a_sparse_matrix_may_go_to_a_sigmoid():
    g = np.random.default_rng(0)
    x = sparse.csr_array(g.random((60, 9)) * (g.random((60, 9)) < 0.3))
    over = x * 1.5
    options = {"output": "sigmoid", "scale": False, "random_state": 0, **SMALL}
    sparsely = AutoencoderTransformer(2, **options).fit(x)
    np.testing.assert_array_equal(
        sparsely.transform(x), AutoencoderTransformer(2, **options).fit(x.toarray()).transform(x)
    )
    with pytest.raises(ValueError, match=r"for values from 0 to 1\..*expected values in \[0, 1\]"):
        AutoencoderTransformer(2, **options).fit(over)


def test_words_of_texts_go_straight_into_a_pipeline():
    texts, labels = [], []
    for topic, words in enumerate(("cat dog fox hen", "oak elm fir ash", "red tan sky jet")):
        g = np.random.default_rng(topic)
        for _ in range(30):
            texts.append(" ".join(g.choice(words.split(), 3)))
            labels.append(topic)
    pipeline = make_pipeline(
        TfidfVectorizer(),
        AutoencoderTransformer(2, scale=False, epochs=60, random_state=0),
        LogisticRegression(),
    )
    assert pipeline.fit(texts, labels).score(texts, labels) == 1
    hasher = make_pipeline(TfidfVectorizer(), SemanticHashTransformer(8, scale=False, **SMALL))
    assert hasher.fit_transform(texts).shape == (90, 8)


@each
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"epochs": -1}, "got epochs=-1, expected a whole number, 0 or more, or 'auto'"),
        ({"batch_size": 0}, "got batch_size=0, expected a whole number, 1 or more, or 'auto'"),
        ({"validation_fraction": 1.0}, "got validation_fraction=1.0, expected .* and less than 1"),
        ({"n_iter_no_change": 0}, "got n_iter_no_change=0, expected a whole number, 1 or more"),
        ({"early_stopping": "never"}, "got early_stopping='never', expected 'auto', True or"),
        ({"verbose": -1}, "got verbose=-1, expected a whole number, 0 or more"),
        ({"hidden_layer_sizes": (True,)}, r"got hidden_layer_sizes=\(True,\), expected whole"),
        ({"device": "abacus"}, "got device='abacus', expected one that is there, such as 'cpu'"),
        ({"lr": 0.0}, "got lr=0.0, expected a finite number above 0"),
        ({"hidden_layer_sizes": (4, 0)}, r"got hidden_layer_sizes=\(4, 0\), expected whole"),
        ({"hidden_layer_sizes": (4.5,)}, r"got hidden_layer_sizes=\(4.5,\), expected whole"),
        ({"hidden_layer_sizes": "wide"}, "got hidden_layer_sizes='wide', expected whole"),
        ({"random_state": "x"}, "cannot be used to seed"),
    ],
)
def test_parameters_that_make_no_sense(estimator, parameters, message):
    with pytest.raises(ValueError, match=message):
        clone(estimator).set_params(**parameters).fit(table())


@pytest.mark.parametrize(
    "name",
    [
        *("hidden_layer_sizes", "scale", "epochs", "batch_size", "lr", "early_stopping"),
        *("validation_fraction", "n_iter_no_change", "verbose", "n_bits", "kind", "sigma"),
        *("variant", "output", "contamination", "novelty"),
    ],
)
@pytest.mark.parametrize("value", [None, "nonsense", np.nan, [[]], -1])
def test_none_and_nonsense_are_refused_by_name_before_anything_is_trained(name, value):
    for estimator in EVERY:
        if name in estimator.get_params():
            estimator = clone(estimator).set_params(**{name: value})
            with pytest.raises(ValueError, match=f"got .*{name}=|{name}"):
                estimator.fit(table(40))
            assert not hasattr(estimator, "history_")


# What all do in training -----------------------------------------------------------------------


def planned(monkeypatch, n, estimator):
    """What would be trained on N samples, without training."""
    asked = {}

    def fit(objective, data, *, optimizer, lr, **options):
        optimizer(objective.parameters(), lr=lr)
        asked.update(options, samples=len(data))
        return aebook.History()

    monkeypatch.setattr("aebook.estimators.network.fit", fit)
    clone(estimator).set_params(epochs="auto", batch_size="auto").fit(
        np.random.default_rng(0).random((n, 2))
    )
    return asked


@pytest.mark.parametrize("n", [1, 10, 47, 99, 100, 1000, 33_000, 300_000])
def test_batches_and_epochs_suit_the_number_of_samples(monkeypatch, n):
    asked = planned(monkeypatch, n, EVERY[0])
    steps = -(-asked["samples"] // asked["batch_size"])
    assert 10 <= asked["epochs"] <= 100
    assert asked["epochs"] * steps <= max(2000, 10 * steps)
    assert asked["batch_size"] <= min(n, 1100)
    # no batch but the last is smaller, and that by less than one sample a batch
    assert asked["samples"] > steps * (asked["batch_size"] - 1)
    assert ("validation" in asked) == (n >= 100)


@undecided
@each
def test_training_stops_early_by_samples_held_out_and_keeps_the_best_weights(estimator):
    x = np.random.default_rng(0).standard_normal((60, 6))
    options = {"early_stopping": True, "validation_fraction": 0.3, "n_iter_no_change": 3}
    estimator = clone(estimator).set_params(epochs=400, lr=0.02, **options)
    if isinstance(estimator, ConcreteFeatureSelector):
        # the temperature takes its time, and the decoder afterwards is what stops
        estimator.set_params(epochs=20).fit(x)
        assert len(estimator.history_) == 20
        return
    history = estimator.fit(x).history_
    best = int(np.argmin(history.validation_loss))
    assert len(history) == best + 1 + 3 < 400
    assert history.best_epoch == best + 1
    again = clone(estimator).set_params(epochs=best + 1).fit(x)
    for a, b in zip(estimator.objective_.parameters(), again.objective_.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_single_sample_cannot_stop_anything():
    with pytest.raises(ValueError, match="got 1 sample with early_stopping=True"):
        AutoencoderTransformer(early_stopping=True, **SMALL).fit(table(1))


@undecided
@each
def test_what_has_no_weight_is_not_there(estimator):
    x = table(50)
    w = np.tile([1.0, 0.0, 2.0], 17)[:50]
    ours, theirs, doubled = (clone(estimator) for _ in range(3))
    ours.fit(x, sample_weight=w)
    theirs.fit(x[w > 0], sample_weight=w[w > 0])
    new = x[1:4]
    np.testing.assert_array_equal(output(ours, new), output(theirs, new))
    # nor does a common factor matter, but for rounding
    doubled.fit(x, sample_weight=2 * w)
    np.testing.assert_allclose(output(doubled, x), output(ours, x), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("estimator", EVERY[:2])
def test_a_whole_weight_is_as_many_copies(estimator):
    # all in one batch, so that their order does not matter
    x, times = table(40), np.tile([1, 3], 20)
    options = {"batch_size": 1000, "early_stopping": False, "epochs": 5}
    if isinstance(estimator, AutoencoderDetector):
        options |= {"novelty": False, "contamination": 0.2}
    weighted, copied = (clone(estimator).set_params(**options) for _ in range(2))
    weighted.fit(x, sample_weight=times)
    copied.fit(np.repeat(x, times, axis=0))
    np.testing.assert_allclose(output(weighted, x), output(copied, x), rtol=1e-3, atol=1e-4)
    if isinstance(estimator, AutoencoderDetector):
        assert weighted.offset_ == pytest.approx(copied.offset_, rel=1e-3)


def test_medians_have_half_of_the_weight_on_each_side():
    x, times = torch.from_numpy(table(40)), np.tile([1, 3], 20)
    model = clone(EVERY[3]).fit(x).objective_.model
    found = SemanticHasher(model, x, times).thresholds
    h = model.encoder(x).detach().numpy()
    # of 80 in all, to within one sample of at most 3
    for side in (h < found, h > found):
        assert (abs((times[:, None] * side).sum(0) - 40) <= 3).all()


@each
@pytest.mark.parametrize(
    "weight", [np.ones(39), np.zeros(40), -np.ones(40), np.full(40, np.nan), "heavy", 1.0]
)
def test_weights_that_make_no_sense(estimator, weight):
    with pytest.raises(ValueError, match=r"got sample_weight .* for 40 samples, expected one"):
        clone(estimator).fit(table(40), sample_weight=weight)


@undecided
@each
def test_columns_that_leave_the_range_are_named_once_a_call(estimator):
    pd = pytest.importorskip("pandas")
    x = pd.DataFrame(table(), columns=list("abcdef"))
    fitted = clone(estimator).fit(x)
    if not isinstance(fitted, AutoencoderDetector):
        np.testing.assert_array_equal(fitted.data_min_, x.min())
        np.testing.assert_array_equal(fitted.data_max_, x.max())
    width = x.max() - x.min()
    far = x.copy()
    far.iloc[3, 1] = x["b"].max() + 11 * width["b"]
    far.iloc[7, 4] = x["e"].min() - 11 * width["e"]
    # one sample of many
    near = x.copy()
    near.iloc[3] = x.max() + 0.5 * width
    if isinstance(fitted, AutoencoderDetector):
        # which is there to look at what is far
        fitted.predict(far)
        return
    named = r"columns 'b', 'e' have .*: b was from"
    if isinstance(fitted, ConcreteFeatureSelector):
        # of features that it leaves out nothing depends
        far = far + 11 * width
        named = r"columns '[a-f]', '[a-f]', '[a-f]' have "
    fitted.transform(near)
    with pytest.warns(UserWarning, match=named) as caught:
        chosen = fitted.transform(far)
    if isinstance(fitted, ConcreteFeatureSelector):
        fitted.inverse_transform(fitted.transform(near))
        with pytest.warns(UserWarning, match=named) as back:
            fitted.inverse_transform(chosen)
        caught = [*caught, *back]
    assert {w.filename for w in caught} == {__file__}
    assert len(caught) == 1 + isinstance(fitted, ConcreteFeatureSelector)


@undecided
@pytest.mark.parametrize("n", [60, 100, 1000])
@pytest.mark.parametrize("count", [1, 3, 30])
@pytest.mark.parametrize("kind", [0, 2, 3])
def test_samples_three_ranges_away_are_no_samples_of_the_kind(kind, count, n):
    x = np.random.default_rng(0).standard_normal((n, 6))
    fitted = clone(EVERY[kind]).fit(x)
    fitted.transform(x[:count])
    away = x[:count] + 3 * np.ptp(x, axis=0)
    with pytest.warns(UserWarning, match=rf"outside in {count} of {count} samples"):
        fitted.transform(away)
    with pytest.warns(UserWarning, match="outside the range"):
        fitted.transform(1e6 * x)
    fitted.transform(x)


def test_samples_of_the_same_kind_seldom_leave_the_range():
    g = np.random.default_rng(0)
    ae = AutoencoderTransformer(**{**SMALL, "epochs": 0}).fit(g.standard_normal((100, 20)))
    ae.transform(g.standard_normal((10_000, 20)))


@pytest.mark.parametrize("kind", ["table", "csr", "partial_fit"])
def test_a_column_in_another_unit_leaves_the_range(kind):
    g = np.random.default_rng(0)
    ae = AutoencoderTransformer(**{**SMALL, "epochs": 1}, scale=False, random_state=0)
    x, new = g.standard_normal((500, 6)), g.standard_normal((300, 6))
    # by a factor of 2.5, as inches are centimetres: none is far outside, but many are
    odd = new * [1, 1, 1, 2.5, 1, 1]
    assert (np.abs(odd).max(0) < 4 * x.max(0)).all()
    if kind == "csr":
        x, new, odd = map(sparse.csr_array, (x, new, odd))
    if kind == "partial_fit":
        ae.partial_fit(x[:200]).partial_fit(x[200:])
    else:
        ae.fit(x)
    ae.transform(new)
    with pytest.warns(UserWarning, match=r"columns 3 have .*outside in \d+ of 300 samples"):
        ae.transform(odd)
    # a single sample may be the largest
    ae.transform(odd[:1])


SAME = {
    "gaussian": lambda g, shape: g.standard_normal(shape),
    "uniform": lambda g, shape: g.random(shape),
    "exponential": lambda g, shape: g.exponential(size=shape),
    "heavy": lambda g, shape: g.standard_t(5, shape),
    "one column six times": lambda g, shape: np.repeat(g.standard_t(5, (shape[0], 1)), 6, axis=1),
}


@pytest.mark.parametrize("kind", SAME)
def test_the_warning_comes_as_seldom_as_it_says(kind):
    ae, g, calls = AutoencoderTransformer(), np.random.default_rng(0), 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in (35, 100, 500, 2000):
            for new in (1, 3, 30, n):
                for _ in range(40 if n < 2000 else 10):
                    x = SAME[kind](g, (n, 6))
                    ae.data_min_, ae.data_max_, ae._seen = x.min(0), x.max(0), n
                    ae._warn_outside(SAME[kind](g, (new, 6)))
                    calls += 1
    # one in a hundred, and three standard errors; most have none
    assert len(caught) <= 0.01 * calls + 3 * np.sqrt(0.01 * calls)


@pytest.mark.parametrize("new", [1, 5, 50])
def test_a_chance_is_one_where_tails_fall_as_the_power_that_is_assumed(new):
    """Of such samples a chance of p or less comes in a share p of the draws, or in fewer."""
    g, chances = np.random.default_rng(new), []
    for _ in range(2000):
        # from 0, so that c times the range is c times the largest
        x, fresh = ((g.pareto(TAIL, size) + 1) for size in (20, new))
        beyond = np.sort(fresh[fresh > x.max()] - x.max())[::-1]
        chances.append(_chance(beyond, x.max(), new, 20) if len(beyond) else 1.0)
    for p in (0.01, 0.05, 0.2):
        share = np.mean(np.array(chances) <= p)
        assert share <= p + 3 * np.sqrt(p / 2000)


@undecided
@each
def test_warnings_point_at_whoever_called(estimator):
    x = table()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pipeline = make_pipeline(StandardScaler(), clone(estimator).set_params(scale=False))
        pipeline.set_output(transform="pandas").fit(x)
        if hasattr(pipeline, "transform"):
            pipeline.transform(100 * x)
        if hasattr(pipeline, "score"):
            pipeline.score(100 * x)
    assert caught or isinstance(estimator, AutoencoderDetector)
    assert {w.filename for w in caught} <= {__file__}


# What networks are made with -----------------------------------------------------------------


@pytest.mark.parametrize(
    "sizes", [lambda: (k for k in (4,)), lambda: iter([4]), lambda: map(int, "4")]
)
@pytest.mark.parametrize("kind", [0, 1, 2, 3])
def test_sizes_that_can_be_read_once_are_refused(kind, sizes):
    estimator = clone(EVERY[kind]).set_params(hidden_layer_sizes=sizes())
    with pytest.raises(ValueError, match=r"got hidden_layer_sizes=.*like \(64,\)"):
        estimator.fit(table())


CHANGES = {
    "n_components": 4,
    "hidden_layer_sizes": (6, 5),
    "variant": "denoising",
    "variant_params": {"tied": True},
    "activation": "tanh",
    "scale": False,
}
FREE = {"lr": 1e-4, "batch_size": 11, "epochs": 7, "early_stopping": False, "random_state": 3}


def quick(kind):
    """The transformer, or the detector without the ten networks of its threshold."""
    estimator = clone(EVERY[kind])
    return estimator.set_params(novelty=False) if kind == 1 else estimator


@pytest.mark.parametrize("begin", ["fit", "partial_fit"])
@pytest.mark.parametrize("kind", [0, 1])
def test_partial_fit_goes_on_with_the_networks_that_there_are(kind, begin):
    x = table()
    for name, value in CHANGES.items():
        fitted = getattr(quick(kind), begin)(x)
        before, was = output(fitted, x), fitted.get_params()[name]
        fitted.set_params(**{name: value})
        np.testing.assert_array_equal(output(fitted, x), before)
        with pytest.raises(
            ValueError, match=rf"got {name}=.* networks that were made with {name}="
        ):
            fitted.partial_fit(x)
        np.testing.assert_array_equal(output(fitted, x), before)
        fitted.set_params(**{name: was}).partial_fit(x)
        # and fit makes others
        fitted.set_params(**{name: value}).fit(x).partial_fit(x)
    fitted = getattr(quick(kind), begin)(x)
    fitted.set_params(**FREE).partial_fit(x)


@undecided
@pytest.mark.filterwarnings("ignore:columns .* outside the range:UserWarning")
@each
def test_scaling_is_that_of_the_networks_whatever_is_set_later(estimator):
    x = table()
    s = sparse.csr_array(x)
    for scale in (True, False):
        fitted = clone(estimator).set_params(scale=scale).fit(x)
        before = output(fitted, x)
        fitted.set_params(scale=not scale)
        np.testing.assert_array_equal(output(fitted, x), before)
        # which takes features out, and scales nothing
        if scale and not isinstance(fitted, ConcreteFeatureSelector):
            with pytest.raises(ValueError, match="got a sparse matrix with scale=True"):
                output(fitted, s)
        elif not scale:
            found = output(fitted, s)
            found = found.toarray() if sparse.issparse(found) else found
            np.testing.assert_allclose(found, before)


@each
def test_what_cannot_be_squared_is_said(estimator):
    for huge in (1e200 * table(), np.where(np.arange(6) == 2, 1e200, 1.0) * table()):
        with pytest.raises(ValueError, match=r"got values from .*e\+20\d, expected .* be squared"):
            clone(estimator).fit(huge)
        with pytest.raises(
            ValueError, match=r"got data from .*e\+20\d, expected .*float32 can hold"
        ):
            clone(estimator).set_params(scale=False).fit(huge)
    # and this can
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        clone(estimator).fit(1e140 * table())


@pytest.mark.usefixtures("on_the_cpu")
def test_threads_find_what_one_finds():
    x = table()
    grid = {"n_components": [1, 2, 3], "hidden_layer_sizes": [(), (5,)]}
    alone, together = (
        GridSearchCV(AutoencoderTransformer(epochs=2, random_state=0), grid, cv=2, n_jobs=jobs)
        for jobs in (1, 4)
    )
    alone.fit(x)
    with joblib.parallel_backend("threading"):
        together.fit(x)
    np.testing.assert_array_equal(
        alone.cv_results_["mean_test_score"], together.cv_results_["mean_test_score"]
    )


@pytest.mark.parametrize("verbose", [0, False, 1, True])
def test_verbose_shows_progress(verbose, capfd, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    AutoencoderTransformer(verbose=verbose, **SMALL).fit(table())
    assert ("epoch" in capfd.readouterr().err) == bool(verbose)


def test_estimators_stand_on_no_application():
    modules = {info.name for info in pkgutil.walk_packages(aebook.__path__, "aebook.")}
    reached, left = set(), {"aebook.estimators"}
    while left:
        name = left.pop()
        reached.add(name)
        for node in ast.walk(ast.parse(inspect.getsource(importlib.import_module(name)))):
            if isinstance(node, ast.ImportFrom):
                named = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
                left |= (named & modules) - reached
    assert "aebook.training.loop" in reached
    assert not {name for name in reached if name.startswith("aebook.applications")}


# The transformer -----------------------------------------------------------------------------


def test_transform_and_back_are_the_model_between_scalings():
    x = table()
    ae = clone(EVERY[0]).fit(x)
    s = torch.from_numpy(StandardScaler().fit_transform(x))
    model = ae.objective_.model
    np.testing.assert_allclose(ae.transform(x), model.encode(s).numpy(), rtol=1e-10)
    back = model.reconstruct(s).numpy() * x.std(0) + x.mean(0)
    np.testing.assert_allclose(ae.inverse_transform(ae.transform(x)), back, rtol=1e-10)
    assert ae.score(x) == pytest.approx(1 - aebook.metrics.fvu(model.reconstruct(s), s))


def test_without_scaling_the_network_sees_the_data():
    x = load_iris().data
    ae = AutoencoderTransformer(scale=False, random_state=0, **SMALL).fit(x)
    codes = ae.objective_.model.encode(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ae.transform(x), codes, rtol=1e-12)
    assert ae.scaler_ is None


def test_the_linear_variant_reconstructs_as_pca_does():
    # Baldi & Hornik 1989: the optimum is the principal subspace
    x = StandardScaler().fit_transform(load_wine().data)
    pca = PCA(3).fit(x)
    best = np.square(x - pca.inverse_transform(pca.transform(x))).sum()
    options = {"scale": False, "epochs": 300, "early_stopping": False, "random_state": 0}
    ae = AutoencoderTransformer(3, variant="linear", hidden_layer_sizes=(), **options).fit(x)
    error = np.square(x - ae.inverse_transform(ae.transform(x))).sum()
    assert best * (1 - 1e-9) <= error <= 1.01 * best


@outside
def test_the_defaults_explain_more_than_pca_on_a_table_as_it_is():
    x = load_digits().data[:600]
    train, test = x[:400], x[400:]
    ae = AutoencoderTransformer(random_state=0).fit(train)
    scaler = StandardScaler().fit(train)
    pca = PCA(2).fit(scaler.transform(train))
    s = scaler.transform(test)
    back = pca.inverse_transform(pca.transform(s))
    assert ae.score(test) > 1 - np.square(s - back).sum() / np.square(s - s.mean(0)).sum()


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_that_of_the_package(variant):
    ae = AutoencoderTransformer(3, variant=variant, variant_params=VARIANTS[variant], **SMALL)
    objective = ae.fit(table()).objective_
    assert ae.transform(table()).shape == (120, 3)
    assert objective.model.decoder.shape == (3,)
    expected = {
        "contractive": {"contractive": 0.1},
        "sparse": {"sparsity_1": 0.1, "sparsity_2": 0.1},
        "variational": {"kl": 0.5},
    }.get(variant, {})
    assert {name: objective.weight(name) for name in objective.penalties} == pytest.approx(expected)
    assert (objective.corruption is not None) == (variant == "denoising")
    if variant == "k_sparse":
        assert (np.count_nonzero(ae.transform(table()), axis=1) <= 1).all()


def test_a_sigmoid_output_stays_in_the_unit_interval():
    x = MinMaxScaler().fit_transform(table())
    for variant in ("plain", "variational"):
        ae = AutoencoderTransformer(variant=variant, output="sigmoid", scale=False, **SMALL).fit(x)
        back = ae.inverse_transform(100 * ae.transform(x))
        assert back.min() >= 0
        assert back.max() <= 1
    assert ae.objective_.distance is aebook.distances.bernoulli


def test_one_epoch_is_one_partial_fit():
    x = table()
    once = clone(EVERY[0]).set_params(epochs=1, early_stopping=False).fit(x)
    part = clone(EVERY[0]).partial_fit(x)
    np.testing.assert_array_equal(once.transform(x), part.transform(x))


def test_partial_fit_goes_on_with_the_optimisers_moments():
    # in one batch an epoch is a step, whatever the order of the samples
    x = table()
    options = {**SMALL, "epochs": 6, "batch_size": 120, "early_stopping": False, "random_state": 0}
    whole = AutoencoderTransformer(**options).fit(x)
    parts = AutoencoderTransformer(**options)
    for number in range(6):
        parts.partial_fit(x)
        if number == 2:
            parts = pickle.loads(pickle.dumps(parts))
    np.testing.assert_allclose(parts.transform(x), whole.transform(x), rtol=1e-4, atol=1e-5)
    # and after fit; a new optimiser's first step would be as long as the rate, many times more
    whole.set_params(lr=1e-12)
    before = whole.transform(x)
    np.testing.assert_allclose(whole.partial_fit(x).transform(x), before, atol=1e-6)


def test_partial_fit_keeps_the_first_scaling():
    x = table()
    ae = clone(EVERY[0]).partial_fit(x[:60])
    ae.partial_fit(x[60:] + 50)
    np.testing.assert_allclose(ae.scaler_.mean_, x[:60].mean(0))
    with pytest.raises(ValueError, match="expecting 6 features"):
        ae.partial_fit(x[:, :4])


def test_fit_starts_again_after_partial_fit():
    x = table()
    ae = clone(EVERY[0]).partial_fit(x + 1)
    expected = clone(EVERY[0]).fit(x[:, :4]).transform(x[:, :4])
    np.testing.assert_array_equal(ae.fit(x[:, :4]).transform(x[:, :4]), expected)


def test_feature_names_count_the_components_of_the_fit():
    ae = clone(EVERY[0]).fit(table())
    ae.set_params(n_components=5)
    names = ["autoencodertransformer0", "autoencodertransformer1"]
    assert list(ae.get_feature_names_out()) == names


@pytest.mark.parametrize("estimator", EVERY[:2])
def test_none_is_a_quarter_of_the_features(estimator):
    for m, p in ((1, 1), (4, 1), (6, 2), (9, 3)):
        fitted = clone(estimator).set_params(n_components=None).fit(table(m=m))
        assert fitted.objective_.model.decoder.shape == (p,)


def test_score_needs_variance():
    ae = clone(EVERY[0]).fit(table())
    with pytest.raises(ValueError, match="got 1 samples, expected 2 or more"):
        ae.score(table(1))


def test_codes_of_another_width_are_refused():
    ae = clone(EVERY[0]).fit(table())
    with pytest.raises(ValueError, match=r"got codes of .*, expected \(N, 2\)"):
        ae.inverse_transform(np.zeros((4, 3)))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 0}, "got n_components=0, expected a whole number, 1 or more"),
        ({"n_components": 1.5}, "got n_components=1.5, expected a whole number"),
        ({"variant": "deep"}, "got variant='deep', expected 'contractive', 'denoising'"),
        ({"variant": torch.nn.Linear(2, 2)}, "got variant=Linear"),
        ({"activation": "swish"}, "got activation='swish', expected 'elu', 'gelu'"),
        ({"output": "exp"}, "got output='exp', expected 'linear' or 'sigmoid'"),
        ({"output": "sigmoid"}, "got output='sigmoid' with scale=True: standardised features"),
        ({"output": "sigmoid", "scale": False}, r"for values from .*, expected values in \[0, 1\]"),
        ({"variant": "linear", "activation": "relu"}, "with variant='linear', expected None and"),
        ({"variant": "k_sparse"}, "with variant='k_sparse': .*'k'; expected the parameters"),
        ({"variant": "plain", "variant_params": {"k": 3}}, "unexpected keyword argument 'k'"),
        (
            {"variant": "k_sparse", "variant_params": {"k": 3}},
            "got k=3, expected a whole number from 1 to 2",
        ),
        ({"variant_params": [1]}, r"got variant_params=\[1\], expected a dict or None"),
        (
            {"variant_params": {"tied": torch.nn.Linear(2, 2)}},
            "got a Linear as variant_params.'tied'., expected a plain value",
        ),
        (
            {"variant": "denoising", "variant_params": {"corruption": "blur"}},
            "got corruption='blur', expected 'gaussian', 'masking'",
        ),
    ],
)
def test_transformers_that_make_no_sense(parameters, message):
    with pytest.raises(ValueError, match=message):
        clone(EVERY[0]).set_params(**parameters).fit(table())


# The detector --------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [True, False])
def test_scores_are_reconstruction_errors_with_the_sign_turned(scale):
    x = load_wine().data
    detector = clone(EVERY[1]).set_params(scale=scale, novelty=False).fit(x)
    seen = StandardScaler().fit_transform(x) if scale else x
    errors = anomaly.reconstruction_error(detector.objective_, seen)
    scores = detector.score_samples(x.astype(np.float32))
    assert scores.dtype == np.float64
    np.testing.assert_allclose(detector.score_samples(x), -errors, rtol=1e-10)
    decision = detector.decision_function(x)
    assert decision.dtype == np.float64
    np.testing.assert_allclose(decision, -errors - detector.offset_)


@pytest.mark.parametrize("share", [0.001, 0.05, 0.29, 0.5])
def test_among_its_own_contamination_is_the_share_called_outliers(share):
    x = table(100)
    detector = clone(EVERY[1]).set_params(contamination=share, novelty=False)
    labels = detector.fit_predict(x)
    assert set(np.unique(labels)) <= {-1, 1}
    assert (labels == -1).sum() == int(100 * share + 1e-9)
    # those with the largest errors
    assert detector.score_samples(x)[labels == -1].max(initial=-np.inf) < detector.offset_
    np.testing.assert_array_equal(labels == -1, detector.decision_function(x) < 0)


def test_the_sample_at_the_threshold_is_ordinary_in_any_company():
    x = table(100)
    for share in np.linspace(0.01, 0.5, 50):
        options = {"contamination": share, "epochs": 1, "novelty": False}
        detector = clone(EVERY[1]).set_params(**options).fit(x)
        at = np.argmin(np.abs(detector.decision_function(x)))
        assert detector.predict(x)[at] == 1
        assert detector.predict(x[[at]]) == 1


@pytest.mark.parametrize("novelty", [True, False])
def test_auto_is_tukeys_fence(novelty):
    x = table()
    detector = clone(EVERY[1]).set_params(novelty=novelty).fit(x)
    sizes = np.sqrt(-detector.score_samples(x))
    low, high = np.quantile(np.sqrt(-detector.calibration_scores_), [0.25, 0.75])
    np.testing.assert_array_equal(detector.predict(x) == -1, sizes > high + 1.5 * (high - low))
    assert novelty != np.array_equal(detector.calibration_scores_, detector.score_samples(x))


def ordinary(n, seed):
    """Samples near a plane of three dimensions in ten."""
    g = np.random.default_rng(seed)
    plane = np.random.default_rng(99).standard_normal((3, 10))
    return g.standard_normal((n, 3)) @ plane + 0.5 * g.standard_normal((n, 10))


# so many steps that samples of the training are known by heart
BY_HEART = {"hidden_layer_sizes": (40,), "epochs": 60, "lr": 0.01, "early_stopping": False}


@pytest.mark.parametrize(("n", "enough"), [(40, 1000), (150, 45)])
def test_contamination_is_the_share_of_new_ordinary_samples_called_outliers(n, enough, monkeypatch):
    # ten networks that score all samples, or three that score enough of them
    monkeypatch.setattr("aebook.estimators.detector.SCORES", enough)
    c, fits, new = 0.2, 6, 400
    shares, own = [], []
    for seed in range(fits):
        x = ordinary(n + new, seed)
        detector = AutoencoderDetector(4, contamination=c, random_state=seed, **BY_HEART)
        detector.fit(x[:n])
        shares.append((detector.predict(x[n:]) == -1).mean())
        own.append((detector.predict(x[:n]) == -1).mean())
    # the share that lies above a quantile of s scores is Beta(c(s + 1), (1 - c)(s + 1)), and that
    # of so many new samples has a binomial's variance beside it
    scores = len(detector.calibration_scores_)
    assert scores == min(n, enough)
    error = np.sqrt(c * (1 - c) * (1 / (scores + 2) + 1 / new) / fits)
    assert abs(np.mean(shares) - c) < 4 * error
    # what was learnt by heart looks too good for a threshold
    assert np.mean(own) < c / 2


def test_scores_for_the_threshold_are_those_of_networks_that_have_not_seen_the_sample():
    # a sample like no other, which a network that had seen it would know by heart
    x = ordinary(50, 0)
    x[17] += 40 * np.eye(10)[3]
    detector = AutoencoderDetector(4, random_state=0, **BY_HEART).fit(x)
    learnt = AutoencoderDetector(4, random_state=0, novelty=False, **BY_HEART).fit(x)
    assert len(detector.calibration_scores_) == 50
    assert detector.calibration_scores_.min() < 10 * learnt.score_samples(x)[17]


@pytest.mark.parametrize(("n", "c", "least"), [(1, "auto", 3), (2, "auto", 3), (18, 0.05, 19)])
def test_too_few_samples_for_the_promise_are_refused(n, c, least):
    with pytest.raises(ValueError, match=rf"got {n} samples? for .*at least {least} to set a thre"):
        clone(EVERY[1]).set_params(contamination=c).fit(table(n))
    clone(EVERY[1]).set_params(contamination=c).fit(table(least))


def test_outliers_of_training_are_for_another_threshold():
    assert not hasattr(AutoencoderDetector(), "fit_predict")
    with pytest.raises(AttributeError, match="fit_predict"):
        AutoencoderDetector().fit_predict(table())
    assert hasattr(AutoencoderDetector(novelty=False), "fit_predict")


@pytest.mark.parametrize("scale", [True, False])
def test_an_explanation_is_each_features_part_of_the_error(scale):
    x = table()
    detector = clone(EVERY[1]).set_params(scale=scale, novelty=False).fit(x)
    parts = detector.explain(x)
    assert parts.shape == x.shape
    assert (parts >= 0).all()
    np.testing.assert_allclose(parts.sum(1), -detector.score_samples(x), rtol=1e-12)
    unit = x.std(0) if scale else 1
    np.testing.assert_allclose(
        parts, ((detector.reconstruct(x) - x) / unit) ** 2, rtol=1e-6, atol=1e-12
    )
    assert detector.reconstruct(x.astype(np.float32)).dtype == np.float32


def test_an_error_beyond_all_numbers_is_the_largest():
    detector = AutoencoderDetector(scale=False, novelty=False, **SMALL).fit(ordinary(30, 0))
    far = np.full((1, 10), 1e200)
    assert detector.score_samples(far) == pytest.approx(-np.finfo(float).max)
    assert np.isfinite(detector.explain(far)).all()
    assert detector.predict(far) == -1


def test_a_stream_is_scored_before_it_is_trained_on():
    stream = [ordinary(40, seed) for seed in range(4)]
    # of 160 scores the rank is 138, a whole one
    detector = clone(EVERY[1]).set_params(contamination=1 / 7).fit(stream[0])
    known = detector.calibration_scores_
    for x in stream[1:]:
        before = detector.score_samples(x)
        known = np.append(known, before)
        detector.partial_fit(x)
        np.testing.assert_array_equal(detector.calibration_scores_, known)
        assert not np.array_equal(detector.score_samples(x), before)
    assert -detector.offset_ == pytest.approx(np.sort(-known)[137])


def test_a_stream_without_fit_keeps_the_last_thousand_scores_and_its_promise():
    detector = AutoencoderDetector(
        4, contamination=0.1, hidden_layer_sizes=(20,), batch_size=50, random_state=0
    )
    detector.partial_fit(ordinary(5, 0))
    # too few for a tenth: beyond the largest
    assert -detector.offset_ == pytest.approx(-detector.calibration_scores_.min())
    for seed in range(1, 80):
        detector.partial_fit(ordinary(100, seed))
    assert len(detector.calibration_scores_) == 1000
    new = 20_000
    share = (detector.predict(ordinary(new, 1000)) == -1).mean()
    assert abs(share - 0.1) < 4 * np.sqrt(0.09 * (1 / 1002 + 1 / new))
    with pytest.raises(ValueError, match="expecting 10 features"):
        detector.partial_fit(table())
    among = AutoencoderDetector(contamination=0.1, novelty=False, **SMALL)
    x = ordinary(40, 0)
    assert (among.partial_fit(x).predict(x) == -1).sum() == 4


@pytest.mark.parametrize("k", [2, 3, 10, 1000])
def test_the_fence_lets_99_of_100_gaussian_errors_pass(k):
    low, high = chi.ppf([0.25, 0.75], k)
    assert chi.sf(high + 1.5 * (high - low), k) < 0.0105


def test_outliers_off_the_plane_are_found():
    x = table(300)
    g = np.random.default_rng(1)
    # each column by itself looks ordinary
    odd = np.column_stack([g.permutation(column) for column in table(300, seed=0).T])[:30]
    detector = AutoencoderDetector(2, random_state=0, epochs=60, novelty=False).fit(x)
    assert (detector.predict(x) == -1).mean() < 0.05
    assert (detector.predict(odd) == -1).mean() > 0.8


@pytest.mark.parametrize("share", [0, 0.6, -1, np.nan, "some", None, True])
def test_contaminations_that_make_no_sense(share):
    with pytest.raises(ValueError, match=r"got contamination=.* at most 0.5, or 'auto'"):
        AutoencoderDetector(contamination=share).fit(table())


# The selector --------------------------------------------------------------------------------


def planted(n=400, seed=0):
    """Three sources in columns 2, 5 and 9; the other columns are noisy copies of them."""
    g = np.random.default_rng(seed)
    sources = g.standard_normal((n, 3))
    x = np.repeat(sources, 4, axis=1) + 0.7 * g.standard_normal((n, 12))
    x[:, [2, 5, 9]] = sources
    return x


def unexplained(x, chosen):
    """Squared error of the best linear imputation, a feature's variance being 1."""
    s = StandardScaler().fit_transform(x)
    weights, *_ = np.linalg.lstsq(s[:, chosen], s, rcond=None)
    return np.square(s - s[:, chosen] @ weights).sum() / len(s)


def test_the_planted_features_are_found():
    x = planted()
    best = min(combinations(range(12), 3), key=lambda chosen: unexplained(x, chosen))
    assert best == (2, 5, 9)
    selector = ConcreteFeatureSelector(3, hidden_layer_sizes=(), random_state=0).fit(x)
    assert tuple(selector.get_support(indices=True)) == best
    assert selector.confidence_ > 0.9
    np.testing.assert_array_equal(selector.transform(x), x[:, best])
    # the decoder, which is linear here, imputes as well as least squares do
    back = selector.inverse_transform(selector.transform(x))
    left = np.square((back - x) / x.std(0)).sum() / len(x)
    assert unexplained(x, best) * (1 - 1e-9) < left < 1.02 * unexplained(x, best)


@undecided
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scale", [True, False])
def test_imputation_is_by_the_decoder_and_keeps_what_is_known(seed, scale):
    # hardly trained, so that features are not those of their nodes
    x = planted(50)
    selector = ConcreteFeatureSelector(4, scale=scale, random_state=seed, **SMALL).fit(x)
    chosen = selector.get_support(indices=True)
    back = selector.inverse_transform(x[:, chosen])
    np.testing.assert_array_equal(back[:, chosen], x[:, chosen])
    s = (x - x.mean(0)) / x.std(0) if scale else x
    p = selector.objective_.model.encoder.probabilities.double().numpy()
    order = max(permutations(chosen), key=lambda js: np.log(p[np.arange(4), list(js)]).sum())
    decoded = selector.objective_.model.decode(torch.from_numpy(s[:, list(order)])).numpy()
    decoded = decoded * x.std(0) + x.mean(0) if scale else decoded
    others = np.setdiff1d(np.arange(12), chosen)
    np.testing.assert_allclose(back[:, others], decoded[:, others], rtol=1e-6, atol=1e-9)
    with pytest.raises(ValueError, match=r"\(50, 5\) .*expected \(N, 4\) .*: as transform returns"):
        selector.inverse_transform(x[:, :5])


@undecided
@pytest.mark.parametrize("seed", range(4))
def test_nodes_are_matched_with_distinct_features(seed):
    # hardly trained, several nodes want the same
    x = table(m=5)
    selector = ConcreteFeatureSelector(4, random_state=seed, **SMALL).fit(x)
    p = selector.objective_.model.encoder.probabilities.numpy()
    product = {j: p[np.arange(4), j].prod() for j in permutations(range(5), 4)}
    best = max(product, key=product.get)
    assert list(selector.get_support(indices=True)) == sorted(best)


@undecided
@pytest.mark.parametrize(
    ("asked", "got"), [(1, 1), (7, 7), (None, 3), (0.5, 3), (0.99, 6), (0.01, 1)]
)
def test_the_number_of_features(asked, got):
    selector = ConcreteFeatureSelector(asked, random_state=0, **SMALL).fit(table(m=7))
    assert selector.get_support().sum() == got
    assert selector.transform(table(3, m=7)).shape == (3, got)


@pytest.mark.parametrize("asked", [0, 8, 1.5, -0.5, 0.0, 1.0, np.nan, True, "all"])
def test_numbers_of_features_that_make_no_sense(asked):
    with pytest.raises(ValueError, match=r"got n_features_to_select=.*, expected a"):
        ConcreteFeatureSelector(asked).fit(table(m=7))


def test_an_undecided_selector_warns():
    with pytest.warns(ConvergenceWarning, match=r"confidence of 0\.\d+, expected 0.9 or more"):
        ConcreteFeatureSelector(random_state=0, **SMALL).fit(table())


@pytest.mark.parametrize("method", ["explain", "reconstruct"])
def test_what_is_said_of_a_table_is_a_table(method):
    pd = pytest.importorskip("pandas")
    index = pd.MultiIndex.from_product([range(12), list("0123456789")])
    x = pd.DataFrame(table(), columns=list("abcdef"), index=index)
    detector = quick(1).fit(x)
    found, rows = getattr(detector, method)(x), x.iloc[::-1][:7]
    pd.testing.assert_index_equal(found.index, x.index)
    pd.testing.assert_index_equal(found.columns, x.columns)
    np.testing.assert_array_equal(getattr(detector, method)(rows), found.loc[rows.index])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it has no names of columns
        np.testing.assert_array_equal(getattr(detector, method)(x.to_numpy()), found)
        assert isinstance(getattr(detector, method)(x.to_numpy()), np.ndarray)


# The hasher ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [100, 101])
def test_every_bit_divides_the_samples_in_half(n):
    hasher = SemanticHashTransformer(11, random_state=0, **SMALL)
    bits = hasher.fit_transform(table(n))
    assert bits.dtype == bool
    assert bits.shape == (n, 11)
    assert (bits.sum(0) == 50).all()


def test_codes_are_the_bits_packed():
    hasher = SemanticHashTransformer(11, random_state=0, **SMALL).fit(table())
    new = table()[40:49]
    codes = hasher.encode(new)
    assert codes.dtype == np.uint8
    assert codes.shape == (9, 2)
    np.testing.assert_array_equal(unpack(codes, 11), hasher.transform(new))
    assert hasher.get_feature_names_out()[-1] == "semantichashtransformer10"


def test_digits_with_near_codes_are_alike():
    x, y = load_digits(return_X_y=True)
    x, y = x[:500], y[:500]
    bits = SemanticHashTransformer(16, epochs=30, random_state=0).fit_transform(x).astype(int)
    distances = np.abs(bits[:, None] - bits).sum(-1)
    np.fill_diagonal(distances, 17)
    # a tenth is chance
    assert (y[distances.argmin(1)] == y).mean() > 0.6


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_bits": 0}, "got n_bits=0, expected a whole number, 1 or more"),
        ({"kind": "hard"}, "got kind='hard', expected 'straight_through'"),
        ({"sigma": -1.0}, "got sigma=-1.0, expected a finite number, 0 or more"),
    ],
)
def test_hashers_that_make_no_sense(parameters, message):
    with pytest.raises(ValueError, match=message):
        SemanticHashTransformer(**parameters).fit(table())


def held(estimator):
    """What an estimator has learnt, and goes on from."""
    learnt = {n: v for n, v in vars(estimator).items() if n != "lr"}
    weights = {n: v.clone() for n, v in estimator.objective_.state_dict().items()}
    range_seen = estimator.data_min_.tolist(), estimator.data_max_.tolist(), estimator._seen
    stream = estimator._random_state.get_state()[1:3]
    return (
        {n: id(v) for n, v in learnt.items() if n != "_random_state"},
        weights,
        range_seen,
        stream,
    )


def interrupt(*_, **__):
    raise KeyboardInterrupt


WAYS_TO_FAIL = {
    "diverges": ({"lr": 1e37}, FloatingPointError, {}),
    "interrupted": ({}, KeyboardInterrupt, {"fit": interrupt}),
    "refused": ({"lr": -1}, ValueError, {}),
}


@pytest.mark.parametrize("way", WAYS_TO_FAIL)
@pytest.mark.parametrize(
    ("kind", "method"),
    [
        (AutoencoderTransformer, "fit"),
        (AutoencoderTransformer, "partial_fit"),
        (AutoencoderDetector, "fit"),
        (AutoencoderDetector, "partial_fit"),
        (SemanticHashTransformer, "fit"),
        (ConcreteFeatureSelector, "fit"),
    ],
)
def test_what_fails_leaves_the_estimator_as_it_was(monkeypatch, kind, method, way):
    options, error, patches = WAYS_TO_FAIL[way]
    x = np.random.default_rng(0).normal(size=(40, 4))
    estimator = kind(2, epochs=2, batch_size=10, hidden_layer_sizes=(), random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(x)
    names, weights, *others = held(estimator)
    estimator.set_params(**options)
    for name, function in patches.items():
        monkeypatch.setattr(f"aebook.estimators.network.{name}", function)
    with pytest.raises(error):
        getattr(estimator, method)(9 * x)
    names_now, weights_now, *others_now = held(estimator)
    assert names_now == names
    assert all(torch.equal(weights_now[name], value) for name, value in weights.items())
    np.testing.assert_equal(others_now, others)
