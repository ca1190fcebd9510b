"""What is shown: a code that one moves, an image that one draws on."""

from __future__ import annotations

import base64
import html
import io
import json
import math
import os
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from PIL import Image
from torch import Tensor, nn

from aebook._internal.checks import array, as_array, counted, number
from aebook._internal.contract import checked
from aebook._internal.files import replace
from aebook.core import Autoencoder
from aebook.data import Data, Form, messages
from aebook.inference import decode, encode, evaluating, reconstruct
from aebook.live.network import Packed, packed

__all__ = ["Live", "explore", "sketch"]

#: Messages that a figure takes along, and codes on a map.
MESSAGES, CODES = 12, 500


class Live:
    """A figure in a page: it shows itself in Jupyter, and goes into a file of its own.

    Parameters
    ----------
    figure
        Its kind, which the page knows.
    data
        What it needs, as values that JSON knows.
    still
        The picture in its place where no script runs: a PNG file.
    alt
        What that picture shows.

    Examples
    --------
    >>> objective = aebook.variants.plain((64, 16, 2))
    >>> figure = aebook.live.explore(objective.model, torch.rand(100, 64))
    >>> figure.save("explorer.html")
    """

    def __init__(self, figure: str, data: dict[str, Any], still: bytes, alt: str) -> None:
        self.figure, self.data, self.still, self.alt = figure, data, still, alt

    @property
    def html(self) -> str:
        """The figure with all that it needs, to be put into any page."""
        room = resources.files("aebook.live")
        style, script = ((room / f"live.{end}").read_text("utf-8") for end in ("css", "js"))
        # "<" would end the element that the data are in
        data = json.dumps({"figure": self.figure, **self.data}, separators=(",", ":"))
        data = data.replace("<", "\\u003c")
        picture = base64.b64encode(self.still).decode()
        return (
            '<div class="aebook-live">\n'
            f"<style>{style}</style>\n"
            f'<img class="still" alt="{html.escape(self.alt)}" '
            f'src="data:image/png;base64,{picture}">\n'
            f'<script type="application/json">{data}</script>\n'
            f"</div>\n<script>{script}</script>"
        )

    def __repr__(self) -> str:
        return f"Live({self.figure!r})"

    def _repr_html_(self) -> str:
        return self.html

    @checked
    def save(self, path: str | os.PathLike[str], title: str = "aebook") -> None:
        """Write a page that needs nothing else, as a whole or not at all.

        Parameters
        ----------
        path
            Of the file, ``.html``.
        title
            Of the page.
        """
        page = (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{html.escape(title)}</title>\n"
            "<style>:root { color-scheme: light dark; } body { margin: 1rem; }</style>\n"
            f"</head>\n<body>\n{self.html}\n</body>\n</html>\n"
        )
        replace(path, lambda file: file.write(page.encode()))


@checked
def explore(
    model: Autoencoder,
    data: Data,
    labels: ArrayLike | None = None,
    *,
    names: Sequence[str] | None = None,
    shape: Sequence[int] | None = None,
) -> Live:
    r"""A code that one moves, and the image :math:`D_θ(z)` that the decoder answers with.

    A code of two numbers is a point on a map of the codes of ``data``; one of more numbers has a
    slider for each, from the 1st to the 99th percentile of the data's codes.

    Parameters
    ----------
    model
        A trained autoencoder of images, with a code of 2 to 32 numbers.
    data
        Messages, whatever :func:`aebook.fit` takes; the first 500 are shown.
    labels
        The class of each message, whole numbers from 0, which colour the map.
    names
        Of the classes; by default their numbers.
    shape
        (H, W) or (3, H, W) of images given as vectors; the default is a grey square.

    Raises
    ------
    ValueError
        If a layer of the decoder has no counterpart in the page, or what comes out is no image.

    Examples
    --------
    >>> objective = aebook.variants.plain((64, 16, 2))
    >>> figure = aebook.live.explore(objective.model, torch.rand(100, 64))
    >>> figure.figure, len(figure.data["codes"]), figure.data["shape"]
    ('explore', 100, [1, 8, 8])
    """
    given = _messages(model, data)
    x = given[:CODES]
    codes = encode(model, x).double().cpu().numpy()
    if codes.ndim != 2 or not 2 <= codes.shape[1] <= 32:
        raise ValueError(
            f"got codes of shape {codes.shape}, expected (N, 2) to (N, 32): a slider a number"
        )
    decoder = _packed(model, [model.decoder], codes.shape[1:])
    image = _image(x.shape[1:] if decoder.outputs == x.shape[1:] else decoder.outputs, shape)
    low, high = np.percentile(codes, (1, 99), axis=0)
    middle = np.median(codes, axis=0)
    # a unit that never moves still has a slider
    spread = np.where(high > low, high - low, 1.0)
    low, high = low - 0.05 * spread, high + 0.05 * spread
    content: dict[str, Any] = {
        "decoder": decoder.steps,
        "numbers": base64.b64encode(decoder.numbers).decode(),
        "shape": image,
        "range": np.stack([low, high], 1).round(4).tolist(),
        "start": codes[np.abs(codes - middle).sum(1).argmin()].round(4).tolist(),
        "codes": codes.round(4).tolist(),
    }
    if labels is not None:
        kinds = as_array(labels)
        array("labels", kinds, f"({len(given)},)", "integers", least=0)
        kinds = kinds[: len(x)]
        most = int(kinds.max()) + 1
        content["labels"] = kinds.tolist()
        content["names"] = [str(k) for k in range(most)] if names is None else list(names)
        counted("names", len(content["names"]), least=most)
    still = _still([decode(model, torch.as_tensor(codes[:8]).to(x))], image)
    return Live("explore", content, still, "Images that the decoder makes of the codes of messages")


@checked
def sketch(
    model: Autoencoder,
    data: Data,
    *,
    shape: Sequence[int] | None = None,
    share: float = 0.95,
) -> Live:
    r"""An image that one draws on, its code and what comes back, :math:`D_θ(b(E_φ(x)))`.

    Where they differ is a picture too, and the squared error a bar with a mark at the one that a
    share of the messages stays under: what is drawn and lies above is unlike them.

    Parameters
    ----------
    model
        A trained autoencoder of grey or colour images with values in [0, 1].
    data
        Ordinary messages, whatever :func:`aebook.fit` takes; the first twelve can be drawn on.
    shape
        As in :func:`explore`.
    share
        Of the messages, in (0, 1), whose error is below the one that is named.

    Raises
    ------
    ValueError
        If a layer has no counterpart in the page, or messages are no images in [0, 1].

    Examples
    --------
    >>> objective = aebook.variants.plain((64, 16, 4))
    >>> figure = aebook.live.sketch(objective.model, torch.rand(100, 64))
    >>> figure.figure, figure.data["shape"]
    ('sketch', [1, 8, 8])
    """
    share = number("share", share, below=1)
    x = _messages(model, data)
    array("data", x, f"{tuple(x.shape)}", least=0, most=1, advice="scale the images")
    again = reconstruct(model, x)
    errors = (again - x).flatten(1).double().square().sum(1).cpu().numpy()
    encoder = _packed(model, [model.encoder, model.bottleneck], x.shape[1:])
    decoder = _packed(model, [model.decoder], encoder.outputs, encoder.numbers)
    codes = encode(model, x[:CODES]).flatten(1).double()
    image = _image(x.shape[1:], shape)
    grey = (255 * x[:MESSAGES].flatten(1)).round().byte().cpu().numpy()
    content = {
        "encoder": encoder.steps,
        "decoder": decoder.steps,
        "numbers": base64.b64encode(decoder.numbers).decode(),
        "shape": image,
        "messages": [base64.b64encode(row.tobytes()).decode() for row in grey],
        "reach": float(codes.abs().quantile(0.99)) or 1.0,
        "usual": float(np.quantile(errors, share)),
        "share": f"{100 * share:g}",
    }
    still = _still([x[:8], again[:8]], image)
    return Live("sketch", content, still, "Messages above, and what comes back below")


def _messages(model: Autoencoder, data: Data) -> Tensor:
    """All messages, on the model's device."""
    return messages(data, **Form.of(model)._asdict())


def _packed(
    model: Autoencoder, parts: list[nn.Module], shape: Sequence[int], before: bytes = b""
) -> Packed:
    with evaluating(model):
        return packed(nn.Sequential(*parts), tuple(shape), before)


def _image(found: Sequence[int], shape: Sequence[int] | None) -> list[int]:
    """(channels, H, W) of what has the shape ``found``."""
    size = math.prod(found)
    if shape is None:
        side = math.isqrt(size)
        shape = tuple(found) if len(found) > 1 else (side, side)
    whole = (1, *shape) if len(shape) == 2 else tuple(shape)
    if len(whole) != 3 or whole[0] not in (1, 3) or math.prod(whole) != size:
        raise ValueError(
            f"got messages of shape {tuple(found)} and shape={shape}, expected images: give "
            "shape=(H, W) or (3, H, W)"
        )
    return [int(n) for n in whole]


def _still(rows: list[Tensor], shape: list[int]) -> bytes:
    """Rows of images as a PNG file, dark on light as the page paints them."""
    pictures = [row.detach().float().cpu().reshape(-1, *shape).clamp(0, 1) for row in rows]
    lines = [torch.cat([*row], 2) for row in pictures]
    whole = torch.cat(lines, 1)
    whole = 1 - whole if shape[0] == 1 else whole
    pixels = (255 * whole).round().byte().permute(1, 2, 0).numpy()
    picture = Image.fromarray(pixels[..., 0] if shape[0] == 1 else pixels)
    picture = picture.resize((3 * picture.width, 3 * picture.height), Image.Resampling.NEAREST)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()
