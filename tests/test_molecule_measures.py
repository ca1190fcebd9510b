import sys
import warnings
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import wasserstein_distance

from aebook.applications.molecules.measures import (
    UNWANTED,
    Properties,
    activations,
    canonical,
    cosine,
    distances,
    diversity,
    draw,
    fingerprints,
    fragments,
    frechet,
    nearest,
    passes,
    properties,
    scaffolds,
    score,
    similarity,
)
from aebook.datasets import molecules

SOME = molecules("test")[:60]


@pytest.mark.needs("rdkit")
def test_one_smiles_a_molecule_and_none_for_none(capfd):
    assert canonical(["OCC", "CCO", "C(C)O"]) == ["CCO"] * 3
    # open ring, open bracket, five bonds, an aromatic ring of five carbons, nothing
    assert canonical(["C1CC", "C(C", "C(C)(C)(C)(C)C", "c1cccc1", ""]) == [None] * 5
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


@pytest.mark.needs("rdkit")
def test_scores_are_shares_as_moses_counts_them():
    samples = ["CCO", "OCC", "CCN", "CCN", "CCC", "C1CC", "", "CCCC"]
    found = score(samples, ["NCC", "CCCC", "no molecule"])
    assert found.valid == 6 / 8
    assert found.unique == 4 / 6
    assert found.novel == 2 / 4
    assert found.diversity == diversity(["CCO", "CCN", "CCC", "CCCC"])
    assert score(samples, [], k=2).unique == 1 / 2
    assert score(samples, [], k=3).unique == 2 / 3
    # a set is taken to be canonical
    assert score(samples, {"NCC"}).novel == 1
    assert score(samples, {"CCN"}).novel == 3 / 4


@pytest.mark.needs("rdkit")
def test_without_valid_samples_there_is_nothing_to_measure():
    found = score(["C1", ""], ["C"])
    assert found.valid == 0
    assert np.isnan(found[1:]).all()


def test_scores_refuse_what_they_cannot_take():
    with pytest.raises(ValueError, match="got 0 samples, expected 1 or more"):
        score([], ["C"])
    with pytest.raises(ValueError, match="got k=0"):
        score(["C"], ["C"], k=0)


@pytest.mark.needs("rdkit")
def test_properties_are_those_of_rdkit():
    from rdkit import Chem
    from rdkit.Chem import QED, Crippen, Descriptors

    found = properties([*SOME[:20], "C1"])
    for n, smiles in enumerate(SOME[:20]):
        m = Chem.MolFromSmiles(smiles)
        assert found.qed[n] == QED.qed(m)
        assert found.logp[n] == Crippen.MolLogP(m)
        assert found.weight[n] == Descriptors.MolWt(m)
        assert 1 <= found.sa[n] <= 10
    assert all(np.isnan(column[20]) for column in found)
    assert [len(column) for column in properties([])] == [0] * 4
    alone = properties(SOME[:20], ["logp"])
    assert np.array_equal(alone.logp, found.logp[:20])
    assert np.isnan([alone.qed, alone.sa, alone.weight]).all()
    with pytest.raises(ValueError, match=r"got \['mass'\], expected names among"):
        properties(SOME, ["qed", "mass"])


@pytest.mark.needs("rdkit")
def test_known_values_of_properties():
    found = properties(["CC(=O)Oc1ccccc1C(=O)O", "O", "CC12CCC3C(CCC4CC(=O)CCC34C)C1CCC2O"])
    # aspirin's QED in the paper's list of drugs, its mass, and that of water
    assert found.qed[0] == pytest.approx(0.55, abs=0.01)
    assert found.weight[:2] == pytest.approx([180.16, 18.02], abs=0.01)
    # a steroid is harder to make than aspirin
    assert found.sa[2] > found.sa[0] + 1


@pytest.mark.needs("rdkit")
def test_distances_are_those_of_scipy_without_nan():
    a, b = properties([*SOME[:10], "C1"]), properties(SOME[10:25])
    found = distances(a, b)
    assert list(found) == ["qed", "logp", "sa", "weight"]
    assert found["logp"] == wasserstein_distance(a.logp[:10], b.logp)
    assert distances(a, a) == dict.fromkeys(found, 0.0)
    shifted = Properties(*(column + 2.0 for column in b))
    assert distances(b, shifted) == pytest.approx(dict.fromkeys(found, 2.0))
    with pytest.raises(ValueError, match="got no molecule with a qed"):
        distances(a, properties(["C1"]))
    with pytest.raises(ValueError, match="no molecule with any property"):
        distances(properties(["C1"]), properties(["C1"]))
    # of some of the properties
    some = [properties(["CCO"], ["weight"]), properties(["CO"], ["weight"])]
    assert distances(*some) == {"weight": pytest.approx(14.027)}
    with pytest.raises(ValueError, match="no molecule with a logp"):
        distances(some[0], properties(["CO"], ["weight", "logp"]))


@pytest.mark.needs("rdkit")
def test_similarity_is_that_of_rdkit():
    from rdkit import Chem, DataStructs
    from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

    generator = GetMorganGenerator(radius=2, fpSize=1024)
    known = [generator.GetFingerprint(Chem.MolFromSmiles(s)) for s in SOME[:12]]
    bits = fingerprints(SOME[:12])
    assert bits.shape == (12, 1024)
    assert bits.dtype == bool
    found = similarity(bits, bits[:5])
    expected = [DataStructs.BulkTanimotoSimilarity(k, known[:5]) for k in known]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@given(hnp.arrays(bool, st.tuples(st.integers(1, 6), st.just(9))))
def test_similarity_is_that_of_sets(bits):
    found = similarity(bits, bits)
    for i, a in enumerate(bits):
        for j, b in enumerate(bits):
            either = (a | b).sum()
            expected = (a & b).sum() / either if either else 1
            assert found[i, j] == pytest.approx(expected, abs=1e-6)


@pytest.mark.needs("rdkit")
def test_diversity_is_one_minus_the_mean_over_all_pairs():
    bits = fingerprints(SOME)
    assert diversity(SOME) == pytest.approx(1 - similarity(bits, bits).mean(), abs=1e-6)
    assert diversity(["CCO"]) == 0
    assert diversity(["CCO", "OCC"]) == 0
    # over more rows than are compared at once
    assert diversity(["CCO", "CCN"] * 600) == pytest.approx(diversity(["CCO", "CCN"]), abs=1e-6)
    with pytest.raises(ValueError, match="got 0 molecules, expected 1 or more"):
        diversity([])
    with pytest.raises(ValueError, match="got 'C1', which is no molecule"):
        fingerprints(["C", "C1"])


@given(hnp.arrays(bool, st.tuples(st.integers(1, 6), st.just(9))))
def test_the_nearest_is_that_of_all_pairs(bits):
    a, b = bits, bits[: (len(bits) + 1) // 2]
    expected = sum(max(float(similarity(x[None], y[None])[0, 0]) for y in b) for x in a) / len(a)
    assert nearest(a, b) == pytest.approx(expected)
    assert nearest(b, a) == 1
    # over more rows than are compared at once
    assert nearest(np.tile(a, (600, 1)), b) == pytest.approx(expected)


def test_the_nearest_of_none_is_refused():
    bits = np.ones((2, 3), bool)
    with pytest.raises(ValueError, match=r"got a of shape \(0, 3\) and bool, expected"):
        nearest(bits[:0], bits)
    with pytest.raises(ValueError, match=r"got b of shape \(0, 3\) and bool, expected"):
        nearest(bits, bits[:0])


THREE = [
    "CCOc1ccccc1",  # an ether: ethyl, oxygen, phenyl
    "CC(=O)Nc1ccccc1",  # an amide: acetyl, nitrogen, phenyl
    "c1ccc(Cc2ccccc2)cc1",  # phenyl, a carbon, phenyl
]


@pytest.mark.needs("rdkit")
def test_fragments_of_three_molecules_by_hand():
    found = fragments(THREE)
    assert sum(found.values()) == 9
    assert found == {
        "[4*]CC": 1,
        "[3*]O[3*]": 1,
        "[16*]c1ccccc1": 4,
        "[1*]C(C)=O": 1,
        "[5*]N[5*]": 1,
        "[8*]C[8*]": 1,
    }
    assert fragments(THREE[::-1]) == found
    assert fragments(["C"]) == {"C": 1}
    assert fragments([]) == {}


@pytest.mark.needs("rdkit")
def test_scaffolds_of_three_molecules_by_hand():
    # one ring is no scaffold here
    assert scaffolds(THREE) == {"c1ccc(Cc2ccccc2)cc1": 1}
    # side chains are cut off, what links two rings is not, and what is fused has two rings
    assert scaffolds(["Cc1ccccc1Cc1ccccc1Cl", "CC1CCC2CCCCC2C1", *THREE]) == {
        "c1ccc(Cc2ccccc2)cc1": 2,
        "C1CCC2CCCCC2C1": 1,
    }
    # a double bond to a ring or a link belongs to it, as in rdkit
    assert scaffolds(["O=C(c1ccccc1)c1ccccc1"]) == {"O=C(c1ccccc1)c1ccccc1": 1}
    assert scaffolds([]) == {}


@pytest.mark.needs("rdkit")
def test_similarity_of_fragments_by_hand():
    # ethyl, oxygen and phenyl are in both; the molecule without such a bond is one piece
    a, b = fragments([THREE[0], "Cc1ccccc1"]), fragments(THREE[:1])
    assert cosine(a, b) == pytest.approx(3 / np.sqrt(4 * 3))
    assert cosine(scaffolds(THREE), scaffolds(THREE[2:])) == 1
    assert np.isnan(cosine(scaffolds(THREE[:1]), scaffolds(THREE)))


COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 9), min_size=1)


@given(COUNTS, COUNTS)
def test_cosine_is_that_of_vectors(a, b):
    x, y = ([counts.get(key, 0) for key in "abcdef"] for counts in (a, b))
    expected = np.dot(x, y) / np.linalg.norm(x) / np.linalg.norm(y)
    assert cosine(a, Counter(b)) == pytest.approx(expected)
    assert cosine(a, {}) != cosine(a, {})


@pytest.mark.needs("rdkit")
def test_all_molecules_of_moses_pass_its_filters():
    assert passes(molecules("test")[:150]).all()
    assert passes(molecules("test_scaffolds")[:150]).all()
    assert passes([]).shape == (0,)


@pytest.mark.needs("rdkit")
@pytest.mark.parametrize(
    "smiles",
    [
        "C=CC#N",  # nitrile beside a double bond
        "CS(=O)(=O)C=C",
        "CNC(=O)C=CC",
        "CCCl",  # alkyl halide
        "CC1CO1",  # epoxide
        "CN=C=O",
        "CC=O",
        "CC(C)=N",
        "CC1CN1",
        "CN(C)NC",
        "CN=NC",
        "CSSC",
        "CNCNC",
        "COCOC",
        "C[Si](C)(C)C",
        "CC(=O)[O-]",
        "C1CCCCCCC1",
        "O=C1NC(=S)SC1=Cc1ccccc1",  # rhodanine, of PAINS
        "O=C1C=CC(=O)C=C1",  # quinone, of PAINS
    ],
)
def test_a_group_that_none_should_have_is_found(smiles):
    assert not passes([smiles])[0]


@pytest.mark.needs("rdkit")
def test_what_is_no_molecule_is_refused_by_name():
    for measure in (fragments, scaffolds, passes):
        with pytest.raises(ValueError, match="got 'C1', which is no molecule"):
            measure(["C", "C1"])
    from rdkit import Chem

    assert all(Chem.MolFromSmarts(group) is not None for group in UNWANTED)


@given(
    hnp.arrays(float, st.tuples(st.integers(2, 9), st.just(3)), elements=st.floats(-9, 9)),
    hnp.arrays(float, st.tuples(st.integers(2, 9), st.just(3)), elements=st.floats(-9, 9)),
)
def test_frechet_is_its_formula(a, b):
    found = frechet(a, b)
    s, t = np.cov(a.T), np.cov(b.T)
    # of S^½ T S^½, which is symmetric and has the eigenvalues of S T
    values, vectors = np.linalg.eigh(s)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    inner = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ t @ root), 0)).sum()
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s) + np.trace(t) - 2 * inner
    assert found == pytest.approx(expected, abs=1e-4)
    assert frechet(b, a) == pytest.approx(found, abs=1e-9)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet(a, a + 2) == pytest.approx(12, abs=1e-6)


def test_frechet_refuses_what_has_no_spread():
    a = np.ones((1, 3))
    with pytest.raises(ValueError, match="got 1 vectors in a, expected 2 or more"):
        frechet(a, np.ones((2, 3)))
    with pytest.raises(ValueError, match="got 1 vectors in b, expected 2 or more"):
        frechet(np.ones((2, 3)), a)
    with pytest.raises(ValueError, match=r"expected .*\(M, 3\)"):
        frechet(np.ones((2, 3)), np.ones((2, 4)))


@pytest.mark.needs("rdkit", "fcd")
def test_activations_and_distance_are_those_of_fcd():
    import fcd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = fcd.load_ref_model()
        expected = fcd.get_predictions(network, SOME, n_jobs=0, device="cpu")
        moments = [(x.mean(0), np.cov(x.T)) for x in (expected[:30], expected[30:])]
        apart = fcd.calculate_frechet_distance(*moments[0], *moments[1])
    found = activations(SOME)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert frechet(found[:30], found[30:]) == pytest.approx(apart, rel=1e-3)
    # over more than are computed at once, and none
    np.testing.assert_allclose(activations([*SOME, *SOME])[60:], found, atol=1e-6)
    assert activations([]).shape == (0, 512)
    with pytest.raises(ValueError, match="got a text of 350 characters, expected at most 349"):
        activations(["C" * 350])


def test_without_fcd_the_command_is_named(monkeypatch):
    for name in [n for n in sys.modules if n.split(".")[0] == "fcd"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "fcd", None)
    with pytest.raises(ImportError, match=r'pip install "aebook\[chem\]"'):
        activations(["C"])


@pytest.mark.needs("rdkit")
def test_drawings_have_a_place_for_each():
    picture = draw(["CCO", "c1ccccc1", "C1"], ["a", "b", "c"], columns=2, size=(100, 80))
    assert picture.shape[:2] == (160, 200)
    dark = picture[..., :3].min(-1) < 0.9
    assert dark[:60, :100].any()
    assert dark[:60, 100:].any()
    # what is no molecule has its legend alone, and the last place is empty
    assert not dark[80:135, :100].any()
    assert not dark[80:, 100:].any()
    assert np.array_equal(
        picture, draw(["CCO", "c1ccccc1", "C1"], list("abc"), columns=2, size=(100, 80))
    )


def test_drawings_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="got 0 molecules, expected 1 or more"):
        draw([])
    with pytest.raises(ValueError, match="got 2 molecules and 1 legends, expected as many of each"):
        draw(["C", "C"], ["a"])


def test_without_rdkit_the_command_is_named(monkeypatch):
    for name in [n for n in sys.modules if n.split(".")[0] == "rdkit"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r'pip install "aebook\[chem\]"'):
        canonical(["C"])
