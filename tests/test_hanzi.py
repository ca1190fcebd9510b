"""Tests of aebook.applications.translation.hanzi."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aebook.applications.translation.hanzi import UNKNOWN, compose, decompose
from aebook.datasets import hanzi, segments

DESCRIPTIONS = hanzi()
COMPOSITIONS = {**dict.fromkeys("⿰⿱⿴⿵⿶⿷⿸⿹⿺", 2), "⿲": 3, "⿳": 3}


def test_the_example_of_the_module() -> None:
    assert decompose("好想") == "⿰女子⿱⿰木目心"
    assert compose("⿰女子⿱⿰木目心") == "好想"


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_nothing_is_lost_in_the_shipped_texts(split: str) -> None:
    for text in segments(split).chinese:
        assert compose(decompose(text)) == text


anything = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="".join(COMPOSITIONS))
)


@given(anything, st.lists(st.sampled_from(sorted(DESCRIPTIONS))))
def test_nothing_is_lost_in_any_text(text: str, characters: list[str]) -> None:
    mixed = text + "".join(characters) + text
    assert compose(decompose(mixed)) == mixed


def parsed(text: str) -> list[str]:
    """Cut a text into complete descriptions, by recursion; the last may break off."""
    if not text:
        return []

    def tree(rest: str) -> str:
        if not rest:
            return rest
        rest, missing = rest[1:], COMPOSITIONS.get(rest[0], 0)
        for _ in range(missing):
            rest = tree(rest)
        return rest

    rest = tree(text)
    return [text[: len(text) - len(rest)], *parsed(rest)]


@given(st.text(st.sampled_from("⿰⿱⿲⿴女子木目心口a "), max_size=30))
def test_composing_what_a_network_may_write(text: str) -> None:
    inverse = {description: character for character, description in DESCRIPTIONS.items()}
    expected = [
        inverse.get(part, part if part not in COMPOSITIONS and len(part) == 1 else UNKNOWN)
        for part in parsed(text)
    ]
    assert compose(text) == "".join(expected)


@pytest.mark.parametrize(
    ("text", "composed"),
    [
        ("⿰女", UNKNOWN),
        ("⿰", UNKNOWN),
        ("⿰心心好", f"{UNKNOWN}好"),
        ("", ""),
        ("a⿰木木b", "a林b"),
    ],
)
def test_what_is_no_character_is_marked(text: str, composed: str) -> None:
    assert compose(text) == composed


def test_descriptions_of_ones_own() -> None:
    mine = {"A": "⿰/\\"}
    assert decompose("AB", mine) == "⿰/\\B"
    assert compose("⿰/\\B⿰木木", mine) == f"AB{UNKNOWN}"
