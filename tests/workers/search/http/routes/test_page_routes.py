"""The page as it is served: all of its own, nothing inline, every id that a script names is there."""

from __future__ import annotations

import html
import re
from importlib import resources
from urllib.parse import urljoin

import pytest

from engines.pixels import formats_taken
from tests.workers.search.rig import HTTP, served

PARTS = {entry.name: entry.read_text("utf-8") for entry in resources.files("workers.search").joinpath("page").iterdir()}
HTML = PARTS["index.html"]
SCRIPTS = {name: text for name, text in PARTS.items() if name.endswith(".js")}


def test_the_policy_allows_the_service_alone(shop):
    answer = HTTP.request("GET", shop.server.url + "/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert {policy[kind] for kind in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert "camera=(self)" in answer.headers["permissions-policy"]


def test_nothing_is_fetched_from_elsewhere_and_nothing_is_inline(shop):
    links = re.findall(r'(?:src|href)="(?!#)([^"]*)"', HTML)
    assert len(links) >= 6
    for link in links:
        assert "//" not in link
        answer = HTTP.request("GET", urljoin(shop.server.url + "/", link))
        assert answer.status == 200, link
    assert not re.findall(r"\sstyle=|\son\w+=|<style|<script(?![^>]*\bsrc=)", HTML)
    for name, text in PARTS.items():
        assert not re.findall(r"https?://(?!www\.w3\.org/)", text), name


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_every_id_that_a_script_names_is_in_the_page(name):
    ids = set(re.findall(r'\bid="([^"]+)"', HTML))
    assert set(re.findall(r'\$\("([^"]+)"\)', SCRIPTS[name])) <= ids
    assert {f"icon-{icon}" for icon in re.findall(r'\bicon\("([a-z]+)"\)', SCRIPTS[name])} <= ids


def test_ids_are_unique_and_references_to_them_hold():
    ids = re.findall(r'\bid="([^"]+)"', HTML)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:aria-labelledby|aria-describedby|href="#)="?([\w-]+)"', HTML)) <= set(ids)


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_imports_name_what_the_other_script_exports(name):
    for names, source in re.findall(r'import \{([^}]+)\} from "\./([^"]+)"', SCRIPTS[name]):
        wanted = {part.strip().split(" ")[0] for part in names.split(",")}
        exported = set(re.findall(r"export (?:async )?(?:const|function|class) ([\w$]+)", SCRIPTS[source]))
        assert wanted <= exported, (name, source)


def test_a_part_is_sent_once_until_it_changes(shop):
    url = shop.server.url + "/page/app.js"
    first = HTTP.request("GET", url)
    assert (first.status, first.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    again = HTTP.request("GET", url, headers={"if-none-match": first.headers["etag"]})
    assert (again.status, again.data) == (304, b"")


@pytest.mark.parametrize("name", ["none.js", "..%2Fapp.py", "%2e%2e/app.py", ""])
def test_only_the_parts_of_the_page_are_served(shop, name):
    assert HTTP.request("GET", f"{shop.server.url}/page/{name}").status == 404


def test_the_page_knows_this_service_s_limit(shop):
    before = shop.server, shop.health
    try:
        with served(shop, max_upload_bytes=12_345):
            assert 'data-max-bytes="12345"' in HTTP.request("GET", shop.server.url + "/").data.decode()
            shown = html.escape(formats_taken())
            assert f'data-formats="{shown}"' in HTTP.request("GET", shop.server.url + "/").data.decode()
    finally:
        shop.server, shop.health = before
