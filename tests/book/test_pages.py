"""Every page, as a reader sees it: desktop and phone, light and dark, no network."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from address import addresses

HTML = Path(__file__).resolve().parents[2] / "_build" / "html"
PAGES = sorted(path.relative_to(HTML).as_posix() for path in HTML.rglob("*.html"))
# the two at the top are no pages of the theme; they have tests of their own
PAGES = [page for page in PAGES if page not in ("404.html", "index.html") and page[0] != "_"]
WIDTHS = {"desktop": 1280, "phone": 390}

# Opens what a reader can open, so that it is looked at too.
UNFOLD = """() => {
    document.querySelectorAll("main details").forEach(details => { details.open = true; });
    document.querySelectorAll("main button.toggle-button-hidden").forEach(button => button.click());
}"""

# What is left of TeX in the text, outside code and outside what MathJax has typeset.
RAW_TEX = r"""() => {
    const skip = "code, pre, script, style, mjx-container";
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) {
        const node = walker.currentNode;
        if (node.parentElement.closest(skip)) continue;
        const text = node.data.trim();
        if (/\\[()\[\]]|\$\$|\\[a-z]{3,}/.test(text)) found.push(text.slice(0, 80));
    }
    return found;
}"""

# MathJax shows an unknown macro as red text and a syntax error as a merror.
BAD_MATH = """() => [
        ...document.querySelectorAll("mjx-merror, mjx-container [style*='color: red']")
    ].map(node => node.getAttribute("data-mjx-error") || node.closest("mjx-container").innerText)"""

# What sticks out of the window and is not inside something that scrolls by itself.
STICKS_OUT = """() => {
    const scrolls = element => {
        const node = element.parentElement;
        if (!node || node === document.body) return false;
        return ["auto", "scroll"].includes(getComputedStyle(node).overflowX) || scrolls(node);
    };
    return [...document.querySelectorAll("main *")]
        .filter(element => element.getClientRects().length
            && !element.closest("mjx-assistive-mml, .bd-sidebar-secondary")
            && element.getBoundingClientRect().right > window.innerWidth + 1
            && !scrolls(element))
        .map(element => element.outerHTML.slice(0, 120));
}"""


# Every image is loaded and says what it shows; the mark in the sidebar stands beside its name.
BAD_IMAGES = """() => [...document.images]
    .filter(image => !image.naturalWidth || (!image.alt.trim() && !image.closest("a.logo")))
    .map(image => image.outerHTML.slice(0, 120))"""


def settle(page) -> None:
    """Wait until the mathematics is typeset and the fonts are there."""
    page.wait_for_load_state("load")
    page.evaluate("() => window.MathJax?.startup?.promise")
    page.evaluate("() => document.fonts.ready")


def serious_violations(page, only: str | None = None, but: str | None = None) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    # without preload: axe would fetch style sheets again, and from the wrong place
    options = {"preload": False}
    if only:
        options["runOnly"] = {"type": "rule", "values": [only]}
    if but:
        options["rules"] = {but: {"enabled": False}}

    return [
        f"axe: {violation['id']}: {node['html'][:160]}"
        for violation in Axe().run(page, options=options).response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


#: Milliseconds after which what is waited for will not come: a busy machine needs some of them.
PATIENCE = 600_000


@pytest.fixture(scope="session")
def contexts(browser):
    """One per width: what the pages share is then fetched once."""
    contexts = {}

    def context(width: int):
        if width not in contexts:
            contexts[width] = browser.new_context(
                viewport={"width": width, "height": 844},
                reduced_motion="reduce",
            )
            contexts[width].set_default_timeout(PATIENCE)
        return contexts[width]

    yield context
    for opened in contexts.values():
        opened.close()


@pytest.fixture
def visit(contexts, site):
    """Open a page of the book; collect everything that goes wrong on it."""
    pages = []

    def visit(path: str, width: int = 1280):
        page = contexts(width).new_page()
        pages.append(page)
        problems = page.problems = []

        def on_request(request) -> None:
            if not request.url.startswith((site, "data:", "blob:")):
                problems.append(f"asked another host: {request.url}")

        def on_response(response) -> None:
            if response.status >= 400:
                problems.append(f"{response.status}: {response.url}")

        def on_failure(request) -> None:
            # what is aborted, the page no longer wants: it was left for another
            if request.failure != "net::ERR_ABORTED":
                problems.append(f"{request.failure}: {request.url}")

        def on_console(message) -> None:
            if message.type in ("error", "warning"):
                problems.append(f"console {message.type}: {message.text}")

        page.on("request", on_request)
        page.on("response", on_response)
        page.on("console", on_console)
        page.on("requestfailed", on_failure)
        page.on("pageerror", lambda error: problems.append(f"script error: {error}"))
        page.goto(site + path)
        return page

    yield visit
    for page in pages:
        page.close()


@pytest.mark.parametrize("device", WIDTHS)
@pytest.mark.parametrize("path", PAGES or ["book/index.html"])
def test_page(visit, path: str, device: str) -> None:
    page = visit(path, WIDTHS[device])
    settle(page)
    # a colour halfway through a transition is nobody's colour
    page.add_style_tag(content="*, ::before, ::after { transition: none !important }")
    page.evaluate(UNFOLD)

    defects = []
    missing = page.locator(".math").count() - page.locator("mjx-container").count()
    if missing > 0:
        defects.append(f"{missing} formulas not typeset")
    defects += [f"mathematics: {text}" for text in page.evaluate(BAD_MATH)]
    defects += [f"raw TeX: {text}" for text in page.evaluate(RAW_TEX)]
    defects += [f"sticks out of the window: {tag}" for tag in page.evaluate(STICKS_OUT)]
    if page.evaluate("() => document.documentElement.scrollWidth > window.innerWidth"):
        defects.append("the page scrolls sideways")
    defects += [f"image {tag}" for tag in page.evaluate(BAD_IMAGES)]
    # Colours are the same at both widths, and to look at them takes most of the time.
    once = "color-contrast" if device == "phone" else None
    defects += [f"light, {violation}" for violation in serious_violations(page, but=once)]

    # The dark theme differs in its colours alone.
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("() => document.documentElement.dataset.theme === 'dark'")
    if not once:
        dark = serious_violations(page, only="color-contrast")
        defects += [f"dark, {violation}" for violation in dark]

    defects += page.problems
    assert not defects, "\n".join(["", *defects])


def test_book_opens_at_its_cover(visit) -> None:
    page = visit("index.html")
    page.wait_for_url("**/book/index.html")
    assert page.problems == []


@pytest.mark.parametrize("query", ["autoencoder", "principal"])
def test_search_works_without_a_network(visit, query: str) -> None:
    page = visit(f"search.html?q={query}")
    page.locator("#search-results ul.search li a").first.wait_for()
    # the summaries are fetched one by one; none of them may fail
    page.wait_for_load_state("networkidle")
    assert page.problems == []


def test_search_opens_from_the_keyboard(visit) -> None:
    page = visit("book/index.html")
    page.keyboard.press("Control+k")
    page.keyboard.type("encoder")
    page.keyboard.press("Enter")
    page.locator("#search-results ul.search li a").first.wait_for()
    assert re.search(r"search\.html\?q=encoder", page.url)
    assert page.problems == []


def test_theme_switch(visit) -> None:
    page = visit("book/index.html")
    button = page.locator(".theme-switch-button:visible").first
    seen = set()
    for _ in range(3):
        button.click()
        seen.add(page.evaluate("() => document.documentElement.dataset.theme"))
    assert seen == {"light", "dark"}


def test_concordance_can_be_filtered_and_sorted(visit) -> None:
    page = visit("book/concordance.html", WIDTHS["phone"])
    rows = page.locator("table.concordance tbody tr")
    shown = page.locator("table.concordance tbody tr:visible")
    every = rows.count()
    assert shown.count() == every

    page.select_option("select[name=verdict]", "wrong")
    assert 0 < shown.count() < every
    assert set(shown.locator("td:nth-child(3) strong").all_inner_texts()) == {"wrong"}
    page.select_option("select[name=verdict]", "")
    page.fill("input[name=words]", "no such words")
    assert shown.count() == 0

    # a link to a hidden row shows it
    page.evaluate("() => { location.hash = '#says-pca-1'; }")
    page.locator("#says-pca-1").wait_for()
    assert shown.count() == every

    # by verdict, and back into the article's order
    first = rows.first.inner_text()
    page.get_by_role("button", name="Verdict").click()
    assert "cannot be checked here" in rows.last.inner_text()
    page.get_by_role("button", name="Row").click()
    assert rows.first.inner_text() == first
    assert page.problems == []


def drawn_anew(page):
    """Wait until a figure has computed: it does so before the next frame."""
    frame = "new Promise(done => requestAnimationFrame(done))"
    page.evaluate(f"{frame}.then(() => {frame})")


def state(page) -> dict:
    return page.evaluate("document.querySelector('.aebook-live').aebook.state")


@pytest.mark.parametrize("width", [375, 1280])
def test_one_draws_on_the_cover_without_a_network(contexts, html: Path, width: int) -> None:
    """From a file, with a pointer and with keys; what is drawn is answered at once."""
    page = contexts(width).new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((html / "book" / "index.html").as_uri())
    page.wait_for_selector(".aebook-live[data-state=live]", state="attached")
    drawing = page.locator(".drawing")
    drawing.scroll_into_view_if_needed()
    page.get_by_role("button", name="clear").click()
    page.wait_for_function(
        "document.querySelector('.aebook-live').aebook.state.error !== undefined"
    )
    drawn_anew(page)
    empty = state(page)
    box = drawing.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 3 * box["height"] / 4, steps=5)
    page.mouse.up()
    drawn_anew(page)
    one = state(page)
    assert one["code"] != empty["code"]
    assert len(one["code"]) == 16
    # a stroke down the middle is a 1: the network gives it back, dark where it was drawn
    back = [one["reconstruction"][28 * row + 14] for row in range(10, 18)]
    assert min(back) > 0.5
    drawing.focus()
    page.keyboard.press("Space")
    drawn_anew(page)
    page.locator(".aebook-live [role=status]", has_text="squared error").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]
    page.close()


def test_without_scripts_the_cover_has_a_picture(browser, html: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((html / "book" / "index.html").as_uri())
    assert page.locator(".aebook-live .still").bounding_box()["width"] > 200
    context.close()


@pytest.mark.parametrize(
    "path", ["404.html", "no-such-page", "book/applications/deep-learning.html"]
)
@pytest.mark.parametrize("under", ["", "site"])
def test_a_page_that_is_missing_leads_back(contexts, html: Path, path: str, under: str) -> None:
    """At the address of the missing one, at the top of a host or in the folder of the site."""
    page = contexts(375).new_page()
    at = urlsplit(addresses()[1]).path + "/" if under else "/"

    def answer(route) -> None:
        name = urlsplit(route.request.url).path.removeprefix(at)
        found = html / name
        if found.is_file():
            route.fulfill(path=found)
        else:
            route.fulfill(path=html / "404.html", status=404)

    page.route("http://127.0.0.1:9/**", answer)
    page.goto(f"http://127.0.0.1:9{at}{path}")
    assert serious_violations(page) == []
    words = "" if path == "404.html" else Path(path).stem.replace("-", " ")
    assert page.locator("input").input_value() == words
    for link in page.locator("li a").all():
        target = urlsplit(link.evaluate("node => node.href")).path
        assert (html / target.removeprefix(at)).is_file(), target
    page.locator("li a").first.click()
    page.wait_for_url(f"**{at}book/index.html")
    page.close()


def test_mathematics_from_a_file(browser, html: Path) -> None:
    """The path that `make book` prints can be opened without a server."""
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto((html / "book" / "notation.html").as_uri())
    settle(page)
    assert page.locator("mjx-container").count() > 0
    assert page.evaluate(BAD_MATH) == []
    page.close()
