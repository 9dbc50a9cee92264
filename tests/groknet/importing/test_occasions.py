"""Occasions in the forms in which shops keep them, each against what it has to become."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from groknet.importing.occasions import Defaults, read_occasions
from groknet.importing.product import LeftOut, Refused
from schemas.occasions import Occasion

FILE_US = 1_790_000_000_000_000
DEFAULTS = Defaults("cart", FILE_US)


def read(tmp_path: Path, text: str | bytes, defaults: Defaults = DEFAULTS) -> list[object]:
    file = tmp_path / "occasions"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(read_occasions(file, defaults))


def made(name: str, *listing_ids: str, kind="cart", time: int = FILE_US) -> Occasion:
    return Occasion(occasion_id=name, kind=kind, listing_ids=list(listing_ids), event_time=time)


def test_json_lines_with_our_names_and_with_short_ones(tmp_path: Path) -> None:
    text = (
        '\ufeff{"occasion_id": "a", "kind": "view", "listing_ids": ["x", "y"], "event_time": 1789000000000000}\n\n'
        '{"id": 7, "listing_ids": [1, 2, 1], "time": "2026-09-20T00:00:00Z"}\r\n'
    )
    assert read(tmp_path, text) == [
        made("a", "x", "y", kind="view", time=1_789_000_000_000_000),
        made("7", "1", "2", time=1_789_862_400_000_000),
    ]


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress])
def test_order_lines_that_follow_each_other_are_one_occasion(tmp_path: Path, pack) -> None:
    table = b"order_id;product_id;quantity\n1;x;2\n1;y;1\n2;x;1\n2;x;1\n3;x;1\n3;z;1\n"
    found = read(tmp_path, pack(table), Defaults("cart", FILE_US, "acme/"))
    assert found == [
        made("1", "acme/x", "acme/y"),
        LeftOut("line 4", "fewer than two listings"),
        made("3", "acme/x", "acme/z"),
    ]


def test_a_table_of_occasions(tmp_path: Path) -> None:
    table = 'id,kind,listing_ids,time\na,scene,x y z,2026-09-20T00:00:00Z\na,view,x;y,\nb,,"p,q",\n'
    assert read(tmp_path, table) == [
        made("a", "x", "y", "z", kind="scene", time=1_789_862_400_000_000),
        made("a", "x", "y", kind="view"),
        made("b", "p", "q"),
    ]


@pytest.mark.parametrize(
    ("text", "place", "word"),
    [
        ('{"occasion_id": "a"}\n', "line 1", "listing_ids"),
        ('{"occasion_id": "a", "listing_ids": "x y"}\n', "line 1", "list"),
        ('{"listing_ids": ["x", "y"]}\n', "line 1", "occasion_id"),
        ('{"occasion_id": "a", "listing_ids": ["x", "y"], "kind": "wish"}\n', "line 1", "kind"),
        ('{"occasion_id": "a", "listing_ids": ["x", "y"], "time": "soon"}\n', "line 1", "event_time"),
        ('{"occasion_id": "a", "listing_ids": ["x", "y"], "time": 1790000000}\n', "line 1", "seconds"),
        ('{"occasion_id": "a", "listing_ids": ["x y", "z"]}\n', "line 1", "listing_ids"),
        ("{\n", "line 1", "JSON"),
        ("[\n", "line 1", "array"),
        ("order_id,sku\n1,x\n1,y\n", "line 2", "listing_id"),
        ('{"occasion_id": "a", "listing_ids": [' + ",".join(f'"l{i}"' for i in range(101)) + "]}\n", "line 1", "101"),
    ],
)
def test_what_cannot_be_used_is_named_and_the_next_line_is_read(tmp_path: Path, text, place, word) -> None:
    follow = '{"occasion_id": "next", "listing_ids": ["x", "y"]}\n' if text.startswith("{") else ""
    first, *rest = read(tmp_path, text + follow)
    assert isinstance(first, Refused)
    assert first.place == place
    assert word in f"{first.field} {first.why}"
    assert rest == ([made("next", "x", "y")] if follow else [])


def test_a_damaged_gzip_file_ends_there(tmp_path: Path) -> None:
    whole = gzip.compress(b'{"occasion_id": "a", "listing_ids": ["x", "y"]}\n' * 2_000)
    *_, last = read(tmp_path, whole[: len(whole) // 2])
    assert isinstance(last, Refused)
    assert last.ends


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
_NAMES = ("occasion_id", "id", "kind", "listing_ids", "event_time", "time")
_lines = st.dictionaries(st.sampled_from(_NAMES), _values, max_size=5).map(json.dumps)
_rows = st.text(alphabet="order_id,product\n12xy;\"'\t\r", max_size=120)
_tables = _rows.map(lambda text: "order_id,product_id\n" + text)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.one_of(st.binary(max_size=200), _lines.map(str.encode), _tables.map(str.encode)))
def test_whatever_a_file_has_is_an_occasion_or_named(tmp_path: Path, data: bytes) -> None:
    for one in read(tmp_path, data):
        assert isinstance(one, Occasion | Refused | LeftOut)
