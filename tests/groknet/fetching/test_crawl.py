"""A crawl against a real server on loopback, whose clock is the test's."""

from __future__ import annotations

import csv
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from groknet.fetching.contents import Address
from groknet.fetching.crawl import Crawl, CrawlSettings
from schemas.events import decode_event
from tests.groknet.fetching.site import Site, jpeg
from workers.intake import IntakeSettings


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def crawl(folder: Path, site: Site, clock: Clock | None = None, **settings: float) -> Crawl:
    clock = clock or Clock()
    intake = IntakeSettings(allowed_private=(site.host,))
    chosen = CrawlSettings(**settings)  # type: ignore[arg-type]
    return Crawl(folder, intake, chosen, clock=clock, sleep=clock.sleep)


def run(crawling: Crawl, *addresses: str) -> dict[str, int]:
    with closing(crawling):
        crawling.add(Address(one) for one in addresses)
        for _ in crawling.run():
            pass
        return {state: count for state, count in crawling.counts().items() if count}


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_sitemap_leads_to_pages_their_products_and_photos(tmp_path: Path, site: Site) -> None:
    page = """<html><script type="application/ld+json">{{"@type": "Product", "sku": "{0}", "name": "Mug {0}",
    "category": "Mugs", "image": ["/{0}.jpg", "/{0}b.jpg", "/same.jpg"]}}</script></html>"""
    pages = "".join(f"<url><loc>{site.url(f'/p/{n}')}</loc></url>" for n in (1, 2))
    site.answers = {
        "/sitemap.xml": f"<urlset>{pages}<url><loc>{site.url('/direct.jpg')}</loc></url></urlset>".encode(),
        **{f"/p/{n}": page.format(n).encode() for n in (1, 2)},
        **{f"/{name}.jpg": jpeg(colour) for name, colour in (("1", "red"), ("2", "blue"), ("same", "white"))},
        "/direct.jpg": jpeg("black"),
    }
    assert run(crawl(tmp_path, site), site.url("/sitemap.xml")) == {"done": 7, "refused": 2}
    rows = table(tmp_path)
    assert {(row["product"], row["category"]) for row in rows} == {
        ("", ""),
        ("127.0.0.1/1", "Mugs"),
        ("127.0.0.1/2", "Mugs"),
    }
    for row in rows:
        assert (tmp_path / row["path"]).read_bytes() == site.answers["/" + row["address"].rpartition("/")[2]]
    events = [decode_event(line) for line in (tmp_path / "events.ndjson").read_bytes().splitlines()]
    assert sorted((event.listing_id, event.title, len(event.images)) for event in events) == [
        ("127.0.0.1/1", "Mug 1", 3),
        ("127.0.0.1/2", "Mug 2", 3),
    ]
    assert max(Counter(site.asked).values()) == 1


def test_robots_are_asked_first_and_followed_with_their_pause(tmp_path: Path, site: Site) -> None:
    site.answers = {
        "/robots.txt": b"User-agent: *\nDisallow: /private/\nCrawl-delay: 7\n",
        **{f"/{n}.jpg": jpeg("red") for n in range(3)},
        "/private/1.jpg": jpeg("blue"),
    }
    clock = Clock()
    paths = ("/private/1.jpg", "/0.jpg", "/1.jpg", "/2.jpg")
    assert run(crawl(tmp_path, site, clock), *map(site.url, paths)) == {"done": 3, "refused": 1}
    assert site.asked == ["/robots.txt", "/0.jpg", "/1.jpg", "/2.jpg"]
    assert sum(clock.slept) == pytest.approx(4 * 7.0)


def test_failures_that_may_pass_are_tried_again_later_and_less_often(tmp_path: Path, site: Site) -> None:
    site.answers = {f"/{n}.jpg": jpeg("red") for n in range(3)}
    site.statuses = {"/0.jpg": [503], "/1.jpg": [429, 503, 500]}
    clock = Clock()
    crawling = crawl(tmp_path, site, clock, pause_s=1.0)
    assert run(crawling, *(site.url(f"/{n}.jpg") for n in range(3))) == {"done": 2, "failed": 1}
    assert Counter(site.asked) == {"/robots.txt": 1, "/0.jpg": 2, "/1.jpg": 3, "/2.jpg": 1}
    assert max(clock.slept) >= 4.0
    again = crawl(tmp_path, site)
    assert again.retry() == 1
    assert run(again) == {"done": 3}


def test_a_host_without_an_answer_for_robots_is_not_fetched_from(tmp_path: Path, site: Site) -> None:
    site.answers = {"/0.jpg": jpeg("red")}
    site.statuses = {"/robots.txt": [503] * 9}
    assert run(crawl(tmp_path, site), site.url("/0.jpg")) == {"failed": 1}
    assert site.asked == ["/robots.txt"] * 3


def test_all_addresses_of_a_host_without_robots_end_together(tmp_path: Path, site: Site) -> None:
    """Three tries of the host, with pauses of 8 and 32 s between them, and not three of each address."""
    site.statuses = {"/robots.txt": [503] * 200}
    clock = Clock()
    crawling = crawl(tmp_path, site, clock, pause_s=2.0)
    with closing(crawling):
        crawling.add(Address(site.url(f"/{n}.jpg")) for n in range(50))
        for _ in crawling.run():
            pass
        ((state, why, count),) = crawling.reasons()
    assert (state, why.startswith("robots.txt: "), count) == ("failed", True, 50)
    assert site.asked == ["/robots.txt"] * 3
    assert clock.now == pytest.approx(8 + 32)
    site.statuses, site.answers = {}, {f"/{n}.jpg": jpeg("red") for n in range(50)}
    again = crawl(tmp_path, site)
    assert again.retry() == 50
    assert run(again) == {"done": 50}


def test_all_addresses_of_a_host_that_is_silent_end_together(tmp_path: Path, site: Site) -> None:
    """Its robots.txt answers, and nothing else: five requests with growing pauses, and not three for each address."""
    site.answers = {"/robots.txt": b"User-agent: *\nAllow: /\n"}
    site.statuses = {f"/{n}.jpg": [0] * 9 for n in range(50)}
    clock = Clock()
    crawling = crawl(tmp_path, site, clock, pause_s=2.0)
    with closing(crawling):
        crawling.add(Address(site.url(f"/{n}.jpg")) for n in range(50))
        for _ in crawling.run():
            pass
        ((state, why, count),) = crawling.reasons()
    assert (state, why.startswith("the host does not answer: "), count) == ("failed", True, 50)
    assert site.asked == ["/robots.txt", *(f"/{n}.jpg" for n in range(5))]
    assert clock.now == pytest.approx(2 + 8 + 32 + 128 + 512)
    site.statuses, site.answers = {}, {f"/{n}.jpg": jpeg("red") for n in range(50)}
    again = crawl(tmp_path, site)
    assert again.retry() == 50
    assert run(again) == {"done": 50}


def test_a_host_that_answers_now_and_then_is_not_given_up(tmp_path: Path, site: Site) -> None:
    """Four requests without an answer, then one with, twice; an error of the server is an answer as well."""
    site.answers = {f"/{n}.jpg": jpeg("red") for n in range(10)}
    site.statuses = {f"/{n}.jpg": [0] for n in (0, 1, 2, 3, 5, 6, 7, 8)} | {"/4.jpg": [503]}
    assert run(crawl(tmp_path, site), *(site.url(f"/{n}.jpg") for n in range(10))) == {"done": 10}


def test_an_interrupted_crawl_goes_on_where_it_was(tmp_path: Path, site: Site) -> None:
    site.answers = {f"/{n}.jpg": jpeg("red") + bytes([n]) for n in range(6)}
    first = crawl(tmp_path, site)
    first.add(Address(site.url(f"/{n}.jpg")) for n in range(6))
    steps = first.run()
    for _ in range(3):
        next(steps)
    steps.close()
    first.close()
    assert len(table(tmp_path)) == 2  # the first answer was robots.txt
    assert run(crawl(tmp_path, site)) == {"done": 6}
    assert len(table(tmp_path)) == 6
    photos = Counter(path for path in site.asked if path != "/robots.txt")
    assert sum(photos.values()) <= 7  # the one that was under way, at most


def test_the_guards_of_the_intake_hold(tmp_path: Path, site: Site) -> None:
    site.answers = {
        "/list": f"<urlset><url><loc>http://169.254.169.254/latest</loc></url><url><loc>{site.url('/x')}"
        "</loc></url><url><loc>file:///etc/passwd</loc></url></urlset>".encode(),
        "/x": b"text",
    }
    crawling = crawl(tmp_path, site)
    with closing(crawling):
        crawling.add([Address(site.url("/list")), Address("http://10.0.0.1/a.jpg"), Address("ftp://a.example/b")])
        for _ in crawling.run():
            pass
        assert crawling.counts()["refused"] == 5
        assert all(state == "refused" for state, *_ in crawling.reasons())
    assert sorted(site.asked) == ["/list", "/robots.txt", "/x"]


def test_the_number_of_addresses_is_bounded(tmp_path: Path, site: Site) -> None:
    crawling = crawl(tmp_path, site, most=2)
    with closing(crawling):
        crawling.add(Address(site.url(f"/{n}")) for n in range(5))
        assert (crawling.counts()["waiting"], crawling.beyond) == (2, 3)


def page(product: str) -> bytes:
    return f'<html><script type="application/ld+json">{product}</script></html>'.encode()


def test_odd_answers_are_refused_and_the_others_are_fetched(tmp_path: Path, site: Site) -> None:
    site.answers = {
        "/long": page('{"@type": "Product", "sku": ' + "9" * 5_000 + "x}"),
        "/declared": b"<html><![foo bar]>",
        "/half": page(r'{"@type": "Product", "sku": "1", "name": "Mug \ud83d"}'),
        "/photo": page(r'{"@type": "Product", "sku": "2", "image": ["/\ud83d.jpg", "/2.jpg"]}'),
        "/map": b'<?xml version="1.0" encoding="nonsense"?><urlset></urlset>',
        "/2.jpg": jpeg("red"),
    }
    paths = ("/long", "/declared", "/half", "/photo", "/map")
    assert run(crawl(tmp_path, site), *map(site.url, paths), "https://a.example/\ud83d") == {"done": 2, "refused": 5}


def test_an_answer_that_nobody_thought_of_does_not_end_the_fetch(tmp_path: Path, site: Site, monkeypatch) -> None:
    """The reader of sitemaps fails as it does with an error in it."""

    def broken(data: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("groknet.fetching.contents.sitemap", broken)
    site.answers = {"/map": b"<urlset></urlset>", "/1.jpg": jpeg("red")}
    crawling = crawl(tmp_path, site)
    with closing(crawling):
        crawling.add(Address(site.url(path)) for path in ("/map", "/1.jpg"))
        for _ in crawling.run():
            pass
        assert (crawling.counts()["done"], crawling.counts()["refused"]) == (1, 1)
        assert [(state, "ZeroDivisionError" in why) for state, why, _ in crawling.reasons()] == [("refused", True)]
