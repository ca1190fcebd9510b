import functools
import math
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import aebook
from aebook.data import blocks
from aebook.penalties import weight_decay
from aebook.theory import linear, score
from aebook.theory.linear import (
    affine,
    eckart_young,
    masked_map,
    principal_angles,
    principal_components,
    recover_components,
)

F64 = torch.float64
SEEDS = st.integers(0, 2**31)


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def orthonormal(m, p, seed=0):
    return torch.linalg.qr(draw(m, p, seed=seed))[0]


def spread(n=300, m=6, seed=0):
    """Data with distinct variances in directions that are not the axes, and a mean."""
    scales = torch.linspace(3, 0.5, m, dtype=F64)
    return draw(n, m, seed=seed) * scales @ orthonormal(m, m, seed=seed + 1) + 2


def covariance_eigen(x):
    """Eigenvalues, falling, and eigenvectors by NumPy: another road than the SVD."""
    values, vectors = np.linalg.eigh(np.cov(x.numpy().T, bias=True))
    return torch.from_numpy(values[::-1].copy()), torch.from_numpy(vectors[:, ::-1].copy())


# Principal components


@pytest.mark.parametrize("p", [1, 3, 6, None])
def test_principal_components_are_those_of_scikit_learn_up_to_sign(p):
    x = spread()
    pca = principal_components(x, p)
    reference = PCA(p).fit(x.numpy())
    torch.testing.assert_close(pca.mean, torch.from_numpy(reference.mean_))
    cosines = (pca.components.T @ torch.from_numpy(reference.components_.T)).diagonal()
    torch.testing.assert_close(cosines.abs(), torch.ones_like(cosines))
    # scikit-learn divides by n - 1
    expected = torch.from_numpy(reference.explained_variance_) * (len(x) - 1) / len(x)
    torch.testing.assert_close(pca.variances, expected)
    reconstructed = reference.inverse_transform(reference.transform(x.numpy()))
    torch.testing.assert_close(pca.reconstruct(x), torch.from_numpy(reconstructed))


def test_components_are_orthonormal_with_their_largest_entry_positive():
    pca = principal_components(spread(), 4)
    torch.testing.assert_close(pca.components.T @ pca.components, torch.eye(4, dtype=F64))
    for column in pca.components.T:
        assert column[column.abs().argmax()] > 0


def test_encoding_keeps_the_dtype_of_the_messages_and_decorrelates_them():
    x = spread()
    pca = principal_components(x, 3)
    assert pca.encode(x.float()).dtype == torch.float32
    assert pca.reconstruct(x.float()).dtype == torch.float32
    z = pca.encode(x).numpy()
    np.testing.assert_allclose(np.cov(z.T, bias=True), np.diag(pca.variances), atol=1e-10)


def test_components_of_fewer_samples_than_dimensions_reconstruct_them():
    x = draw(4, 9)
    torch.testing.assert_close(principal_components(x).reconstruct(x), x)


@pytest.mark.parametrize(
    ("x", "p", "message"),
    [
        (draw(5, 3), 4, r"got p=4 for data of shape \(5, 3\), expected 1 to 3"),
        (draw(5, 3), 0, "got p=0"),
        (draw(5), 1, r"got data of shape \(5,\), expected \(samples, \.\.\.\)"),
        (draw(0, 3), 1, "got no data"),
        (draw(5, 3) * math.nan, 1, "have NaN or infinite values"),
    ],
)
def test_components_of_what_is_no_data_are_refused(x, p, message):
    with pytest.raises(ValueError, match=message):
        principal_components(x, p)


def test_arrays_that_may_not_be_written_are_read_without_a_warning():
    x = spread().numpy()
    expected = principal_components(x).variances
    x.setflags(write=False)
    torch.testing.assert_close(principal_components(x).variances, expected)
    torch.testing.assert_close(principal_components(x[::-1]).variances, expected)


# three samples for each shape: longer than wide, square, wider than long
@pytest.mark.parametrize("n", [200, 5, 3])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_deviations_are_exact_to_the_rounding_of_the_largest(n, scale):
    true = torch.logspace(0, -11, 5, dtype=F64)[: n - 1] * scale
    # orthonormal columns of mean zero
    left = torch.linalg.qr(torch.cat([torch.ones(n, 1, dtype=F64), draw(n, len(true))], 1))[0]
    x = left[:, 1:] * true @ orthonormal(5, 5)[: len(true)]
    found = principal_components(x).variances.mul(n).sqrt()[: len(true)]
    assert ((found - true).abs() <= 1e-15 * true[0]).all()
    # and so no affine decoder is better than the bound
    for p in range(1, len(true)):
        assert eckart_young(x, p) * n == pytest.approx(float(true[p:].square().sum()), rel=1e-3)


@pytest.mark.parametrize("where", [0.0, 2.0**30])
@pytest.mark.parametrize("size", [1, 4, 60])
def test_what_is_read_in_parts_gives_what_it_gives_at_once(size, where, monkeypatch):
    monkeypatch.setattr(linear, "blocks", functools.partial(blocks, size=size))
    monkeypatch.setattr(score, "blocks", functools.partial(blocks, size=size))
    # deviations from 1 to 1e-9, of numbers that can be moved without rounding
    x = (spread(200) * torch.logspace(0, -9, 6, dtype=F64) * 2**40).round() * 2.0**-40
    x = x.round(decimals=6) if where else x
    seen = DataLoader(x + where, batch_size=7)
    found, expected = principal_components(seen), principal_components(x + where)
    torch.testing.assert_close(found.mean, expected.mean)
    # to the rounding of the largest
    tolerance = {"rtol": 1e-9, "atol": 1e-15 if not where else 1e-7}
    deviations = found.variances.sqrt(), expected.variances.sqrt()
    torch.testing.assert_close(*deviations, **tolerance)
    top = (found.components[:, 0] - expected.components[:, 0]).abs().max()
    assert top < 1e-6
    model = aebook.variants.linear((6, 2)).model.double()
    torch.testing.assert_close(
        score.linear_denoising_loss(model, seen, 0.1),
        score.linear_denoising_loss(model, x + where, 0.1),
    )
    for rows in (3, 6):
        few = DataLoader(x[:rows], batch_size=2)
        assert principal_components(few).variances.shape == (rows,)
        assert eckart_young(few, 2) == pytest.approx(eckart_young(x[:rows], 2), rel=1e-9)
    with pytest.raises(ValueError, match="got p=7 for data of shape"):
        principal_components(seen, 7)
    with pytest.raises(ValueError, match=r"shape \(7, 2, 3\) and .*, expected \(N, m\)"):
        principal_components(DataLoader(x.view(-1, 2, 3), batch_size=7))
    with pytest.raises(ValueError, match="got pairs of messages and targets"):
        principal_components(DataLoader(TensorDataset(x, x), batch_size=7))


def test_variances_do_not_depend_on_where_the_data_lie():
    # of whole numbers, which can be moved without rounding
    x = (spread() * 2**10).round()
    moved = principal_components(x + 2.0**30)
    torch.testing.assert_close(
        moved.variances, principal_components(x).variances, rtol=1e-9, atol=0
    )


# Principal angles


@pytest.mark.parametrize("angles", [[0.0, 0.0], [0.1, 1.2], [0.0, math.pi / 2], [1e-7, 0.3]])
def test_principal_angles_are_those_of_a_rotation_by_them(angles):
    basis = orthonormal(5, 4)
    a = basis[:, :2]
    # each direction turns by its own angle towards another one, orthogonal to all the rest
    turned = [
        math.cos(t) * basis[:, i] + math.sin(t) * basis[:, i + 2] for i, t in enumerate(angles)
    ]
    b = torch.stack(turned, 1)
    expected = torch.tensor(angles, dtype=F64)
    torch.testing.assert_close(principal_angles(a, b), expected, rtol=1e-7, atol=1e-12)


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_the_angle_between_two_lines_of_the_plane_is_in_closed_form(s, t):
    line = lambda angle: torch.tensor([[math.cos(angle)], [math.sin(angle)]], dtype=F64)  # noqa: E731
    apart = abs(s - t) % math.pi
    expected = min(apart, math.pi - apart)
    assert principal_angles(line(s), line(t)).item() == pytest.approx(expected, abs=1e-9)


@given(SEEDS)
def test_principal_angles_depend_on_the_spaces_only(seed):
    a, b = draw(6, 3, seed=seed), draw(6, 2, seed=seed + 1)
    angles = principal_angles(a, b)
    length = 10.0 ** torch.tensor([-20, 0, 20], dtype=F64)
    torch.testing.assert_close(principal_angles(a * length, b), angles, rtol=1e-6, atol=1e-9)
    mixed = principal_angles(
        a @ (orthonormal(3, 3, seed=seed) * torch.tensor([5.0, 1.0, 0.2], dtype=F64)),
        b @ (orthonormal(2, 2, seed=seed) * torch.tensor([0.1, 3.0], dtype=F64)),
    )
    torch.testing.assert_close(mixed, angles, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(principal_angles(b, a), angles, rtol=1e-6, atol=1e-9)
    turn = orthonormal(6, 6, seed=seed + 2)
    torch.testing.assert_close(principal_angles(turn @ a, turn @ b), angles, rtol=1e-6, atol=1e-9)
    assert angles.shape == (2,)
    assert (angles.diff() >= 0).all()


def test_a_space_inside_another_has_no_angle_with_it():
    a = draw(6, 4)
    torch.testing.assert_close(
        principal_angles(a, a @ draw(4, 2, seed=1)), torch.zeros(2, dtype=F64), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (draw(3, 2), draw(4, 2), "got 3 rows of a and 4 rows of b, expected as many of eac"),
        (draw(3), draw(3, 1), r"first matrix of shape \(3,\)"),
        (draw(3, 1), torch.ones(3, 2), "a second matrix.*linearly dependent"),
        (draw(2, 3), draw(2, 1), "a first matrix.*linearly dependent"),
    ],
)
def test_angles_between_what_spans_no_space_are_refused(a, b, message):
    with pytest.raises(ValueError, match=message):
        principal_angles(a, b)


# Eckart and Young


@pytest.mark.parametrize("p", range(7))
def test_the_floor_is_the_sum_of_the_small_eigenvalues(p):
    x = spread()
    values, _ = covariance_eigen(x)
    assert eckart_young(x, p) == pytest.approx(float(values[p:].sum()), abs=1e-10)


@given(SEEDS, st.integers(1, 4))
def test_no_affine_decoder_with_its_best_encoder_goes_below_the_floor(seed, p):
    x = spread(40, 5, seed=seed)
    w, c = draw(5, p, seed=seed + 1), draw(5, seed=seed + 2)
    # the best code of each sample by least squares, which no encoder can improve on
    z = torch.linalg.lstsq(w, (x - c).T).solution
    error = (x - c - (w @ z).T).square().sum(1).mean().item()
    assert error >= eckart_young(x, p) * (1 - 1e-12)
    # and one that decodes from the mean along the eigenvectors reaches it
    _, vectors = covariance_eigen(x)
    u = vectors[:, :p]
    centred = x - x.mean(0)
    assert eckart_young(x, p) == pytest.approx(
        (centred - centred @ u @ u.T).square().sum(1).mean().item(), rel=1e-9, abs=1e-12
    )


def test_a_negative_number_of_code_units_is_refused():
    with pytest.raises(ValueError, match="got p=-1, expected a whole number, 0 or more"):
        eckart_young(spread(), -1)


# Affine networks


@pytest.mark.parametrize("widths", [(5, 3), (5, 4, 3)])
def test_a_deep_linear_network_is_one_matrix_and_offset(widths):
    network = aebook.networks.mlp(widths, activation=None).double()
    matrix, offset = affine(network, 5)
    product, constant = torch.eye(5, dtype=F64), torch.zeros(5, dtype=F64)
    for layer in network:
        product = layer[0].weight.detach() @ product
        constant = layer[0].weight.detach() @ constant + layer[0].bias.detach()
    torch.testing.assert_close(matrix, product)
    torch.testing.assert_close(offset, constant)


def test_affine_of_single_precision_gives_double():
    network = aebook.networks.mlp((50, 20, 30), activation=None)
    matrix, offset = affine(network, 50)
    assert matrix.shape == (30, 50)
    assert (matrix.dtype, offset.dtype) == (F64, F64)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid, nn.Softplus])
def test_networks_that_bend_are_refused(activation):
    with pytest.raises(ValueError, match=r"not affine, it departs from .* linear layers only"):
        affine(aebook.networks.mlp((5, 8, 3), activation=activation), 5)


# The landscape of Baldi and Hornik


def critical_point(x, chosen, mix):
    """The linear autoencoder W2 = U C, W1 = C^-1 U^T of the chosen eigenvectors."""
    values, vectors = covariance_eigen(x)
    u = vectors[:, list(chosen)]
    objective = aebook.variants.linear((x.shape[1], len(chosen)), bias=False).double()
    parameters = {
        "model.encoder.0.map.weight": torch.linalg.inv(mix) @ u.T,
        "model.decoder.0.map.weight": u @ mix,
    }
    objective.load_state_dict(parameters)
    return objective, parameters, values


def hessian(objective, parameters, x):
    names = list(parameters)

    def loss(*tensors):
        given = dict(zip(names, tensors, strict=True))
        return torch.func.functional_call(objective, given, (x,)).total

    blocks = torch.autograd.functional.hessian(loss, tuple(parameters.values()))
    rows = [
        torch.cat([b.reshape(a.numel(), -1) for b in row], 1)
        for row, a in zip(blocks, parameters.values(), strict=True)
    ]
    return torch.cat(rows)


@pytest.mark.parametrize("chosen", list(combinations(range(4), 2)))
def test_every_choice_of_eigenvectors_is_critical_and_only_the_leading_ones_are_a_minimum(chosen):
    m, p = 4, 2
    x = spread(60, m)
    x = x - x.mean(0)
    mix = draw(p, p, seed=9) + 2 * torch.eye(p, dtype=F64)
    objective, parameters, values = critical_point(x, chosen, mix)
    loss = objective(x).total
    loss.backward()
    for parameter in objective.parameters():
        assert parameter.grad.abs().max() < 1e-12 * loss
    # E = tr Σ - Σ_I λ
    left_out = [k for k in range(m) if k not in chosen]
    assert loss.item() == pytest.approx(float(values[left_out].sum()), rel=1e-12)

    matrix = hessian(objective, parameters, x)
    curvatures = torch.linalg.eigvalsh(matrix)
    if chosen == (0, 1):
        assert loss.item() == pytest.approx(eckart_young(x, p), rel=1e-12)
        # flat along GL(p), which has p² dimensions, and rising in every other direction
        assert (curvatures[: p * p].abs() < 1e-9).all()
        assert (curvatures[p * p :] > 1e-3).all()
    else:
        assert curvatures[0] < -1e-3
        # towards a larger eigenvector that was left out, by the curvature of the theory
        i, j = next((i, j) for i in chosen for j in left_out if values[j] > values[i])
        _, vectors = covariance_eigen(x)
        towards = torch.outer(vectors[:, j], torch.eye(p, dtype=F64)[chosen.index(i)])
        direction = torch.cat(
            [(torch.linalg.inv(mix) @ towards.T).flatten(), (towards @ mix).flatten()]
        )
        assert (direction @ matrix @ direction).item() == pytest.approx(
            2 * (values[i] - values[j]).item(), rel=1e-8
        )


# Recovery


@pytest.fixture(scope="module")
def penalised():
    """A linear autoencoder trained to its optimum with L2, the data, and the weight."""
    x, weight = spread(300, 6), 0.2
    torch.manual_seed(3)
    model = aebook.variants.linear((6, 3)).model
    objective = aebook.Objective(model, penalties={"l2": (weight, weight_decay)}).double()
    history = aebook.lbfgs(objective, x, tolerance=1e-9)
    return model, x, weight, history


def test_with_l2_the_components_are_recovered_from_the_weights(penalised):
    model, x, _, _ = penalised
    _, vectors = covariance_eigen(x)
    recovered = recover_components(model)
    cosines = (recovered.T @ vectors[:, :3]).diagonal().abs()
    assert cosines.min() > 0.999
    torch.testing.assert_close(recovered, principal_components(x, 3).components, rtol=0, atol=1e-3)


def test_with_l2_the_singular_values_and_the_loss_are_in_closed_form(penalised):
    model, x, weight, history = penalised
    values, _ = covariance_eigen(x)
    decoder, _ = affine(model.decoder, 3)
    # single precision holds the weight of the penalty to seven digits
    torch.testing.assert_close(
        torch.linalg.svdvals(decoder), (1 - weight / values[:3]).sqrt(), rtol=1e-5, atol=0
    )
    expected = (2 * weight - weight**2 / values[:3]).sum() + values[3:].sum()
    assert history.loss[-1] == pytest.approx(expected.item(), rel=1e-6)


def test_without_l2_the_weights_do_not_determine_the_components_but_the_output_does():
    x = spread(300, 6)
    objective = aebook.variants.linear((6, 3)).double()
    aebook.lbfgs(objective, x)
    with pytest.raises(ValueError, match=r"differs from the decoder's transpose.*without an L2"):
        recover_components(objective.model)
    recovered = principal_components(objective.model.reconstruct(x), 3).components
    _, vectors = covariance_eigen(x)
    assert (recovered.T @ vectors[:, :3]).diagonal().abs().min() > 0.999


def test_any_invertible_map_between_the_halves_is_optimal_and_is_refused():
    x = spread(100, 5)
    mix = torch.tensor([[2.0, 0.3], [-0.4, 0.7]], dtype=F64)
    centred = x - x.mean(0)
    objective, _, _ = critical_point(centred, (0, 1), mix)
    assert objective(centred).total.item() == pytest.approx(eckart_young(x, 2), rel=1e-12)
    with pytest.raises(ValueError, match="do not determine the components"):
        recover_components(objective.model)


def test_a_tied_optimum_is_refused_as_any_rotation_is_one():
    x = spread(100, 5)
    objective, _, _ = critical_point(x - x.mean(0), (0, 1), orthonormal(2, 2, seed=7))
    with pytest.raises(ValueError, match="got singular values of the decoder"):
        recover_components(objective.model)


def test_networks_that_bend_have_no_components_to_recover():
    with pytest.raises(ValueError, match="not affine"):
        recover_components(aebook.variants.plain((6, 4, 2)).model)


def test_networks_of_images_have_no_components_to_recover():
    encoder, decoder = aebook.networks.convolutional((1, 4, 4), (2,), 3)
    with pytest.raises(ValueError, match=r"inputs of shape \(1, 4, 4\), expected vectors"):
        recover_components(aebook.Autoencoder(encoder, decoder))


def test_a_tied_decoder_near_its_optimum_is_refused():
    x = torch.randn(300, 6) * torch.linspace(1, 3, 6)
    objective = aebook.variants.linear((6, 3), tied=True)
    aebook.fit(objective, x, epochs=60, lr=1e-2)
    with pytest.raises(ValueError, match="singular values of the decoder"):
        aebook.theory.linear.recover_components(objective.model)


def test_components_are_not_recovered_through_a_bottleneck():
    parts = aebook.variants.linear((6, 3)).model
    model = aebook.Autoencoder(parts.encoder, parts.decoder, torch.nn.ReLU())
    with pytest.raises(ValueError, match="bottleneck"):
        aebook.theory.linear.recover_components(model)


def all_masks(x, share):
    """Every way to hide entries of every message, its message, and the root of its probability."""
    bits = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=F64)] * x.shape[1])
    seen = (bits[:, None] * x).flatten(0, 1)
    p = (1 - share) ** bits.sum(1) * share ** (1 - bits).sum(1)
    return seen, x.repeat(len(bits), 1), p.sqrt().repeat_interleave(len(x))[:, None]


@given(SEEDS, st.floats(0.1, 0.9))
def test_the_map_of_hidden_entries_is_least_squares_over_every_mask(seed, share):
    x = draw(9, 4, seed=seed) @ draw(4, 4, seed=seed + 1)
    seen, clean, root = all_masks(x, share)
    expected = np.linalg.lstsq((root * seen).numpy(), (root * clean).numpy(), rcond=None)[0]
    found = masked_map(x, share)
    np.testing.assert_allclose(found.matrix, expected, rtol=1e-6, atol=1e-9)
    again = found.encode(x) @ found.directions.T
    torch.testing.assert_close(again, x @ torch.from_numpy(expected))


def test_no_narrow_map_guesses_hidden_entries_better():
    x, share = spread(20, 5), 0.6
    seen, clean, root = all_masks(x, share)

    def loss(up, down):
        return (root * (seen @ up @ down - clean)).square().sum()

    found = masked_map(x, share, 2)
    least = loss(found.matrix @ found.directions, found.directions.T)
    up, down = (nn.Parameter(draw(*shape, seed=9)) for shape in ((5, 2), (2, 5)))
    optimiser = torch.optim.LBFGS([up, down], max_iter=500, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        value = loss(up, down)
        value.backward()
        return value

    optimiser.step(closure)
    assert loss(up, down).item() == pytest.approx(least.item(), rel=1e-6)
    torch.testing.assert_close(found.directions.T @ found.directions, torch.eye(2, dtype=F64))


def test_an_entry_that_is_always_zero_is_guessed_to_be_zero():
    x = torch.cat([spread(20, 3), torch.zeros(20, 1, dtype=F64)], 1)
    wide, narrow = masked_map(x, 0.5).matrix, masked_map(x[:, :3], 0.5).matrix
    torch.testing.assert_close(wide[:3, :3], narrow)
    assert not wide[3].any()
    assert not wide[:, 3].any()
