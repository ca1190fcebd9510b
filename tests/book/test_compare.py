"""Tests of the comparison of a chapter's outputs with the stored ones, and of what is trained."""

import nbformat
import pytest
from comparison import SHARE, UNITS, deviation
from hypothesis import given
from hypothesis import strategies as st
from trained import trained_cells


@pytest.mark.parametrize(
    ("found", "stored"),
    [
        ("AE 0.52, PCA 0.44", "AE 0.52, PCA 0.44"),
        ("error 14.2 +- 0.3", "error 14.3 +- 0.3"),
        ("-0.01", "+0.00"),
        ("loss 1.04e-3", "loss 1.00e-3"),
        ("12,377 bytes", "12,000 bytes"),
        ("100 of 784", " 99 of 784"),
        ("   9.99 dB", "  10.01 dB"),
        ("1, 1.5, -0.9 < 2,000", "0.9, 1.5, -1 < 2,000"),
    ],
)
def test_the_same_words_and_near_numbers_are_alike_where_they_are_trained(found, stored):
    assert deviation(found, stored) <= 1
    if found.split() != stored.split():
        assert deviation(found, stored, trained=False) > 1


@pytest.mark.parametrize(
    ("found", "stored"),
    [
        ("AE 0.52", "AE 0.44"),
        ("AE 0.52", "PCA 0.52"),
        ("True", "False"),
        ("butter: sugar, milk", "butter: milk, sugar"),
        ("two numbers 1 2", "two numbers 1"),
        ("loss 1.0e-3", "loss 1.0e-2"),
        ("13,777 bytes", "12,000 bytes"),
        ("0.47", "-0.47"),
        ("nan", "0.5"),
        ("7 of 10", "7 of 14"),
        ("accuracy 0.6", "accuracy 0.8"),
        ("K = 5", "K = 7"),
    ],
)
def test_other_words_or_other_numbers_are_not(found, stored):
    assert deviation(found, stored) > 1


def test_a_number_may_be_written_otherwise():
    assert deviation("columns: 10.0 = 10", "columns: 10 = 10", trained=False) == 0


def test_residues_of_rounding_are_no_numbers():
    assert deviation("difference 3e-15 < 1e-10", "difference 8e-16 < 1e-10", trained=False) == 0
    assert deviation("difference 3e-04", "difference 8e-16", trained=False) > 1


@pytest.mark.parametrize("stored", ["p = 3e-07", "p: 2e-06 < 3e-07", "0.5 < 1 ± 3e-07"])
def test_what_is_held_to_no_bound_is_no_residue_and_neither_is_a_bound(stored):
    assert deviation(stored.replace("3e-07", "9e-07"), stored, trained=False) > 1


@pytest.mark.parametrize(
    ("found", "stored", "alike"),
    [
        ("AE 0.52", "AE 0.51", True),
        ("loss 14.3", "loss 14.2", True),
        ("AE 0.53, PCA 0.51", "AE 0.51, PCA 0.53", False),
        ("chosen p = 16", "chosen p = 17", False),
        ("2 of 3", "1 of 3", False),
        ("12,377 bytes", "12,376 bytes", False),
        ("below 3e-15 < 1e-10", "below 8e-16 < 1e-10", True),
    ],
)
def test_by_the_same_instructions_only_a_last_decimal_may_flip(found, stored, alike):
    assert (deviation(found, stored, same=True) <= 1) == alike


@given(st.floats(0.01, 1e4), st.integers(0, 3))
def test_the_allowance_is_the_larger_of_units_and_share(value, decimals):
    stored = f"{value:.{decimals}f}"
    allowed = max(UNITS * 10.0**-decimals, SHARE * float(stored))
    assert deviation(f"{float(stored) + 0.99 * allowed:.12f}", stored) <= 1
    assert deviation(f"{float(stored) + 1.01 * allowed:.12f}", stored) > 1


@pytest.mark.parametrize(
    ("found", "stored", "alike"),
    [
        ("share lost: 0.08, 0.07 < 0.33", "share lost: 0.05, 0.07 < 0.33", True),
        ("share lost: 0.09, 0.07 < 0.33", "share lost: 0.05, 0.07 < 0.33", False),
        ("share lost: 0.08, 0.07", "share lost: 0.05, 0.07", False),
        ("gain: 0.2 > 0, 0.3 < 1", "gain: 0.1 > 0, 0.3 < 1", True),
        # a bound is not held to another, nor to its number
        ("gain: 3 < 0.16", "gain: 3 < 0.11", False),
        # nor is a number on the next line
        ("AE 0.05\nbound: 0.2 < 9", "AE 0.08\nbound: 0.2 < 9", False),
    ],
)
def test_what_is_far_from_its_bound_may_move_by_a_tenth_of_that(found, stored, alike):
    assert (deviation(found, stored) <= 1) == alike
    assert deviation(found, stored, trained=False) > 1


def shown(*sources):
    """Indices of the cells that are said to show what was trained; all print."""
    notebook = nbformat.v4.new_notebook()
    for source in sources:
        output = nbformat.v4.new_output("stream", text="1")
        notebook.cells.append(nbformat.v4.new_code_cell(source, outputs=[output]))
    return trained_cells(notebook)


@pytest.mark.parametrize(
    "source",
    [
        "aebook.fit(objective, x)\nprint(objective(x))",
        "made = LogisticRegression().fit(x, y)\nprint(made.score(x, y))",
        "scores = []\naebook.fit(o, x)\nscores.append(o(x))\nprint(scores)",
        "for seed in range(3):\n    aebook.fit(o, x, seed=seed)\n    print(o(x))",
        "def train(o, data):\n    aebook.fit(o, data)\n\ntrain(o, x)\nprint(o(x))",
        "def made():\n    aebook.fit(o, x)\n    return o\n\nprint(made()(x))",
        "print(aebook.applications.pretrained.compressor())",
        "objective = plain(w)\nmodel = objective.model\naebook.fit(objective, x)\nprint(model(x))",
        "steps = SGD(w)\nfor _ in range(9):\n    f(w).backward()\n    steps.step()\nprint(w)",
        "print(cross_val_predict(LogisticRegression(), x, y))",
        "print(LocalOutlierFactor().fit_predict(x))",
        "with torch.no_grad():\n    aebook.lbfgs(o, x)\n    error = o(x)\nprint(error)",
        "from aebook import fit as train\ntrain(o, x)\nprint(o(x))",
        "run = partial(aebook.fit, epochs=9)\nprint(run(o, x))",
        "print(list(map(aebook.fit, objectives, data)))",
        "try:\n    x = read()\nexcept OSError:\n    aebook.fit(o, x)\nprint(o(x))",
        "match kind:\n    case 'deep':\n        aebook.fit(o, x)\nprint(o(x))",
        "if (history := aebook.fit(o, x)).losses:\n    print(history)",
    ],
)
def test_what_is_trained_is_seen(source):
    assert shown("x = 1", source) == {1}


@pytest.mark.parametrize(
    "sources",
    [
        ("x = data()", "print(x.mean())"),
        ("aebook.fit(o, x)", "print(x.mean())"),
        ("aebook.fit(o, x)\nerror = o(x)", "error = x.mean()\nprint(error)"),
        ("def train(o, x):\n    aebook.fit(o, x)\n\ntrain(o, x)", "print(x.mean())"),
        ("aebook.fit(model, x)", "def norm(model):\n    return model.w\n\nprint(norm(other))"),
        ("aebook.fit(o, x)", "scaler = StandardScaler\nprint(scaler)"),
    ],
)
def test_what_is_not_trained_is_not(sources):
    assert len(sources) - 1 not in shown(*sources)
