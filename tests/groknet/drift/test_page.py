"""The page of a report: text of strangers is escaped, few photos accuse nobody, and nothing counted is said."""

from __future__ import annotations

from html.parser import HTMLParser

from groknet.drift.history import Drift, HeadDrift
from groknet.drift.page import drift_page

HOSTILE = '<script>alert("x")</script>'


def head(photos: float, **fields: object) -> HeadDrift:
    values: dict[str, object] = {
        "version": "m-1",
        "head": "colour",
        "of": "label",
        "photos": photos,
        "live": {"a": 0.1, "b": 0.9},
        "baseline": {"a": 0.9, "b": 0.1},
        "by_day": [0.0, None, 1.5],
    }
    return HeadDrift(**(values | fields))  # type: ignore[arg-type]


def drift(*heads: HeadDrift, **fields: object) -> Drift:
    values: dict[str, object] = {
        "end": 1_790_000_000.0,
        "days": 7.0,
        "heads": list(heads),
        "photos": 900.0,
        "domains": {},
        "baseline_domains": {},
        "searches": 0.0,
        "no_close": None,
        "alerts": {},
    }
    return Drift(**(values | fields))  # type: ignore[arg-type]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)
        if tag not in ("meta", "line", "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_is_whole_and_text_is_escaped() -> None:
    hostile = head(900, head=HOSTILE, version=HOSTILE, live={HOSTILE: 1.0}, baseline={HOSTILE: 1.0})
    page = drift_page(drift(hostile, head(900), domains={HOSTILE: 1.0}, alerts={HOSTILE: 0.5}))
    tags = Tags()
    tags.feed(page)
    assert tags.open in ([], ["html", "body"], ["html"])
    assert "script" not in tags.seen
    assert "Drifted: colour." in page
    assert "-80.0" in page
    assert "+80.0" in page


def test_few_photos_accuse_nobody() -> None:
    page = drift_page(drift(head(499)))
    assert "No head with enough photos has drifted." in page
    assert "(few)" in page


def test_what_was_not_counted_is_said() -> None:
    page = drift_page(drift())
    assert "Nobody searched." in page
    assert "Nothing was counted." in page
    assert "% found" not in page
    assert "12.5% found" in drift_page(drift(searches=8.0, no_close=0.125))


def test_the_curve_stays_inside_its_picture() -> None:
    page = drift_page(drift(head(900, by_day=[0.0, 0.2, 99.0])))
    assert 'points="0.0,20.0 50.0,10.0 100.0,0.0"' in page
