"""The commands on a home with kept searches and a few listings, and no worker."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest

from groknet.cli.exits import Exit
from groknet.home.config import demo_bundle
from schemas.events import ListingEvent
from schemas.manifest import load_manifest
from schemas.predictions import ImageRow, Prediction, StoredListing, Summary
from tests.groknet.conftest import Call
from workers.search.kept.ledger import Judgement, KeptSearch, Ledger
from workers.stores import build_store

MANIFEST = load_manifest(demo_bundle())
SOFA, LAMP = 1, 1 << 255 | (1 << 200) - 1


def keep(ledger: Ledger, code: int, *, close: bool, category: str | None) -> None:
    now = int(time.time())
    found = {"epoch": MANIFEST.epoch, "likeness": 0.5 if close else 0.1, "category": category}
    ledger.keep(KeptSearch(at=now, hash=f"{code:064x}", close=close, photo=b"RIFF", **found))  # type: ignore[arg-type]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Four searches for sofas, of which none is close, and two for lamps, of which one is; two stored listings."""
    with closing(Ledger(tmp_path / "kept.db", days=30, most=100)) as ledger:
        for bits in range(4):
            keep(ledger, SOFA << bits, close=False, category="sofas")
        keep(ledger, LAMP, close=True, category="lamps")
        keep(ledger, LAMP ^ 2, close=False, category="lamps")
        judged = {"epoch": MANIFEST.epoch, "hash": f"{SOFA:064x}", "listing_id": "l"}
        ledger.judge(Judgement(at=int(time.time()), right=True, **judged))
    head = MANIFEST.heads[0]
    label = head.labels[0]
    with closing(build_store(f"sqlite://{tmp_path}/store.db")) as store:
        for name, title, offered in (("1", f"A {label.value} of mine", False), ("2", "Thing", True)):
            told = {"title": title, "category": "lamps"}
            event = ListingEvent(event_id="e", listing_id=name, event_time=1, type="updated", **told)  # type: ignore[arg-type]
            predictions = {head.id: [Prediction(label=label.id, probability=0.9, offered=offered)]}
            stored = StoredListing(
                listing_id=name,
                event_time=1,
                model_version=MANIFEST.model_version,
                epoch=MANIFEST.epoch,
                event=event,
                summary=Summary(status="complete", predictions=predictions, bad_images=[]),
                images=[ImageRow(image_id="1", predictions=predictions, hash="0" * 64)],
                stored_at=1,
            )
            store.write(stored, {})
    return tmp_path


def test_unanswered_searches_are_listed_in_groups(groknet: Call, home: Path) -> None:
    answer = groknet("gallery", "unanswered", "--home", home, "--json", "--html", home / "page.html")
    assert answer.code == Exit.OK
    assert [(line["searches"], line["category"]) for line in answer.lines] == [(4, "sofas"), (1, "lamps")]
    assert {int(code, 16) for code in answer.lines[0]["hashes"]} == {SOFA << bits for bits in range(4)}
    assert (home / "page.html").read_text().count("<img") == 5
    printed = groknet("gallery", "unanswered", "--home", home)
    assert printed.out.startswith("6 searches are kept, 5 of them without an answer, in 2 groups")
    assert len(groknet("gallery", "unanswered", "--home", home, "--radius", 0, "--json").lines) == 5


def test_categories_and_groups_are_ranked_by_their_failures(groknet: Call, home: Path) -> None:
    lines = groknet("gallery", "discover", "--home", home, "--json").lines
    categories = [(line["category"], line["searches"], line["failed"], line["listings"]) for line in lines[:2]]
    assert categories == [("sofas", 4, 4, 0), ("lamps", 2, 1, 2)]
    assert [(line["searches"], line["failed"]) for line in lines[2:]] == [(4, 4), (2, 1)]
    assert "surely missed" in groknet("gallery", "discover", "--home", home).out


def test_coverage_by_photo_and_by_title_alone(groknet: Call, home: Path) -> None:
    lines = groknet("gallery", "coverage", "--home", home, "--json").lines
    whole = {key: lines[0][key] for key in ("listings", "with_photo", "by_photo", "by_title", "by_either")}
    assert whole == {"listings": 2, "with_photo": 2, "by_photo": 1, "by_title": 1, "by_either": 2}
    assert [line["name"] for line in lines if line["of"] == "head"] == [head.id for head in MANIFEST.heads]
    assert "50.0 %" in groknet("gallery", "coverage", "--home", home).out


def test_a_home_that_keeps_nothing_names_the_setting(groknet: Call, tmp_path: Path) -> None:
    answer = groknet("gallery", "unanswered", "--home", tmp_path)
    assert answer.code == Exit.NOT_FOUND
    assert 'keep = "hashes"' in answer.err
    (tmp_path / "groknet.toml").write_text('[search]\nkeep = "hashes"\n')
    answer = groknet("feedback", "export", "--home", tmp_path, tmp_path / "out")
    assert answer.code == Exit.NOT_FOUND
    assert "keep = " not in answer.err
    assert "keep=true" in answer.err


def test_forgetting_nothing_is_no_error(groknet: Call, tmp_path: Path) -> None:
    answer = groknet("feedback", "forget", "--home", tmp_path)
    assert answer.code == Exit.OK
    assert answer.out.startswith("nothing is kept")
    assert not (tmp_path / "kept.db").exists()


def test_a_damaged_file_is_not_said_to_be_forgotten(groknet: Call, tmp_path: Path) -> None:
    (tmp_path / "kept.db").write_bytes(b"no database" * 1000)
    answer = groknet("feedback", "forget", "--home", tmp_path)
    assert answer.code == Exit.FAILED
    assert "nothing was deleted" in answer.err
    assert f"delete {tmp_path}/kept.db" in answer.err.replace("\n", "")


def test_judgements_are_exported_and_forgotten(groknet: Call, home: Path) -> None:
    out = home / "judged"
    answer = groknet("feedback", "export", "--home", home, out, "--json")
    assert answer.lines == [{"counts": {"photos": 1}, "left_out": {"no_photo_of_listing": 1}}]
    assert sorted(path.name for path in out.iterdir()) == ["labels.csv", "pairs.csv", "photos", "wrong.csv"]
    assert groknet("feedback", "export", "--home", home, out).code == Exit.USAGE
    assert groknet("feedback", "forget", "--home", home).out == "7 kept searches and judgements are deleted\n"
    assert groknet("gallery", "unanswered", "--home", home, "--json").lines == []
