"""Draws dashboards: builds a page with Grafana's components, opens it in a browser, and takes a picture."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from deploy.local.downloads.jars import default_cache
from deploy.operations.__main__ import DASHBOARDS
from deploy.operations.pictures.answers import answers

HERE = Path(__file__).parent
WIDTH = 1600
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_BUNDLE = ["--bundle", "--minify", "--format=iife", "--loader:.svg=dataurl", "--loader:.css=text"]
_DEFINE = ['--define:process.env.NODE_ENV="production"', "--define:global=window"]
_COLOURS = 128  # enough for lines and text; a picture stays below 200 kB
_DRAWN_MS = 3_000  # after the last script: uPlot draws in an animation frame


class CannotDraw(RuntimeError):
    """A program that draws is missing, or failed. The message names it."""


def draw(url: str, since: float, until: float, out: Path, *, every_s: float, boards: str = "*") -> list[Path]:
    """Draw each dashboard with what the Prometheus at `url` has between two times, and return the files.

    Args:
        url: of the Prometheus.
        since: the beginning, UTC seconds.
        until: the end, UTC seconds.
        out: the folder for the pictures, PNG of `WIDTH` pixels.
        every_s: seconds between two scrapes.
        boards: which dashboards, as a pattern of their file names.

    Raises:
        CannotDraw: npm, Playwright or a browser is missing, or a script failed.
    """
    script = built().read_text("utf-8")
    out.mkdir(parents=True, exist_ok=True)
    day = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%d %H:%M")
    caption = f"{day} to {datetime.fromtimestamp(until, UTC).strftime('%H:%M')} UTC"
    pages = {}
    for file in sorted(DASHBOARDS.glob(f"{boards}.json")):
        board: dict[str, Any] = json.loads(file.read_text("utf-8"))
        given = {"board": board, "answers": answers(board, url, since, until, every_s)}
        given |= {"since": since, "until": until, "caption": caption}
        pages[out / f"{file.stem}.png"] = _page(given, script)
    _photograph(pages)
    return list(pages)


def built() -> Path:
    """The script with Grafana's components. It is built once for each version of its sources, and kept in the cache."""
    folder = default_cache() / "grafana-components"
    script = folder / "page.js"
    sources = [HERE / "package.json", HERE / "package-lock.json", HERE / "page.jsx"]
    if script.exists() and all(_same(source, folder / source.name) for source in sources):
        return script
    npm = shutil.which("npm")
    if npm is None:
        raise CannotDraw("npm is not installed, and the pictures need it; on Debian and Ubuntu: apt install npm")
    folder.mkdir(parents=True, exist_ok=True)
    if not all(_same(source, folder / source.name) for source in sources[:2]) or not (folder / "node_modules").exists():
        for source in sources[:2]:
            shutil.copy(source, folder)
        _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--legacy-peer-deps"], folder)
    shutil.copy(HERE / "page.jsx", folder)
    esbuild = str(folder / "node_modules" / ".bin" / "esbuild")
    _run([esbuild, "page.jsx", f"--outfile={script}", *_BUNDLE, *_DEFINE], folder)
    return script


def _same(one: Path, other: Path) -> bool:
    return other.exists() and one.read_bytes() == other.read_bytes()


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotDraw(f"{' '.join(command[:2])} failed: {done.stderr.strip()[-500:]}")


def _page(given: dict[str, Any], script: str) -> str:
    data = "".join(f"window.{name} = {json.dumps(value)};" for name, value in given.items()).replace("</", "<\\/")
    script = script.replace("</script", "<\\/script")
    head = '<!doctype html><meta charset="utf-8"><div id="board"></div>'
    return f"{head}<script>{data}</script><script>{script}</script>"


def _note(failures: list[str], error: Exception) -> None:
    failures.append(str(error))


def _photograph(pages: dict[Path, str]) -> None:
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        raise CannotDraw("Playwright is not installed, and the pictures need it: pip install playwright") from None
    path = os.environ.get("GROKNET_BROWSER") or next(filter(None, map(shutil.which, _BROWSERS)), None)
    if path is None:
        raise CannotDraw("there is no Chromium; install one, or name it by GROKNET_BROWSER")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for file, text in pages.items():
            page = browser.new_page(viewport={"width": WIDTH, "height": 900})
            failures: list[str] = []
            page.on("pageerror", partial(_note, failures))
            source = Path(folder) / "page.html"  # a file, because Grafana's components use its local storage
            source.write_text(text, "utf-8")
            page.goto(source.as_uri(), wait_until="load")
            page.wait_for_timeout(_DRAWN_MS)
            if failures:
                raise CannotDraw(f"{file.stem}: {failures[0]}")
            page.screenshot(path=file, full_page=True)
            page.close()
            with Image.open(file) as picture:
                picture.convert("RGB").quantize(_COLOURS).save(file, optimize=True)
        browser.close()
