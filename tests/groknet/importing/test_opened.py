"""Hostile and damaged feeds: each ends or is refused in place, and what stands before is imported."""

from __future__ import annotations

import gzip
import random
import tracemalloc
from pathlib import Path

import pytest

from groknet.importing.formats import Format, read_feed
from groknet.importing.opened import MAX_LINE
from groknet.importing.product import Entry, Product, Refused

ITEM = "<item><id>{}</id><title>T</title><image_link>https://a.example/1.jpg</image_link></item>\n"
ROW = "{},T,https://a.example/1.jpg\n"
TABLE = "id,title,image_link\n"
LAUGHS = '<!DOCTYPE rss [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
FILE = '<!DOCTYPE rss [<!ENTITY x SYSTEM "file:///etc/passwd">]>'


def read(tmp_path: Path, data: str | bytes, kind: Format | None = None) -> list[Entry]:
    file = tmp_path / "feed"
    file.write_bytes(data.encode() if isinstance(data, str) else data)
    return list(read_feed(file, kind=kind))


def ids(entries: list[Entry]) -> list[str]:
    return [entry.id for entry in entries if isinstance(entry, Product)]


def refused(entries: list[Entry]) -> list[tuple[str, bool]]:
    return [(entry.place, entry.ends) for entry in entries if isinstance(entry, Refused)]


def test_a_gzip_bomb_ends_early_and_what_stands_before_it_is_read(tmp_path: Path) -> None:
    bomb = gzip.compress(f"<rss><channel>{ITEM.format(1)}{' ' * 40_000_000}</channel></rss>".encode())
    assert len(bomb) < 60_000
    tracemalloc.start()
    entries = read(tmp_path, bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ids(entries) == ["1"]
    assert "unpacks to more than 200 times" in entries[-1].why if isinstance(entries[-1], Refused) else ""
    assert peak < 4_000_000


def test_a_gzip_file_that_is_cut_off_is_read_up_to_its_end(tmp_path: Path) -> None:
    noise = random.Random(1)
    rows = "".join(ROW.format(noise.randbytes(8).hex()) for _ in range(20_000))
    packed = gzip.compress((TABLE + rows).encode())
    entries = read(tmp_path, packed[: len(packed) // 2])
    assert 5_000 < len(ids(entries)) < 15_000
    assert refused(entries) == [("", True)]


@pytest.mark.parametrize("declared", [LAUGHS, FILE], ids=["laughs", "file"])
def test_entities_are_not_read(tmp_path: Path, declared: str) -> None:
    entries = read(tmp_path, f"{declared}<rss><channel>{ITEM.format('&b;&x;')}</channel></rss>")
    assert ids(entries) == []
    assert refused(entries) == [("line 1", True)]


def test_xml_that_breaks_off_is_imported_up_to_that_place(tmp_path: Path) -> None:
    entries = read(tmp_path, f"<rss><channel>\n{ITEM.format(1)}{ITEM.format(2)}<item><id>3</item>{ITEM.format(4)}")
    assert ids(entries) == ["1", "2"]
    assert refused(entries) == [("line 4", True)]


def test_a_huge_product_is_refused_alone(tmp_path: Path) -> None:
    huge = ITEM.format("x" * (MAX_LINE + 1))
    entries = read(tmp_path, f"<rss><channel>\n{ITEM.format(1)}{huge}{ITEM.format(3)}</channel></rss>")
    assert ids(entries) == ["1", "3"]
    assert refused(entries) == [("line 3", False)]
    rows = TABLE + ROW.format(1) + "2," + "x" * (MAX_LINE + 1) + ",u\n" + ROW.format(3)
    entries = read(tmp_path, rows)
    assert ids(entries) == ["1", "3"]
    assert refused(entries) == [("line 3", False)]


def test_a_tag_without_an_end_and_elements_without_an_end_stop_the_feed(tmp_path: Path) -> None:
    for tail in ("<item " + "a" * 3 * MAX_LINE, "<a>" * 1_000):
        entries = read(tmp_path, f"<rss><channel>\n{ITEM.format(1)}{tail}")
        assert ids(entries) == ["1"]
        assert [ends for _, ends in refused(entries)] == [True]


def test_a_quotation_mark_without_an_end_costs_at_most_a_piece(tmp_path: Path) -> None:
    """The rows behind the piece are read again."""
    after = "".join(ROW.format(number) for number in range(40_000))
    entries = read(tmp_path, f'{TABLE}{ROW.format("first")}bad,"T,u\n{after}')
    assert ids(entries)[0] == "first"
    assert ids(entries)[-1] == "39999"
    assert refused(entries) == [("line 3", False)]


def test_json_that_breaks_off_is_imported_up_to_that_place(tmp_path: Path) -> None:
    product = '{"@type": "Product", "sku": "%d", "image": "https://a.example/1.jpg"}'
    lines = f"[{product % 1},\n{product % 2},\n{{]"
    entries = read(tmp_path, lines)
    assert ids(entries) == ["1", "2"]
    assert refused(entries) == [("line 3", True)]
    entries = read(tmp_path, "[" * 100_000)
    assert refused(entries) == [("line 1", True)]


def test_memory_does_not_grow_with_the_feed(tmp_path: Path) -> None:
    """Ten times the products, the same peak."""

    def peak(count: int) -> int:
        file = tmp_path / f"{count}.csv"
        file.write_text(TABLE + "".join(ROW.format(number) for number in range(count)))
        tracemalloc.start()
        found = sum(1 for _ in read_feed(file))
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found == count
        return top

    peak(300)  # what is loaded once
    assert peak(30_000) < 1.2 * peak(3_000) + 100_000
