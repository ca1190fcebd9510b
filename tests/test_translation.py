"""Tests of aebook.applications.translation."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import aebook
from aebook.applications.translation import Translator, Vocabulary, scores, transformer
from aebook.datasets import segments
from aebook.recurrent import END, PADDING

ENGLISH = ["one two", "two", "three one", "two three", "one", "three", "three two one", "two one"]
FRENCH = ["un deux", "deux", "trois un", "deux trois", "un", "trois", "trois deux un", "deux un"]


@pytest.fixture(scope="module")
def train() -> aebook.datasets.Segments:
    return segments("validation")


@pytest.fixture(scope="module")
def french(train) -> Vocabulary:
    return Vocabulary(train.french, 500)


# Vocabularies ------------------------------------------------------------------------------------


@pytest.mark.needs("tokenizers")
def test_texts_come_back(train, french: Vocabulary) -> None:
    symbols = french.encode(train.french)
    assert symbols.dtype == torch.int64
    assert len(french) == 500
    assert french.decode(symbols) == train.french


@pytest.mark.needs("tokenizers")
def test_symbols_end_and_are_padded(french: Vocabulary) -> None:
    texts = ["Insérer", "Insérer une table dans la page."]
    symbols = french.encode(texts)
    for text, row in zip(texts, symbols.tolist(), strict=True):
        pieces = french.pieces(text)
        assert row[len(pieces)] == END
        assert row[len(pieces) + 1 :] == [PADDING] * (len(row) - len(pieces) - 1)
        assert min(row[: len(pieces)]) > 2
    assert symbols.shape[1] == len(french.pieces(texts[1])) + 1


@pytest.mark.needs("tokenizers")
def test_backwards(french: Vocabulary) -> None:
    texts = ["Insérer", "Insérer une table."]
    forward, backward = french.encode(texts), french.encode(texts, reverse=True)
    for one, other in zip(forward.tolist(), backward.tolist(), strict=True):
        n = one.index(END)
        assert one[:n] == other[:n][::-1]
        assert one[n:] == other[n:]


@pytest.mark.needs("tokenizers")
def test_the_vocabulary_depends_on_the_texts_alone(train, french: Vocabulary) -> None:
    again = Vocabulary(train.french, 500)
    assert torch.equal(again.encode(train.french), french.encode(train.french))


def pair_encoding(texts: list[str], joins: int) -> list[tuple[str, str]]:
    """Byte-pair encoding as Sennrich et al. write it down, by counting everything again."""
    words = Counter(tuple(word) for text in texts for word in f" {text}".replace(" ", " ▁").split())
    joined = []
    for _ in range(joins):
        pairs = Counter()
        for word, count in words.items():
            for pair in pairwise(word):
                pairs[pair] += count
        best = max(pairs.values())
        joined.append({pair for pair, count in pairs.items() if count == best})
        left, right = pair = sorted(joined[-1])[0]
        if len(joined[-1]) > 1:  # ties may be broken in any way
            break
        again = Counter()
        for word, count in words.items():
            merged = []
            for sign in word:
                if merged and (merged[-1], sign) == pair:
                    merged[-1] = left + right
                else:
                    merged.append(sign)
            again[tuple(merged)] += count
        words = again
    return joined


@pytest.mark.needs("tokenizers")
def test_the_most_frequent_pair_is_joined_first() -> None:
    texts = ["low low low low low", "lower lower", "newest newest newest newest newest newest"]
    signs = len({*"".join(texts).replace(" ", "▁")} | {"▁"})
    joined = pair_encoding(texts, 10)
    for n in range(1, len(joined)):
        vocabulary = Vocabulary(texts, 3 + signs + n)
        pieces = {piece for text in texts for piece in vocabulary.pieces(text)}
        everything = {"".join(pair) for pair in joined[n - 1]}
        # what was joined last stands in some text, whole
        assert everything & pieces


@pytest.mark.needs("tokenizers")
def test_what_was_never_seen_is_unknown_and_left_out(french: Vocabulary) -> None:
    symbols = french.encode(["la 漢 page"])
    assert (symbols == 2).sum() == 1
    assert french.decode(symbols) == ["la page"]


@pytest.mark.needs("tokenizers")
def test_without_room_for_all_characters_the_rarest_are_unknown() -> None:
    vocabulary = Vocabulary(["aaaa bbb cc d"], 7)
    assert len(vocabulary) <= 7
    unknown = (vocabulary.encode(["a b c d"]) == 2).sum()
    assert unknown == 1


@pytest.mark.parametrize("size", [3, 0, 10.5, True])
def test_a_wrong_size_is_refused(size) -> None:
    with pytest.raises(ValueError, match="expected a whole number"):
        Vocabulary(ENGLISH, size)


@pytest.mark.needs("tokenizers")
@pytest.mark.parametrize("texts", ["one", [1], [""], [], [" "]])
def test_wrong_texts_are_refused(texts, french: Vocabulary) -> None:
    for take in (Vocabulary, french.encode):
        with pytest.raises(ValueError, match=r"expected (a list|text)|no text, or an empty"):
            take(texts)


@pytest.mark.parametrize("library", ["tokenizers", "sacrebleu"])
def test_a_missing_library_is_named(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, *_: object) -> None:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    call = {"tokenizers": lambda: Vocabulary(ENGLISH), "sacrebleu": lambda: scores(["a"], ["a"])}
    with pytest.raises(ImportError, match=rf"needs {library}, .*aebook\[translation\]"):
        call[library]()


# Translators -------------------------------------------------------------------------------------


def translator(**options) -> Translator:
    torch.manual_seed(0)
    sizes = {"code": 16, "embedding": 8, "hidden": 16, "length": 12, **options}
    return Translator(Vocabulary(ENGLISH, 40), Vocabulary(FRENCH, 40), **sizes)


@pytest.mark.needs("tokenizers")
@pytest.mark.parametrize(("attention", "reverse"), [(False, True), (True, False)])
def test_it_learns_what_it_is_shown(attention: bool, reverse: bool) -> None:
    t = translator(attention=attention, reverse=reverse, bidirectional=False)
    assert learns(t)


@pytest.mark.needs("tokenizers")
def test_a_transformer_does_as_well() -> None:
    source, target = Vocabulary(ENGLISH, 40), Vocabulary(FRENCH, 40)
    torch.manual_seed(0)
    encoder = transformer.Encoder(len(source), 16, hidden=32, dropout=0.0)
    decoder = transformer.Decoder(len(target), 16, 12, hidden=32, dropout=0.0)
    assert learns(Translator(source, target, aebook.Autoencoder(encoder, decoder)))


def learns(t: Translator) -> bool:
    data = t.batches(ENGLISH, FRENCH, size=4)
    aebook.fit(t.objective(), data, epochs=80, lr=2e-2, progress=False)
    return t.translate(ENGLISH) == FRENCH == t.translate(ENGLISH, beam=3)


@pytest.mark.needs("tokenizers")
def test_each_text_is_translated_on_its_own() -> None:
    t = translator()
    texts = ["one", "three two one two three", "two"]
    together = t.translate(texts)
    assert together == [t.translate([text])[0] for text in texts]
    assert together == t.translate(texts[::-1])[::-1]


@pytest.mark.needs("tokenizers")
def test_translating_changes_nothing() -> None:
    t = translator(forget=0.5)
    before = {name: tensor.clone() for name, tensor in t.model.state_dict().items()}
    t.model.train()
    assert t.translate(ENGLISH) == t.translate(ENGLISH)
    assert t.model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in t.model.state_dict().items())


@pytest.mark.needs("tokenizers")
def test_the_objective_is_the_likelihood_of_the_symbols() -> None:
    t = translator()
    x, y = t.source.encode(ENGLISH), t.target.encode(FRENCH)
    loss = t.objective().eval()(x, y).total.detach()
    with torch.no_grad():
        logits = t.model.decoder(t.model.encoder(x), y).double()
    by_hand = 0.0
    for row, symbols in zip(logits, y.tolist(), strict=True):
        for step in range(symbols.index(END) + 1):
            by_hand -= float(row[step, symbols[step]] - row[step].logsumexp(0))
    assert float(loss) == pytest.approx(by_hand / len(y), rel=1e-5)


@pytest.mark.needs("tokenizers")
@settings(deadline=None, max_examples=20)
@given(st.integers(1, 9), st.integers(1, 60))
def test_batches_hold_every_pair_once_and_little_padding(size: int, count: int) -> None:
    t = translator()
    texts = [" ".join(ENGLISH[(i * 7) % 8] for _ in range(1 + i % 5)) for i in range(count)]
    loader = t.batches(texts, texts[::-1], size=size)
    batches = list(loader)
    assert len(loader) == len(batches)
    x, y = t.source.encode(texts), t.target.encode(texts[::-1])
    expected = Counter(
        (*a[a > 0].tolist(), -1, *b[b > 0].tolist()) for a, b in zip(x, y, strict=True)
    )
    found: Counter = Counter()
    for left, right in batches:
        assert len(left) <= size
        # no column is padding alone
        assert (left != PADDING).any(0).all()
        assert (right != PADDING).any(0).all()
        found.update(
            (*a[a > 0].tolist(), -1, *b[b > 0].tolist()) for a, b in zip(left, right, strict=True)
        )
    assert found == expected


@pytest.mark.needs("tokenizers")
def test_batches_are_mixed_anew_each_time() -> None:
    t = translator()
    texts = [text for text in ENGLISH for _ in range(8)]
    loader = t.batches(texts, texts, size=8)
    torch.manual_seed(1)
    first, second = ([x.shape[1] for x, _ in loader] for _ in range(2))
    torch.manual_seed(1)
    assert [x.shape[1] for x, _ in loader] == first
    assert first != second or first != sorted(first)


@pytest.mark.needs("tokenizers")
def test_two_directions_make_reading_backwards_the_same() -> None:
    """Exchange the two directions, and a text read backwards has the same code."""
    t = translator(attention=False)
    one, other = t.model.encoder, translator(attention=False).model.encoder
    state = one.state_dict()
    swapped = {
        name.removesuffix("_reverse")
        if name.endswith("_reverse")
        else f"{name}_reverse"
        if name.startswith("gru.")
        else name: tensor
        for name, tensor in state.items()
    }
    swapped["to_code.weight"] = state["to_code.weight"].roll(16, dims=1)
    other.load_state_dict(swapped)
    x = torch.tensor([[3, 4, 5, 6]])
    torch.testing.assert_close(one(x), other(x.flip(1)))


@pytest.mark.needs("tokenizers")
def test_symbols_are_hidden_from_the_encoder_alone() -> None:
    t = translator()
    corruption = t.objective(hide=0.3).corruption
    x = t.source.encode(ENGLISH * 200)
    torch.manual_seed(0)
    hidden = corruption(x)
    changed = hidden != x
    assert (hidden[changed] == 2).all()
    assert not changed[x <= 1].any()
    share = changed.sum() / (x > 1).sum()
    # four standard deviations of a share
    assert abs(float(share) - 0.3) < 4 * (0.3 * 0.7 / int((x > 1).sum())) ** 0.5
    assert t.objective().corruption is None


@pytest.mark.needs("tokenizers")
def test_wrong_arguments_are_refused() -> None:
    t = translator()
    for wrong in (-0.1, 1.0):
        with pytest.raises(ValueError, match="expected a finite number, 0 or more and less than 1"):
            t.objective(hide=wrong)
    with pytest.raises(ValueError, match="got 8 sources and 7 targets"):
        t.batches(ENGLISH, FRENCH[:7])
    for wrong in (0, 1.5, True):
        with pytest.raises(ValueError, match="expected a whole number"):
            t.batches(ENGLISH, FRENCH, size=wrong)
        with pytest.raises(ValueError, match="expected a whole number"):
            t.translate(ENGLISH, beam=wrong)
    with pytest.raises(ValueError, match="expected those it was trained with"):
        Translator(Vocabulary(ENGLISH, 10), t.target, t.model)


# Scores ------------------------------------------------------------------------------------------


def bleu(hypothesis: list[str], reference: list[str]) -> float:
    """BLEU of one text of at least four words, from its definition."""
    logs = []
    for n in range(1, 5):
        grams = [
            Counter(zip(*(words[i:] for i in range(n)), strict=False))
            for words in (hypothesis, reference)
        ]
        logs.append(np.log((grams[0] & grams[1]).total() / grams[0].total()))
    shortness = min(0, 1 - len(reference) / len(hypothesis))
    return 100 * np.exp(np.mean(logs) + shortness)


@pytest.mark.needs("sacrebleu")
def test_bleu_is_as_it_was_defined() -> None:
    for hypothesis, reference in (
        ("the cat sat on the mat today", "the cat sat on the mat in peace today"),
        ("the the cat sat on the mat", "the cat sat on the mat"),
    ):
        found = scores([hypothesis], [reference])
        assert found.bleu == pytest.approx(bleu(hypothesis.split(), reference.split()))
        assert "tok:13a" in found.signature
    chinese = ("将地址数据库用于邮件", "将地址数据库用于合并邮件")
    assert scores([chinese[0]], [chinese[1]], chinese=True).bleu == pytest.approx(
        bleu(list(chinese[0]), list(chinese[1]))
    )


@pytest.mark.needs("sacrebleu")
def test_extremes_of_the_scores(train) -> None:
    perfect = scores(train.french, train.french)
    assert (perfect.bleu, perfect.chrf) == pytest.approx((100, 100))
    assert scores([""] * 1000, train.french)[:2] == pytest.approx((0, 0), abs=0.01)


def test_scores_are_of_pairs() -> None:
    with pytest.raises(ValueError, match="got 1 translations and 2 references"):
        scores(["a"], ["a", "b"])
