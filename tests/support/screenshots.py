"""Takes a picture of every page: `python -m tests.support.screenshots FOLDER`; light, dark, desktop, phone.

The pages show a made-up fortnight of alerts in a pretend store.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from flask import Flask
from playwright.sync_api import Browser, Playwright, sync_playwright
from werkzeug.serving import WSGIRequestHandler, make_server

from bridge.storage import migrate
from bridge.storage.database import Database
from tests.support.bridge_in_process import InProcessBridge
from tests.support.history import bridge_with_outlet, fortnight

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = "There is no Chromium or Chrome here: install one (Debian: apt-get install chromium)."
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PASSWORD = "for the pictures"
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


def chromium() -> str | None:
    """The system's browser."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def launch(playwright: Playwright) -> Browser:
    """Start the system's browser."""
    path = chromium()
    if path is None:
        raise SystemExit(MISSING)
    return playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))


class Quiet(WSGIRequestHandler):
    """Serves without a line for each request."""

    def log_request(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """Serve an app on a free port of this machine; gives its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def pages(bridge: InProcessBridge) -> dict[str, str]:
    """Every page by the name of its picture."""
    search = bridge.search

    def first(**filters: str) -> str:
        return str(search.deliveries(filters).results[0]["id"])

    review = search.cases({"state": "review"}).results[0]["id"]
    return {
        "today": "/",
        "deliveries": "/deliveries",
        "deliveries-filtered": "/deliveries?status=failed&provider=ethoca",
        "delivery-forwarded": f"/deliveries/{first(status='forwarded', provider='ethoca')}",
        "delivery-failed": f"/deliveries/{first(reason='untranslatable')}",
        "delivery-tried": f"/deliveries/{first(provider='verifi')}",
        "cases": "/cases",
        "case-review": f"/cases/{review}",
        "stores": "/stores",
        "providers": "/providers",
        "refused": "/refused",
        "replay-plan": "/replays/new?status=failed",
        "replays": "/replays",
        "not-found": "/deliveries/nothing",
    }


def main(folder: Path) -> None:
    """Take the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        url = f"sqlite:///{scratch}/bridge.db"
        with closing(Database(url)) as database:
            migrate.upgrade(database)
        with (
            bridge_with_outlet(url, password=PASSWORD) as bridge,
            sync_playwright() as playwright,
            launch(playwright) as browser,
        ):
            fortnight(bridge)
            with served(bridge.app) as address:
                for scheme in ("light", "dark"):
                    for size, (width, height) in SIZES.items():
                        context = browser.new_context(
                            color_scheme=scheme,
                            viewport={"width": width, "height": height},
                            device_scale_factor=1 if size == "desktop" else 2,
                        )
                        page = context.new_page()
                        page.goto(f"{address}/sign-in")
                        page.screenshot(path=folder / f"sign-in-{size}-{scheme}.png")
                        page.get_by_label("Password").fill(PASSWORD)
                        page.keyboard.press("Enter")
                        page.wait_for_url(f"{address}/")
                        for name, path in pages(bridge).items():
                            answer = page.goto(address + path)
                            assert answer
                            assert answer.status == (404 if name == "not-found" else 200), path
                            page.screenshot(path=folder / f"{name}-{size}-{scheme}.png", full_page=True)
                        context.close()
    sys.stdout.write(f"{len(list(folder.glob('*.png')))} pictures in {folder}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "screenshots"))
