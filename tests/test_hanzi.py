"""Tests of aebook.applications.translation.hanzi."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils import parametrize

from aebook.applications.translation import Vocabulary
from aebook.applications.translation.hanzi import UNKNOWN, compose, decompose, share_parts
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


CHINESE = ["林 森 木 好 ab", "好 林 木 目"]


def parts_of(symbol: str) -> set[str]:
    """Signs of its characters that are no compositions, by the parser above."""
    signs = {s for c in symbol if c in DESCRIPTIONS for s in DESCRIPTIONS[c]}
    return {s for s in signs if s not in COMPOSITIONS}


@pytest.mark.needs("tokenizers")
@pytest.mark.parametrize("make", [torch.nn.Embedding, lambda n, p: torch.nn.Linear(p, n)])
def test_symbols_share_the_rows_of_their_parts(make) -> None:
    torch.manual_seed(0)
    vocabulary = Vocabulary(CHINESE, 20)
    layer = make(len(vocabulary), 3)
    before = layer.weight.detach().clone()
    share_parts(layer, vocabulary)
    rows = vocabulary.decode(torch.arange(len(vocabulary))[:, None])
    known = sorted(set().union(*map(parts_of, rows)))
    assert {"木", "女", "子", "目"} <= set(known)
    own, (shared,) = layer.parametrizations.weight.original, layer.parametrizations.weight
    assert torch.equal(own, before)
    assert shared.parts.shape == (len(known), 3)
    expected = before.clone()
    for symbol, row in zip(rows, expected, strict=True):
        for part in parts_of(symbol):
            row += shared.parts.detach()[known.index(part)] / len(parts_of(symbol))
    torch.testing.assert_close(layer.weight.detach(), expected)
    assert not any(parts_of(symbol) for symbol in ("a", "ab", ""))

    # what is learnt of one character is known of another with the same part
    layer.weight[rows.index("林")].sum().backward()
    assert (own.grad != 0).any(1).sum() == 1
    moved = shared.shares @ (shared.parts.grad != 0).double().any(1).to(own)
    assert {rows[i] for i in moved.nonzero().flatten()} == {s for s in rows if "木" in parts_of(s)}

    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) in (torch.nn.Embedding, torch.nn.Linear)
    torch.testing.assert_close(layer.weight.detach(), expected)


@pytest.mark.needs("tokenizers")
def test_tables_that_do_not_fit_are_refused() -> None:
    vocabulary = Vocabulary(CHINESE, 20)
    with pytest.raises(ValueError, match="got a table of 3 rows"):
        share_parts(torch.nn.Embedding(3, 2), vocabulary)
    latin = Vocabulary(["abc"], 10)
    with pytest.raises(ValueError, match="without a Chinese character"):
        share_parts(torch.nn.Embedding(len(latin), 2), latin)
