"""Figures that answer: what a page computes is what PyTorch computes."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import aebook
from aebook import bottlenecks, live, networks, variants
from aebook.live.network import packed

X = torch.rand(40, 64, generator=torch.Generator().manual_seed(0))


def made(encoder, decoder, bottleneck=None):
    return aebook.Autoencoder(encoder, decoder, bottleneck or nn.Identity())


def convolutional(**options):
    return variants.plain(networks.convolutional((1, 8, 8), (4, 6), 3, **options)).model


def normalised():
    model = made(
        nn.Sequential(nn.Linear(64, 9), nn.BatchNorm1d(9), nn.ELU(0.7), nn.Linear(9, 4)),
        nn.Sequential(nn.Linear(4, 9), networks.Standardised(9), nn.SiLU(), nn.Linear(9, 64)),
    )
    for _ in range(3):
        model.train()(torch.randn(50, 64))
    return model.eval()


MODELS = {
    "plain": lambda: variants.plain((64, 20, 4)).model,
    "tied": lambda: variants.plain((64, 20, 4), tied=True).model,
    "leaky": lambda: variants.plain((64, 9, 4), activation=lambda: nn.LeakyReLU(0.2)).model,
    "tanh": lambda: variants.plain((64, 9, 4), activation=nn.Tanh, output=None).model,
    "softplus": lambda: variants.plain((64, 9, 4), activation=nn.Softplus).model,
    "k-sparse": lambda: variants.k_sparse((64, 20), k=5).model,
    "k-sparse, alpha": lambda: variants.k_sparse((64, 20), k=5, alpha=2).model,
    "k-sparse, magnitude": lambda: made(
        nn.Linear(64, 20), nn.Linear(20, 64), bottlenecks.TopK(5, by="magnitude")
    ),
    "variational": lambda: variants.variational((64, 20, 4)).model,
    "binary": lambda: variants.binary((64, 20, 6)).model,
    "normalised": normalised,
    "convolutional": convolutional,
}


@pytest.fixture(params=MODELS)
def model(request):
    torch.manual_seed(0)
    return MODELS[request.param]().eval()


def shaped(model):
    return X.reshape(-1, 1, 8, 8) if getattr(model.encoder, "shape", (64,)) == (1, 8, 8) else X


def run(steps, numbers, x):
    """The steps by PyTorch's own functions, from the numbers that the page gets."""

    def floats(begin, count):
        return torch.tensor(np.frombuffer(numbers, "<f4", count, begin)).double()

    def weights(step, rows, columns):
        levels = np.frombuffer(numbers, np.int8, rows * columns, step["weights"])
        levels = torch.tensor(levels).double().reshape(rows, columns)
        return levels * floats(step["scale"], rows)[:, None], floats(step["bias"], rows)

    bends = {
        "relu": F.relu,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "leaky": F.leaky_relu,
        "elu": F.elu,
        "silu": F.silu,
        "softplus": F.softplus,
        "step": lambda h: (h > 0).double(),
    }
    h = x.double()
    for step in steps:
        kind = step["kind"]
        if kind == "linear":
            w, b = weights(step, step["outputs"], step["inputs"])
            h = F.linear(h.flatten(1), w, b)
        elif kind in ("conv", "unconv"):
            (c, *_), (d, *_) = step["from"], step["to"]
            w, b = weights(step, d, c * step["size"][0] * step["size"][1])
            w = w.reshape(d, c, *step["size"])
            h = h.reshape(-1, *step["from"])
            if kind == "conv":
                h = F.conv2d(h, w, b, step["stride"], step["padding"])
            else:
                inner = [
                    (n - 1) * s - 2 * p + k
                    for n, s, p, k in zip(
                        step["from"][1:], step["stride"], step["padding"], step["size"], strict=True
                    )
                ]
                more = [a - b for a, b in zip(step["to"][1:], inner, strict=True)]
                h = F.conv_transpose2d(
                    h, w.transpose(0, 1), b, step["stride"], step["padding"], more
                )
        elif kind == "affine":
            factor, offset = (floats(step[k], step["channels"]) for k in ("factor", "offset"))
            h = h * factor + offset
        elif kind == "top":
            h = bottlenecks.TopK(step["k"], by=step["by"])(h)
        elif kind == "first":
            h = h[:, : step["count"]]
        else:
            h = bends[kind](h, *step["settings"])
    return h.flatten(1)


def test_one_byte_a_weight_says_nearly_what_the_model_says(model):
    x = shaped(model)
    encoder = packed(nn.Sequential(model.encoder, model.bottleneck), tuple(x.shape[1:]))
    decoder = packed(model.decoder, encoder.outputs)
    assert decoder.outputs == tuple(x.shape[1:])
    with torch.no_grad():
        code = model.encode(x)
        again = model.decode(code).flatten(1)
    found = run(encoder.steps, encoder.numbers, x)
    # a unit on the step of a binary code, or at the edge of the k largest, may change sides
    assert ((found - code).abs() < 0.05 * code.abs().max()).double().mean() > 0.97
    found = run(decoder.steps, decoder.numbers, code)
    assert (found - again).abs().max() < 0.05 * max(1, float(again.abs().max()))


def test_a_layer_that_stands_twice_is_done_twice():
    bend, layer = nn.ReLU(), nn.Linear(3, 3)
    steps = packed(nn.Sequential(layer, bend, layer, bend), (3,)).steps
    assert [step["kind"] for step in steps] == ["linear", "relu"] * 2


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (Doubled(4, 4), "Doubled"),
        (nn.GRU(4, 4), "GRU"),
        (nn.Softmax(1), "Softmax"),
        (nn.Conv2d(2, 2, 3, groups=2), "Conv2d"),
    ],
)
def test_what_a_page_cannot_compute_is_refused_by_name(layer, name):
    with pytest.raises(ValueError, match=f"got a layer {name}, which a page cannot compute"):
        packed(nn.Sequential(layer), (2, 4, 4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (7, 9)}, r"shape=\(7, 9\), expected images"),
        ({"labels": np.zeros(3, int)}, r"shape \(3,\) .*expected \(40,\)"),
        ({"labels": np.zeros(40)}, r"float64, expected \(40,\) of integers"),
        ({"labels": np.full(40, 2), "names": ["a"]}, "got 1 names, expected 3"),
    ],
)
def test_what_is_no_figure_is_refused(change, message):
    model = variants.plain((64, 9, 2)).model
    with pytest.raises(ValueError, match=message):
        live.explore(model, X, **change)


def test_codes_of_one_number_have_no_map_and_messages_end_at_one():
    with pytest.raises(ValueError, match=r"got codes of shape \(40, 1\)"):
        live.explore(variants.plain((64, 9, 1)).model, X)
    with pytest.raises(ValueError, match="from 0 to 1: scale the images"):
        live.sketch(variants.plain((64, 9, 2)).model, 255 * X)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_models_of_any_type_go_into_a_page(dtype):
    model = variants.plain((64, 9, 2)).model.to(dtype)
    assert live.sketch(model, X).data["usual"] > 0
    assert len(live.explore(model, X).data["codes"]) == 40


def test_a_figure_has_what_it_needs_and_goes_to_a_file_as_a_whole(tmp_path):
    model = variants.plain((64, 9, 2)).model
    figure = live.explore(model, X.numpy(), np.arange(40) % 3, names=["<a>", "b", "c"])
    assert repr(figure) == "Live('explore')"
    assert not re.search(r"""(src|href)=["'](?!data:)|https?://""", figure.html)
    found = re.search(r'<script type="application/json">(.*?)</script>', figure.html).group(1)
    assert json.loads(found)["names"][0] == "<a>"
    figure.save(tmp_path / "page.html", title="a & b")
    page = (tmp_path / "page.html").read_text("utf8")
    assert figure.html in page
    assert "<title>a &amp; b</title>" in page
    assert page.count("<script") == page.count("</script>") == 2


# --- in a browser -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    executable = next(filter(None, map(shutil.which, names)), None)
    if executable is None:
        pytest.skip(f"no Chromium on the path (looked for {', '.join(names)})")
    api = pytest.importorskip("playwright.sync_api", reason="needs the extra book")
    with api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox"], timeout=600_000
        )
        yield launched
        launched.close()


@pytest.fixture
def show(browser, tmp_path):
    """Opens a figure's page and waits until it answers."""
    context = browser.new_context(viewport={"width": 760, "height": 900})
    context.set_default_timeout(600_000)

    def opened(figure, **options):
        figure.save(tmp_path / "page.html")
        page = context.new_page()
        if options:
            page.set_viewport_size(options)
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text))
        page.goto((tmp_path / "page.html").as_uri())
        page.wait_for_selector(".aebook-live[data-state=live]")
        assert errors == []
        return page

    yield opened
    context.close()


def drawn_anew(page):
    """Wait until a figure has computed: it does so before the next frame."""
    frame = "new Promise(done => requestAnimationFrame(done))"
    page.evaluate(f"{frame}.then(() => {frame})")


def state(page):
    return page.evaluate("document.querySelector('.aebook-live').aebook.state")


def test_the_page_computes_what_pytorch_computes(model, show):
    x = shaped(model)
    page = show(live.sketch(model, x))
    figure = live.sketch(model, x)
    encoder = packed(nn.Sequential(model.encoder, model.bottleneck), tuple(x.shape[1:]))
    decoder = packed(model.decoder, encoder.outputs)
    assert figure.data["encoder"] == encoder.steps
    for message in x[:3]:
        values = message.flatten().tolist()
        page.evaluate("v => document.querySelector('.aebook-live').aebook.set(v)", values)
        found = state(page)
        code = run(encoder.steps, encoder.numbers, message[None])[0]
        np.testing.assert_allclose(found["code"], code, rtol=1e-4, atol=1e-5)
        again = run(decoder.steps, decoder.numbers, torch.tensor([found["code"]]))[0]
        np.testing.assert_allclose(found["reconstruction"], again, rtol=1e-4, atol=1e-5)
        error = float((again - message.flatten()).square().sum())
        assert found["error"] == pytest.approx(error, rel=1e-3)


def test_a_point_is_dragged_with_the_mouse_and_moved_with_keys(show):
    page = show(live.explore(variants.plain((64, 9, 2)).model, X, np.arange(40) % 3))
    box = page.locator(".map").bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=3)
    page.mouse.up()
    before = state(page)
    page.locator(".map").focus()
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowUp")
    after = state(page)
    assert after["code"][0] > before["code"][0]
    assert after["code"][1] > before["code"][1]
    assert after["reconstruction"] != before["reconstruction"]
    assert page.locator("[role=status]").inner_text().startswith("code ")


def test_sliders_move_a_wider_code_and_messages_are_places_to_start(show):
    page = show(live.explore(variants.plain((64, 9, 5)).model, X))
    assert page.locator("input[type=range]").count() == 5
    before = state(page)["code"]
    page.locator("input[type=range]").nth(3).focus()
    page.keyboard.press("ArrowRight")
    after = state(page)["code"]
    assert after[3] > before[3]
    assert after[:3] == before[:3]
    page.locator("button").nth(1).click()
    assert state(page)["code"] != after


def test_one_draws_and_erases_with_a_pen_and_with_keys(show):
    page = show(live.sketch(variants.plain((64, 9, 2)).model, X))
    page.get_by_role("button", name="clear").click()
    drawn_anew(page)
    empty = state(page)
    box = page.locator(".drawing").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 100, box["y"] + 100, steps=4)
    page.mouse.up()
    drawn_anew(page)
    drawn = state(page)
    assert drawn["code"] != empty["code"]
    page.locator(".drawing").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    drawn_anew(page)
    assert state(page)["code"] != drawn["code"]
    page.get_by_role("button", name="eraser").click()
    assert page.get_by_role("button", name="eraser").get_attribute("aria-pressed") == "true"
    assert page.locator("[role=status]").inner_text().startswith("squared error ")


def test_the_error_is_a_number_a_bar_and_a_picture(show):
    model = variants.plain((64, 9, 2)).model
    page = show(live.sketch(model, X))
    pixels = """() => {
        const canvas = document.querySelectorAll(".aebook-live canvas")[3];
        return Array.from(canvas.getContext("2d").getImageData(0, 0, 8, 8).data);
    }"""
    for message in (X[0], torch.zeros(64), torch.ones(64)):
        page.evaluate("v => document.querySelector('.aebook-live').aebook.set(v)", message.tolist())
        found = state(page)
        more = np.subtract(found["reconstruction"], message.numpy())
        ink = np.where(more[:, None] > 0, [47, 134, 166], [192, 33, 46]) / 255
        expected = 255 * (1 - np.abs(more)[:, None] * (1 - ink))
        rgb = np.reshape(page.evaluate(pixels), (64, 4))[:, :3]
        np.testing.assert_allclose(rgb, expected, atol=1)

        usual = live.sketch(model, X).data["usual"]
        width = page.evaluate("parseFloat(document.querySelector('.level').style.width)")
        assert width == pytest.approx(min(100, 50 * found["error"] / usual), rel=1e-3)
        assert page.locator(".gauge.high").count() == (found["error"] > usual)


def test_a_finger_draws_and_the_page_is_still_scrolled_beside(browser, tmp_path):
    live.sketch(variants.plain((64, 9, 2)).model, X).save(tmp_path / "page.html")
    context = browser.new_context(
        viewport={"width": 375, "height": 700}, has_touch=True, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_selector(".aebook-live[data-state=live]")
    before = state(page)["code"]
    box = page.locator(".drawing").bounding_box()
    assert 220 < box["width"] < 300
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    drawn_anew(page)
    assert state(page)["code"] != before
    # all of it is seen at once
    assert page.locator(".aebook-live").bounding_box()["height"] < 640
    context.close()


@pytest.mark.parametrize("kind", ["explore", "sketch"])
def test_a_phone_is_wide_enough(kind, show):
    page = show(getattr(live, kind)(variants.plain((64, 9, 2)).model, X), width=360, height=800)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_without_scripts_there_is_a_picture(browser, tmp_path):
    live.sketch(variants.plain((64, 9, 2)).model, X).save(tmp_path / "page.html")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    still = page.locator(".still")
    assert still.bounding_box()["width"] > 100
    assert len(still.get_attribute("alt").split()) > 3
    context.close()
