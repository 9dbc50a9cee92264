"""The CloudEvents headers of every message."""

from __future__ import annotations

from datetime import UTC, datetime

from schemas.envelope import cloud_event_headers, header
from tests.schemas.wire import NOW_US


def test_cloud_events_headers() -> None:
    """What CloudEvents 1.0 asks of the Kafka binding in binary mode."""
    headers = cloud_event_headers(
        type_="groknet.listing.v1", source="groknet/submit", key="shop/ä", event_id="e-1", time_us=NOW_US + 250_000
    )
    assert dict(headers) == {
        "ce_specversion": b"1.0",
        "ce_id": b"e-1",
        "ce_source": b"groknet/submit",
        "ce_type": b"groknet.listing.v1",
        "ce_time": b"2026-01-01T00:00:00.250000Z",
        "ce_partitionkey": "shop/ä".encode(),
        "content-type": b"application/json",
    }
    assert header(headers, "ce_partitionkey") == "shop/ä"
    assert header(headers, "absent") is None
    assert header((("a", b"1"), ("a", b"2")), "a") == "2"


def test_cloud_events_ids_differ_and_time_is_now_by_default() -> None:
    before = datetime.now(UTC)
    first, second = (dict(cloud_event_headers(type_="t", source="s", key="k")) for _ in range(2))
    assert first["ce_id"] != second["ce_id"]
    assert before <= datetime.fromisoformat(first["ce_time"].decode()) <= datetime.now(UTC)
