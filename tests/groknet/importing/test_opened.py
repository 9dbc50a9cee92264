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
    # kept products would be 10 MB or more; what other threads of the process take meanwhile is less than one
    assert peak(30_000) < 1.2 * peak(3_000) + 2_000_000


PRODUCT = '{"@type": "Product", "sku": "%s", "name": "%s", "image": "https://a.example/%s.jpg"}'


def test_a_number_that_is_too_long_costs_its_field_alone(tmp_path: Path) -> None:
    """Python refuses to read whole numbers of more than 4,300 digits."""
    long = '{"@type": "Product", "sku": "2", "offers": {"price": %s, "priceCurrency": "EUR"}}' % ("9" * 4_301)
    entries = read(tmp_path, "\n".join((PRODUCT % (1, "A", 1), long, PRODUCT % (3, "C", 3))))
    assert ids(entries) == ["1", "2", "3"]
    (note,) = entries[1].notes if isinstance(entries[1], Product) else ()
    assert (note.place, note.field) == ("line 2", "offers.price")
    assert "is no price" in note.why


def test_half_of_a_character_is_refused_in_place(tmp_path: Path) -> None:
    odd = (PRODUCT % (2, r"Mug \ud83d", 2), PRODUCT % (3, r"Mug \ud83d\ude00", r"3\udcff"))
    entries = read(tmp_path, "\n".join((PRODUCT % (1, "A", 1), *odd, PRODUCT % (4, "D", 4))))
    assert ids(entries) == ["1", "3", "4"]
    assert refused(entries) == [("line 2", False)]
    third = next(entry for entry in entries if isinstance(entry, Product) and entry.id == "3")
    assert (third.title, third.photos, [note.field for note in third.notes]) == ("Mug \U0001f600", (), ["image"])


def test_values_inside_each_other_without_end_are_no_text(tmp_path: Path) -> None:
    deep = '{"name":' * 400 + "1" + "}" * 400
    offers = '{"offers":' * 400 + "1" + "}" * 400
    lists = "[" * 400 + "1" + "]" * 400
    data = f'{{"@type": "Product", "sku": "1", "name": {deep}, "offers": {offers}, "category": {lists}}}'
    (entry,) = read(tmp_path, data)
    assert isinstance(entry, Product)
    assert (entry.title, entry.category, entry.price) == (None, None, None)


def test_html_that_the_parser_gives_up_on_is_read_up_to_that_place(tmp_path: Path) -> None:
    script = f'<script type="application/ld+json">{PRODUCT % (1, "A", 1)}</script>'
    for odd in ("<![foo bar]>", f'<a href="&#{"9" * 4_301};">'):
        entries = read(tmp_path, f"<!doctype html>\n{script}\n{odd}\n{script}")
        assert ids(entries) == ["1"]
        assert refused(entries) == [("line 3", True)]


def test_lines_may_end_as_on_an_old_macintosh(tmp_path: Path) -> None:
    assert ids(read(tmp_path, (TABLE + ROW.format(1) + ROW.format(2)).replace("\n", "\r"))) == ["1", "2"]


def test_xml_in_an_encoding_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    for name in ("nonsense", "shift_jis", "idna", "rot13"):
        entries = read(tmp_path, f'<?xml version="1.0" encoding="{name}"?><rss>{ITEM.format(1)}</rss>', "google-xml")
        assert refused(entries) == [("line 1", True)]
        assert "encoding cannot be read" in entries[0].why if isinstance(entries[0], Refused) else ""


def test_utf16_with_half_of_a_character_ends_with_a_reason(tmp_path: Path) -> None:
    """A lone half whose first byte is below 128 cannot be kept as a surrogate."""
    rows = (TABLE + ROW.format(1)).encode("utf-16") + b"\x3d\xd8" + ROW.format(2).encode("utf-16-le")
    assert refused(read(tmp_path, rows)) == [("", True)]
