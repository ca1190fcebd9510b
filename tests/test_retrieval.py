import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import nn

import aebook
from aebook.applications.retrieval import SemanticHasher, itq, lsh, pca_sign, rerank


def blobs(n=300, m=12, seed=0):
    g = np.random.default_rng(seed)
    centres = 3 * g.standard_normal((6, m))
    return centres[g.integers(6, size=n)] + g.standard_normal((n, m))


# The semantic hasher -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: aebook.variants.binary((12, 9, 5)),
        lambda: aebook.variants.binary((12, 9, 5), kind="noise", centred=False),
        lambda: aebook.variants.plain((12, 9, 5)),
        lambda: aebook.variants.variational((12, 9, 5)),
    ],
)
def test_every_bit_divides_the_collection_in_half(make):
    model = make().model.eval()
    x = torch.from_numpy(blobs(301)).float()
    hasher = SemanticHasher(model, x)
    bits = hasher.bits(x)
    assert bits.shape == (301, 5)
    assert bits.dtype == bool
    # the median itself is not above the median
    assert (bits.sum(0) == 150).all()
    assert np.array_equal(hasher.encode(x), np.packbits(bits, axis=1, bitorder="little"))


def test_bits_are_the_codes_above_their_medians():
    model = aebook.variants.plain((12, 9, 4)).model.eval()
    x = torch.randn(50, 12)
    codes = model.encode(x)
    hasher = SemanticHasher(model, x)
    np.testing.assert_allclose(hasher.thresholds, np.median(codes.numpy(), axis=0))
    new = torch.randn(7, 12)
    assert np.array_equal(hasher.bits(new), model.encode(new).numpy() > hasher.thresholds)


def test_a_binary_code_is_divided_before_its_step():
    # the bits of the bottleneck itself need not be balanced
    model = aebook.variants.binary((12, 5), centred=False).model.eval()
    with torch.no_grad():
        model.encoder[0][0].bias += 100
    x = torch.randn(100, 12)
    assert model.encode(x).all()
    assert (SemanticHasher(model, x).bits(x).sum(0) == 50).all()


def test_units_that_are_mostly_silent_say_whether_they_speak():
    model = aebook.variants.plain((1, 1), code=nn.ReLU).model.eval()
    with torch.no_grad():
        model.encoder[0][0].weight.fill_(1)
    x = torch.tensor([[-3.0], [-2], [-1], [0], [4]])
    hasher = SemanticHasher(model, x)
    assert hasher.thresholds.tolist() == [0]
    assert hasher.bits(x)[:, 0].tolist() == [False] * 4 + [True]


def test_encoding_in_pieces_changes_nothing(monkeypatch):
    model = aebook.variants.binary((12, 7)).model.eval()
    x = torch.randn(50, 12)
    whole = SemanticHasher(model, x).encode(x)
    monkeypatch.setattr("aebook.hashing.CHUNK", 7)
    assert np.array_equal(SemanticHasher(model, x).encode(x), whole)


def test_arrays_images_and_a_model_in_training_mode_will_do():
    encoder, decoder = aebook.networks.convolutional((1, 8, 8), (4,), 6)
    model = aebook.Autoencoder(encoder, decoder).train()
    x = np.random.default_rng(0).random((20, 1, 8, 8))  # float64, unlike the weights
    hasher = SemanticHasher(model, x)
    assert hasher.encode(x).shape == (20, 1)
    assert model.training


def test_similar_messages_get_similar_codes():
    x = torch.from_numpy(blobs(600)).float()
    labels = torch.cdist(x, torch.from_numpy(blobs(600)).float()).argmin(1)
    assert len(labels.unique()) == 600  # no two the same
    torch.manual_seed(0)
    objective = aebook.variants.binary((12, 32, 16), output=None)
    aebook.fit(objective, x, epochs=20, lr=3e-3)
    bits = SemanticHasher(objective.model, x).bits(x)
    hamming = (bits[:100, None] != bits[None, :100]).sum(-1)
    euclid = torch.cdist(x[:100], x[:100]).numpy()
    above = np.triu_indices(100, 1)
    assert np.corrcoef(hamming[above], euclid[above])[0, 1] > 0.5


def test_the_hasher_takes_a_sparse_matrix():
    torch.manual_seed(0)
    model = aebook.variants.binary((12, 5)).model
    g = np.random.default_rng(0)
    x = sparse.csr_array(g.random((40, 12)) * (g.random((40, 12)) < 0.3))
    hasher = SemanticHasher(model, x)
    np.testing.assert_array_equal(hasher.bits(x), SemanticHasher(model, x.toarray()).bits(x))


def test_the_hasher_refuses_what_it_cannot_take():
    objective = aebook.variants.binary((12, 5))
    with pytest.raises(ValueError, match=r"expected an Autoencoder"):
        SemanticHasher(objective, torch.rand(3, 12))
    with pytest.raises(ValueError, match="got no data"):
        SemanticHasher(objective.model, torch.rand(0, 12))
    with pytest.raises(ValueError, match=r"for a single message use x\[None\]"):
        SemanticHasher(objective.model, torch.rand(12))
    bad = torch.rand(3, 12)
    bad[1, 2] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinite"):
        SemanticHasher(objective.model, bad)
    with pytest.raises(ValueError, match=r"expected \(batch, 12\)"):
        SemanticHasher(objective.model, torch.rand(3, 11))
    with pytest.raises(ValueError, match=r"expected \(N, p\)"):
        SemanticHasher(aebook.Autoencoder(nn.Identity(), nn.Linear(1, 1)), torch.rand(3, 2, 2))


# Linear hashers ------------------------------------------------------------------------------


def test_the_bits_of_random_directions_differ_as_often_as_the_angle_says():
    g = np.random.default_rng(0)
    x = g.standard_normal((40, 6))
    x = np.concatenate([x, -x])  # the mean is 0
    bits = lsh(x, 20_000).bits(x)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    angle = np.arccos(np.clip(unit @ unit.T, -1, 1)) / np.pi
    differ = (bits[:, None, :] != bits[None]).mean(-1)
    # five standard errors of a frequency
    assert np.abs(differ - angle).max() < 5 * 0.5 / 20_000**0.5


def test_pca_sign_is_the_side_of_the_mean_along_each_component():
    from sklearn.decomposition import PCA

    x = blobs()
    scores = PCA(4).fit_transform(x)
    bits = pca_sign(x, 4).bits(x)
    for j in range(4):
        side = scores[:, j] > 0
        assert (bits[:, j] == side).all() or (bits[:, j] == ~side).all()


def quantisation_error(x, hasher):
    v = (x - x.mean(0)) @ hasher.directions
    return ((np.where(v > 0, 1, -1) - v) ** 2).sum()


def test_itq_falls_to_a_fixed_point_of_rotations():
    x = blobs()
    errors = [quantisation_error(x, itq(x, 5, iterations=t)) for t in range(12)]
    assert all(b <= a + 1e-9 for a, b in itertools.pairwise(errors))
    assert errors[-1] < errors[0]
    w = itq(x, 5).directions
    np.testing.assert_allclose(w.T @ w, np.eye(5), atol=1e-10)
    assert aebook.theory.linear.principal_angles(w, pca_sign(x, 5).directions).max() < 1e-6


def test_itq_in_the_plane_is_the_best_of_all_angles():
    g = np.random.default_rng(1)
    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])[g.integers(4, size=400)]
    turn = np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    x = (corners + 0.1 * g.standard_normal((400, 2))) @ turn
    v = x - x.mean(0)
    best = min(
        ((np.sign(v @ r) - v @ r) ** 2).sum()
        for a in np.linspace(0, np.pi / 2, 2000)
        for r in [np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])]
    )
    assert quantisation_error(x, itq(x, 2)) == pytest.approx(best, rel=1e-3)


@pytest.mark.parametrize("make", [lsh, pca_sign, itq])
@given(n=st.integers(5, 30), m=st.integers(3, 9), bits=st.integers(1, 3))
def test_a_linear_hasher_packs_what_it_says(make, n, m, bits):
    x = np.random.default_rng(n * m).standard_normal((n, m))
    hasher = make(x, bits)
    assert hasher.bits(x).shape == (n, bits)
    assert np.array_equal(hasher.encode(x), np.packbits(hasher.bits(x), 1, bitorder="little"))
    # the same from a tensor, and the same again
    assert np.array_equal(make(torch.from_numpy(x), bits).bits(torch.from_numpy(x)), hasher.bits(x))


def test_linear_hashers_refuse_what_they_cannot_take():
    x = blobs(20)
    for make in (lsh, pca_sign, itq):
        with pytest.raises(ValueError, match="expected a whole number, 1 or more"):
            make(x, 0)
        with pytest.raises(ValueError, match="20 samples have NaN"):
            make(np.where(x == x[0, 0], np.nan, x), 3)
    for make in (pca_sign, itq):
        with pytest.raises(ValueError, match=r"got p=13 for data of shape \(20, 12\)"):
            make(x, 13)
    with pytest.raises(ValueError, match="got messages of shape"):
        lsh(x, 3).bits(x[:, :11])
    with pytest.raises(ValueError, match="got iterations=-1"):
        itq(x, 3, iterations=-1)


# Re-ranking ----------------------------------------------------------------------------------

TEXTS = ["a cat sat", "the cat and the dog", "a dog barked", "rain fell on the sea", "cat cat dog"]


@pytest.mark.parametrize("dense", [False, True])
def test_rerank_is_the_order_by_cosine_within_the_shortlist(dense):
    vectoriser = TfidfVectorizer()
    documents = vectoriser.fit_transform(TEXTS)
    queries = vectoriser.transform(["cat", "the dog", "sea"])
    if dense:
        documents, queries = documents.toarray(), queries.toarray()
    shortlists = [[0, 1, 2, 3, 4], [4, 3, 1], []]
    found = rerank(queries, documents, shortlists)
    a = documents if dense else documents.toarray()
    b = queries if dense else queries.toarray()
    for q, (rows, shortlist) in enumerate(zip(found, shortlists, strict=True)):
        assert sorted(rows.tolist()) == sorted(shortlist)
        cosine = a[rows] @ b[q]  # TF-IDF rows have length 1
        assert (np.diff(cosine) <= 1e-12).all()
    assert [len(rows) for rows in rerank(queries, documents, shortlists, k=2)] == [2, 2, 0]
    assert found[0][0] == 4


def test_rerank_keeps_the_order_of_equals_and_of_documents_without_words():
    documents = sparse.csr_array(np.array([[0.0, 0], [1, 0], [2, 0], [0, 0]]))
    (rows,) = rerank(np.array([[1.0, 0]]), documents, [[3, 2, 1, 0]])
    assert rows.tolist() == [2, 1, 3, 0]


def test_rerank_refuses_what_does_not_fit():
    d, q = np.eye(3), np.eye(3)[:2]
    with pytest.raises(ValueError, match="got 1 shortlists and 2 queries, expected as many of e"):
        rerank(q, d, [[0]])
    with pytest.raises(ValueError, match="got 2 numbers a query and 3 a document, expected as m"):
        rerank(q[:, :2], d, [[0], [1]])
    with pytest.raises(ValueError, match="got row numbers of shape"):
        rerank(q, d, [[0, 3], [1]])
    with pytest.raises(ValueError, match="got k=0"):
        rerank(q, d, [[0], [1]], k=0)
