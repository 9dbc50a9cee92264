"""The browser as the tests drive it: pages that report every script error, and what a search asked and was told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, Response, sync_playwright

from tests.browser import chromium

DESKTOP = {"width": 1280, "height": 900}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
WAIT_MS = 30_000  # two busy cores; nothing here takes a second on a quiet machine
_ARGS = (
    "--no-sandbox",  # a container's root may not make one, and only this test's own page is shown
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


class Visitor:
    """Opens pages in contexts of their own; `errors` are what scripts threw and what the policy forbade."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    @contextmanager
    def __call__(self, url: str, **options: Any) -> Iterator[Visit]:
        context = self._browser.new_context(**({"viewport": DESKTOP, "locale": "en-GB"} | options))
        context.set_default_timeout(WAIT_MS)
        try:
            visit = Visit(context)
            visit.page.goto(url)
            visit.page.wait_for_selector("#status[data-state=ready]")
            yield visit
            assert visit.errors == []
        finally:
            context.close()


class Visit:
    """One page and what is done on it."""

    def __init__(self, context: BrowserContext) -> None:
        self.page: Page = context.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if _is_fault(said.text, said.type) else None)

    def searched(self, act: Callable[[], object]) -> Searched:
        """Do what makes the page search, and wait until its answer is shown."""
        with self.page.expect_response(lambda r: "/v1/search" in r.url) as caught:
            act()
        answer = Searched(caught.value)
        self.page.wait_for_selector("#results[aria-busy=false]", state="attached")
        return answer

    def upload(self, data: bytes, name: str = "mug.jpg", kind: str = "image/jpeg") -> Searched:
        """Choose a photo."""
        file = {"name": name, "mimeType": kind, "buffer": data}
        return self.searched(lambda: self.page.set_input_files("#photo", files=[file]))

    def texts(self, selector: str) -> list[str]:
        return self.page.locator(selector).all_inner_texts()

    def until(self, expression: str) -> None:
        """Wait for a JavaScript expression to hold; the page's policy forbids what Playwright has for it."""
        deadline = time.monotonic() + WAIT_MS / 1000
        while not self.page.evaluate(expression):
            assert time.monotonic() < deadline, f"never true: {expression}"
            self.page.wait_for_timeout(50)

    def notice(self) -> str:
        """What the page says is wrong."""
        self.page.wait_for_selector("#notice:not([hidden])")
        return self.page.inner_text("#notice-text")


class Searched:
    """A search of the page: its query, and the service's answer."""

    def __init__(self, response: Response) -> None:
        self.status = response.status
        self.query = {name: values[0] for name, values in parse_qs(urlsplit(response.url).query).items()}
        self.answer: dict[str, Any] = json.loads(response.body())

    @property
    def box(self) -> list[float]:
        return [float(edge) for edge in self.query["box"].split(",")]


def _is_fault(text: str, kind: str) -> bool:
    """Answers of 4xx and 5xx, and a server that is away, are the tests' own doing."""
    return kind == "error" and "Failed to load resource" not in text


@contextmanager
def visitor() -> Iterator[Visitor]:
    """A running browser. Raises BrowserMissing."""
    found = chromium.find()
    with sync_playwright() as playwright:
        args = [*_ARGS, *found.args]
        browser = playwright.chromium.launch(executable_path=found.path, args=args, env=chromium.environment(found))
        try:
            yield Visitor(browser)
        finally:
            browser.close()
