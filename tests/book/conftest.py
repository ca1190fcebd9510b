"""The built book, served on localhost, and a browser that sees nothing else."""

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="session")
def html() -> Path:
    if not (HTML / "book" / "index.html").is_file():
        pytest.skip("the book is not built: run `make book` first")
    return HTML


@pytest.fixture(scope="session")
def site(html: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=html)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def browser():
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"no Chromium on the path (looked for {', '.join(BROWSERS)})")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # No host but this one resolves. The rest keeps Chromium's own traffic quiet.
        browser = playwright.chromium.launch(
            executable_path=executable,
            timeout=600_000,  # milliseconds; Playwright's own 30 s are few on a busy machine
            args=[
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-gpu",
                "--disable-quic",
                "--disable-sync",
                "--no-first-run",
            ],
        )
        yield browser
        browser.close()
