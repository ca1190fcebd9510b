"""Tests of the comparison of a chapter's outputs with the stored ones."""

import importlib.util
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location(
    "chapters", Path(__file__).resolve().parents[2] / "book" / "conftest.py"
)
chapters = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(chapters)


@pytest.mark.parametrize(
    ("found", "stored"),
    [
        ("AE 0.52, PCA 0.44", "AE 0.52, PCA 0.44"),
        ("error 14.2 +- 0.3", "error 14.3 +- 0.3"),
        ("-0.02", "+0.00"),
        ("loss 1.04e-3", "loss 1.00e-3"),
        ("12,377 bytes", "12,000 bytes"),
        ("100 of 784", " 99 of 784"),
        ("   9.99 dB", "  10.01 dB"),
    ],
)
def test_the_same_words_and_near_numbers_are_alike(found, stored):
    assert chapters.alike(found, stored)


@pytest.mark.parametrize(
    ("found", "stored"),
    [
        ("AE 0.52", "AE 0.44"),
        ("AE 0.52", "PCA 0.52"),
        ("True", "False"),
        ("butter: sugar, milk", "butter: milk, sugar"),
        ("two numbers 1 2", "two numbers 1"),
        ("loss 1.0e-3", "loss 1.0e-2"),
        ("12,377 bytes", "10,000 bytes"),
        ("0.47", "-0.47"),
        ("nan", "0.5"),
        ("7 of 10", "7 of 14"),
    ],
)
def test_other_words_or_other_numbers_are_not(found, stored):
    assert not chapters.alike(found, stored)
