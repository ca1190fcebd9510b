import re
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import aebook
from aebook.applications import pretrained
from aebook.applications.molecules import (
    Alphabet,
    from_selfies,
    language_model,
    sample,
    split_selfies,
    split_smiles,
    to_selfies,
    variational,
    warm_up,
)
from aebook.datasets import molecules

DRUGS = {
    "paracetamol": "CC(=O)Nc1ccc(O)cc1",
    "moclobemide": "O=C(NCCN1CCOCC1)c1ccc(Cl)cc1",
    "levothyroxine": "N[C@@H](Cc1cc(I)c(Oc2cc(I)c(O)c(I)c2)c(I)c1)C(=O)O",
    "sodium valproate": "CCCC(CCC)C(=O)[O-].[Na+]",
    "ring number of two digits": "C%12CCCCC%12/C=C/C",
}


SYMBOLS = ["[C]", "[=O]", "[N]", "[Ring1]", "[Branch1]", "[#C]", "[F]", "[=Branch2]"]


# Symbols -------------------------------------------------------------------------------------


@pytest.mark.parametrize("smiles", DRUGS.values(), ids=DRUGS)
def test_symbols_are_the_text_again(smiles):
    assert "".join(split_smiles(smiles)) == smiles


def test_symbols_of_the_shipped_molecules_are_the_text_again_and_few():
    lines = molecules("test")
    symbols = [split_smiles(line) for line in lines]
    assert ["".join(s) for s in symbols] == lines
    assert len(set().union(*symbols)) < 25


def test_an_atom_is_one_symbol():
    assert split_smiles("ClC[nH]Br") == ["Cl", "C", "[nH]", "Br"]
    assert split_smiles("C[C@@H](N)C%10") == ["C", "[C@@H]", "(", "N", ")", "C", "%10"]
    # Sn without brackets is sulphur and aromatic nitrogen
    assert split_smiles("Sn") == ["S", "n"]
    assert split_smiles("") == []


@given(st.text("CNOSPFIclnopsBr[]()=#123%./\\@+-*H", max_size=20))
def test_splitting_loses_nothing_or_says_where_it_fails(text):
    try:
        assert "".join(split_smiles(text)) == text
    except ValueError as error:
        at = re.search(r"no symbol starts with '(.*)'$", str(error))
        assert at
        assert text.endswith(at[1].replace("\\\\", "\\"))


def test_what_has_no_symbols_is_refused():
    with pytest.raises(ValueError, match=r"no SMILES.*: no symbol starts with 'X'"):
        split_smiles("CCX")
    with pytest.raises(ValueError, match=r"no symbol starts with '\[nH'"):
        split_smiles("c1cc[nH")
    with pytest.raises(ValueError, match=r"no SELFIES.*: no symbol starts with 'C'"):
        split_selfies("[C][C]C")


# SELFIES -------------------------------------------------------------------------------------


@pytest.mark.needs("selfies")
def test_selfies_are_split_as_their_package_does():
    import selfies

    for smiles in molecules("test")[:300]:
        text = to_selfies(smiles)
        assert split_selfies(text) == list(selfies.split_selfies(text))


@pytest.mark.needs("selfies", "rdkit")
def test_selfies_come_back_as_the_same_molecule():
    from rdkit import Chem

    for smiles in molecules("test")[:300]:
        again = from_selfies(to_selfies(smiles))
        assert Chem.CanonSmiles(again) == Chem.CanonSmiles(smiles)


@pytest.mark.needs("selfies", "rdkit")
@given(st.lists(st.sampled_from(SYMBOLS)))
def test_every_sequence_of_symbols_is_a_molecule(symbols):
    from rdkit import Chem

    assert Chem.MolFromSmiles(from_selfies("".join(symbols))) is not None


@pytest.mark.needs("selfies")
def test_a_text_that_selfies_cannot_write_is_refused():
    with pytest.raises(ValueError, match=r"got 'C\(C', which SELFIES cannot write"):
        to_selfies("C(C")


def test_without_the_package_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "selfies", None)
    for call in (to_selfies, from_selfies):
        with pytest.raises(ImportError, match=r'pip install "aebook\[chem\]"'):
            call("[C]")


# The alphabet ------------------------------------------------------------------------------


def test_the_alphabet_of_the_shipped_molecules_is_that_of_the_shipped_model():
    assert " ".join(Alphabet.of(molecules()).symbols) == (
        "# ( ) - 1 2 3 4 5 = Br C Cl F N O S [H] [nH] c n o s"
    )


def test_messages_are_symbols_an_end_and_padding():
    alphabet = Alphabet(["C", "Cl", "="])
    x = alphabet.encode(["C=CCl", "C"])
    assert len(alphabet) == 5
    assert x.dtype == torch.int64
    assert x.tolist() == [[2, 4, 2, 3, 1], [2, 1, 0, 0, 0]]
    assert alphabet.encode(["C"], 3).tolist() == [[2, 1, 0]]
    assert alphabet.decode(x) == ["C=CCl", "C"]
    # what has no end goes to the last symbol; what starts with it is empty
    assert alphabet.decode(torch.tensor([[2, 4, 2], [1, 0, 0]])) == ["C=C", ""]


def test_shipped_molecules_come_back():
    lines = molecules("test")[:500]
    alphabet = Alphabet.of(lines)
    assert alphabet.decode(alphabet.encode(lines)) == lines


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1).map("".join), min_size=1))
def test_characters_will_do(texts):
    alphabet = Alphabet.of(["abc"], list)
    assert alphabet.decode(alphabet.encode(texts)) == texts


def test_the_alphabet_refuses_what_it_does_not_know():
    alphabet = Alphabet(["C", "="])
    with pytest.raises(
        ValueError, match=r"got the symbol 'N' in 'CN', expected one of the 2 .*C ="
    ):
        alphabet.encode(["C", "CN"])
    with pytest.raises(ValueError, match="got an empty text"):
        alphabet.encode(["C", ""])
    with pytest.raises(ValueError, match="text of 4 symbols, its end included, expected at most 3"):
        alphabet.encode(["C", "CCC"], 3)
    with pytest.raises(ValueError, match=r"got texts=.C., expected a list"):
        alphabet.encode("C")
    with pytest.raises(ValueError, match="got a symbol twice"):
        Alphabet(["C", "C"])


# The autoencoder -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    lines = [line for line in molecules() if len(line) < 26][:192]
    alphabet = Alphabet.of(lines)
    x = alphabet.encode(lines)
    torch.manual_seed(0)
    objective = variational(len(alphabet), 8, x.shape[1], hidden=32, beta=0.01)
    history = aebook.fit(objective, x, epochs=6, lr=1e-2, anneal=warm_up(0.01, 0.25), clip=5.0)
    return objective, history, alphabet, x


def test_it_learns_to_reconstruct_and_its_terms_are_nats_a_message(trained):
    objective, history, _, x = trained
    assert history.loss[-1] < 0.7 * history.loss[0]
    assert float(objective.weight("kl")) == pytest.approx(0.01)
    terms = aebook.evaluate(objective, x)
    model = objective.model
    with torch.no_grad():
        z = model.encode(x)
        log_p = model.decoder(z, x).double().log_softmax(-1)
    by_hand = [
        -sum(log_p[n, t, s] for t, s in enumerate(row) if s) for n, row in enumerate(x.tolist())
    ]
    assert terms["distance"] == pytest.approx(float(sum(by_hand)) / len(x), rel=1e-4)


def test_samples_are_texts_of_the_alphabet_and_follow_the_generator(trained):
    objective, _, alphabet, _ = trained
    g = torch.Generator()
    one = sample(objective.model, alphabet, 20, generator=g.manual_seed(1))
    assert one == sample(objective.model, alphabet, 20, generator=g.manual_seed(1))
    assert len(set(one)) > 15
    assert {s for text in one for s in split_smiles(text)} <= set(alphabet.symbols)
    # nearly without chance, the likeliest symbols
    z = torch.randn(20, 8, generator=g.manual_seed(2))
    cold = sample(objective.model, alphabet, 20, temperature=1e-4, generator=g.manual_seed(2))
    assert cold == alphabet.decode(objective.model.decode(z))


def test_the_weight_rises_along_a_straight_line():
    objective = variational(5, 2, 4, hidden=4, beta=0.3)
    assert float(objective.weight("kl")) == pytest.approx(0.3)
    seen = []
    for t in (0, 0.25, 0.5, 0.9):
        warm_up(0.3)(objective, t)
        seen.append(float(objective.weight("kl")))
    assert seen == pytest.approx([0, 0.15, 0.3, 0.3])
    with pytest.raises(ValueError, match="got until=0"):
        warm_up(1, 0)


def test_it_survives_a_file(trained, tmp_path):
    objective, _, _, x = trained
    aebook.save(objective.model, tmp_path / "m.safetensors")
    again = aebook.load(tmp_path / "m.safetensors")
    assert torch.equal(again.reconstruct(x), objective.model.reconstruct(x))


# The shipped model ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped():
    return pretrained.load("molecules"), Alphabet.of(molecules())


def test_the_shipped_model_writes_half_of_the_test_molecules_again(shipped):
    model, alphabet = shipped
    lines = molecules("test")[:300]
    again = alphabet.decode(model.reconstruct(alphabet.encode(lines)))
    # 0.53 of 2,000; five standard deviations of a share among 300
    assert sum(a == b for a, b in zip(again, lines, strict=True)) / 300 > 0.53 - 5 * 0.029


@pytest.mark.needs("rdkit")
def test_the_shipped_model_writes_molecules(shipped):
    from rdkit import Chem, rdBase

    lines = sample(*shipped, 300, generator=torch.Generator().manual_seed(0))
    with rdBase.BlockLogs():
        valid = sum(bool(line) and Chem.MolFromSmiles(line) is not None for line in lines)
    # 0.43 of 10,000
    assert valid / 300 > 0.43 - 5 * 0.029
    assert len(set(lines)) > 290


def test_a_language_model_is_that_of_its_decoder_and_stays_one():
    alphabet = Alphabet.of(molecules()[:200])
    x = alphabet.encode(molecules()[:200])
    objective = language_model(len(alphabet), x.shape[1], hidden=16)
    before = objective(x).total.item()
    aebook.fit(objective, x, epochs=2, batch_size=20, progress=False)
    model = objective.model
    assert objective(x).total.item() < before - 10
    # no code, to the bit, and none is read
    assert torch.equal(model.encode(x), torch.zeros(200, 1))
    z = torch.randn(200, 1)
    with torch.no_grad():
        logits = model.decoder(z, x)
        assert torch.equal(logits, model.decoder(torch.zeros(200, 1), x))
        # the chain rule, symbol by symbol
        log_p = logits.log_softmax(-1).gather(-1, x.unsqueeze(-1)).squeeze(-1)
        by_hand = -log_p.masked_fill(x == 0, 0).sum(1).mean()
    assert objective(x).total.item() == pytest.approx(by_hand.item(), rel=1e-5)
    # what the prior says changes nothing
    texts = [
        sample(model, alphabet, 5, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)
    ]
    assert texts[0] != texts[1]
    assert not objective.penalties
