"""Pictures that more than one chapter needs: images in rows, codes on a plane, training curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from aebook._internal.checks import array, as_array, counted, number
from aebook._internal.contract import checked
from aebook.training.history import History

__all__ = ["codes", "curves", "images"]


@checked
def images(
    rows: Mapping[str, ArrayLike],
    *,
    shape: Sequence[int] | None = None,
    symmetric: bool = False,
    scale: float = 0.8,
) -> Figure:
    """Images in labelled rows, for instance messages above their reconstructions.

    Parameters
    ----------
    rows
        Label to images: (N, H·W), (N, H, W), (N, 1, H, W) or (N, 3, H, W). Grey values are shown
        from 0, white, to 1, black; colours from 0 to 1.
    shape
        (H, W) of images given as vectors; the default is a square.
    symmetric
        Show each image on its own scale from red through white at 0 to blue, for weights and
        components.
    scale
        Side of one image in inches.

    Examples
    --------
    >>> from aebook import plots
    >>> images = aebook.datasets.mnist("test")[0][:5]
    >>> figure = plots.images({"message": images, "negative": 1 - images})
    >>> len(figure.axes)
    10
    """
    scale = number("scale", scale)
    prepared = {label: _images(values, shape) for label, values in rows.items()}
    counted("rows of images", len(prepared))
    columns = max(len(values) for values in prepared.values())
    side = next(iter(prepared.values()))
    ratio = side.shape[1] / side.shape[2]
    figure, axes = plt.subplots(
        len(prepared),
        columns,
        figsize=(scale * columns + 1.1, scale * ratio * len(prepared) + 0.1),
        squeeze=False,
        gridspec_kw={"wspace": 0.06, "hspace": 0.06},
    )
    for ax in axes.flat:
        ax.set_axis_off()
    for row, (label, values) in zip(axes, prepared.items(), strict=True):
        row[0].text(
            -0.15, 0.5, label, transform=row[0].transAxes, ha="right", va="center", fontsize=10
        )
        for ax, image in zip(row, values, strict=False):
            if symmetric:
                limit = float(np.abs(image).max()) or 1.0
                ax.imshow(image, cmap="RdBu", vmin=-limit, vmax=limit)
            else:
                ax.imshow(image, cmap="gray_r", vmin=0, vmax=1)
    return figure


@checked
def codes(
    z: ArrayLike,
    labels: ArrayLike,
    names: Sequence[str] | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Codes of two dimensions as a scatter, one colour a class.

    Parameters
    ----------
    z
        Codes, (N, 2).
    labels
        Class numbers, (N,), from 0; at most ten classes have colours of their own.
    names
        Names of the classes for a legend; none without.
    ax
        Where to draw; the default is a new figure.

    Examples
    --------
    >>> from aebook import plots
    >>> axes = plots.codes(torch.randn(20, 2), torch.arange(20) % 2, names=["cat", "dog"])
    >>> [text.get_text() for text in axes.get_legend().get_texts()]
    ['cat', 'dog']
    """
    z, labels = as_array(z), as_array(labels)
    array("codes", z, "(N, 2)")
    integral = labels.dtype.kind in "biu" or (labels == np.floor(labels)).all()
    if labels.shape != z.shape[:1] or not integral or labels.min(initial=0) < 0:
        raise ValueError(
            f"got labels of shape {labels.shape} for {len(z)} codes, expected a class number from "
            "0 for each"
        )
    if names is not None and len(names) <= labels.max(initial=0):
        raise ValueError(f"got {len(names)} names, expected one for each class, as labels count")
    if ax is None:
        _, ax = plt.subplots(figsize=(4.5, 4.5))
    size = float(np.clip(12000 / len(z), 4, 30))
    for label in np.unique(labels):
        ax.scatter(
            *z[labels == label].T,
            s=size,
            alpha=0.7,
            linewidths=0,
            color=f"C{int(label) % 10}",
            label=names[int(label)] if names is not None else None,
            rasterized=True,
        )
    if names is not None:
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, markerscale=2)
    # a map: distances must mean the same in every direction
    ax.set_aspect("equal", adjustable="datalim")
    ax.set(xlabel="$z_1$", ylabel="$z_2$")
    return ax


@checked
def curves(history: History, *, ax: Axes | None = None) -> Axes:
    """Loss against epochs: training, and validation with its best epoch marked.

    The training loss of an epoch is an average taken while the weights moved, so it stands half
    an epoch behind the validation loss.

    Parameters
    ----------
    history
        What :func:`aebook.fit` returned.
    ax
        Where to draw; the default is a new figure.

    Examples
    --------
    >>> from aebook import plots
    >>> x, objective = torch.rand(50, 4), aebook.variants.plain((4, 2))
    >>> axes = plots.curves(aebook.fit(objective, x, epochs=3, validation=x))
    >>> axes.get_xlabel(), axes.get_ylabel()
    ('epoch', 'loss')
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(5.5, 3.2))
    epochs = np.arange(1, len(history) + 1)
    ax.plot(epochs - 0.5, history.loss, label="training")
    if history.validation_loss and history.best_epoch:
        ax.plot(epochs, history.validation_loss, label="validation")
        best = history.best_epoch
        ax.plot(best, history.validation_loss[best - 1], "o", color="C1", label=f"best: {best}")
    ax.set(xlabel="epoch", ylabel="loss")
    ax.legend(frameon=False)
    return ax


def _images(values: ArrayLike, shape: Sequence[int] | None) -> np.ndarray:
    values = as_array(values)
    if values.ndim == 2:
        side = math.isqrt(values.shape[1])
        shape = (side, side) if shape is None else tuple(shape)
        if len(shape) != 2 or math.prod(shape) != values.shape[1]:
            raise ValueError(
                f"got vectors of {values.shape[1]} pixels, expected as many as fill {shape}: "
                "give shape=(height, width)"
            )
        values = values.reshape(-1, *shape)
    elif values.ndim == 4 and values.shape[1] in (1, 3):
        values = values[:, 0] if values.shape[1] == 1 else np.moveaxis(values, 1, -1)
    elif values.ndim != 3:
        raise ValueError(
            f"got images of shape {values.shape}, expected (N, pixels), (N, H, W) or (N, C, H, W)"
        )
    return values
