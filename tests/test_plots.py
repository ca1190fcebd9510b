import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from aebook import plots
from aebook.training.history import History


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def shown(figure):
    """The pictures of a figure, row by row, as arrays."""
    return [ax.images[0].get_array() for ax in figure.axes if ax.images]


FORMS = {
    "vectors": lambda x: x.reshape(len(x), -1),
    "matrices": lambda x: x,
    "channel": lambda x: x[:, None],
    "arrays": lambda x: x.numpy(),
    "gradients": lambda x: x.clone().requires_grad_(),
}


@pytest.mark.parametrize("form", FORMS)
def test_images_come_in_labelled_rows(form):
    x = torch.rand(3, 4, 4)
    figure = plots.images({"messages": FORMS[form](x), "reconstructions": FORMS[form](1 - x)})
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 6
    np.testing.assert_allclose(np.stack(shown(figure)), torch.cat([x, 1 - x]))
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert texts == ["messages", "reconstructions"]
    assert not any(ax.axison for ax in figure.axes)
    assert {ax.images[0].get_clim() for ax in figure.axes} == {(0, 1)}
    # zero is white
    assert figure.axes[0].images[0].cmap(0.0) == to_rgba("white")


def test_rows_may_be_of_different_lengths():
    figure = plots.images({"a": torch.rand(2, 4, 4), "b": torch.rand(5, 4, 4)})
    assert len(figure.axes) == 10
    assert len(shown(figure)) == 7


def test_colours_move_to_the_last_axis():
    x = torch.rand(2, 3, 4, 5)
    (first, _) = shown(plots.images({"a": x}))
    np.testing.assert_allclose(first, x[0].permute(1, 2, 0))


def test_vectors_that_are_no_squares_need_their_shape():
    x = torch.rand(2, 6)
    with pytest.raises(ValueError, match=r"got vectors of 6 pixels, .* \(2, 2\): give shape="):
        plots.images({"a": x})
    figure = plots.images({"a": x}, shape=(2, 3))
    np.testing.assert_allclose(shown(figure)[0], x[0].reshape(2, 3))


def test_weights_are_shown_about_zero_each_on_its_own_scale():
    x = torch.stack([torch.eye(3), -5 * torch.eye(3), torch.zeros(3, 3)])
    figure = plots.images({"w": x}, symmetric=True)
    assert [ax.images[0].get_clim() for ax in figure.axes] == [(-1, 1), (-5, 5), (-1, 1)]


@pytest.mark.parametrize("shape", [(4,), (2, 5, 4, 4), (1, 2, 3, 4, 5)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ValueError, match=r"got images of shape .*, expected \(N, pixels\)"):
        plots.images({"a": torch.rand(shape)})


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="got 0 rows of images, expected 1 or more"):
        plots.images({})


def test_codes_are_scattered_with_one_colour_a_class():
    z, labels = torch.randn(30, 2), torch.arange(30) % 3
    ax = plots.codes(z, labels, ["a", "b", "c"])
    assert isinstance(ax, Axes)
    assert len(ax.collections) == 3
    for number, dots in enumerate(ax.collections):
        np.testing.assert_allclose(dots.get_offsets(), z[labels == number])
    assert len({tuple(dots.get_facecolor()[0]) for dots in ax.collections}) == 3
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b", "c"]


def test_codes_draw_where_they_are_told_and_without_names_have_no_legend():
    figure, ax = plt.subplots()
    assert plots.codes(np.random.default_rng(0).normal(size=(5, 2)), [0, 1, 1, 4, 4], ax=ax) is ax
    assert ax.get_legend() is None
    assert figure.axes == [ax]


def test_names_belong_to_class_numbers_even_where_a_class_is_absent():
    ax = plots.codes(torch.randn(4, 2), torch.tensor([0, 2, 2, 0]), ["a", "b", "c"])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "c"]


@pytest.mark.parametrize(
    ("z", "labels"),
    [
        (torch.randn(5, 3), torch.zeros(5)),
        (torch.randn(5), torch.zeros(5)),
        (torch.randn(5, 2), torch.zeros(4)),
    ],
)
def test_codes_that_do_not_fit_are_refused(z, labels):
    with pytest.raises(ValueError, match=r"got .*expected"):
        plots.codes(z, labels)


def history(*, validation):
    made = History()
    for train, held_out in ((3.0, 3.5), (2.0, 2.5), (1.0, 2.75)):
        made.append({"loss": train}, {"loss": held_out} if validation else {}, 0.1, 1.0)
    return made


def test_curves_show_training_validation_and_the_best_epoch():
    ax = plots.curves(history(validation=True))
    training, validation, best = ax.lines
    # the mean over an epoch belongs to its middle
    np.testing.assert_allclose(training.get_xydata(), [[0.5, 3], [1.5, 2], [2.5, 1]])
    np.testing.assert_allclose(validation.get_xydata(), [[1, 3.5], [2, 2.5], [3, 2.75]])
    np.testing.assert_allclose(best.get_xydata(), [[2, 2.5]])
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["training", "validation", "best: 2"]


def test_curves_without_validation_are_one_line():
    figure, ax = plt.subplots()
    assert plots.curves(history(validation=False), ax=ax) is ax
    assert len(ax.lines) == 1
    assert figure.axes == [ax]


def test_curves_of_no_epochs_are_empty():
    ax = plots.curves(History())
    assert len(ax.lines[0].get_xdata()) == 0
