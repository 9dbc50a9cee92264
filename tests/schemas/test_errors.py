"""Which errors may mean that a service as a whole is away, and that they say so in another process, too."""

from __future__ import annotations

import pickle

import pytest

from schemas.errors import Invalid, InvalidEvent, Transient, is_outage


@pytest.mark.parametrize(
    ("stage", "code", "outage"),
    [
        ("store", "store_timeout", True),
        ("store", "no_node", True),
        ("store", "unknown_host", True),
        ("store", "unavailable", True),
        ("store", "write_timeout", True),
        ("store", "operation_timed_out", True),
        ("sqlite", "database_unavailable", True),
        ("stream", "log_unreachable", True),
        ("stream", "log_silent", True),
        ("stream", "delivery_timeout", True),
        ("stream", "delivery_failed", True),
        ("stream", "flush_timeout", True),
        ("stream", "buffer_full", True),
        ("stream", "kafka_timeout", True),
        ("store", "torn_listing", False),
        ("store", "migration_under_way", False),
        ("stream", "rebalancing", False),
        ("stream", "topics_in_flux", False),
        ("fetch", "timeout", False),
        ("fetch", "http_503", False),
        ("search", "no_indexer", False),
    ],
)
def test_an_outage_is_told_from_one_items_fault(stage: str, code: str, outage: bool) -> None:
    why = Transient(stage, code, "why")
    assert is_outage(why) is outage
    assert is_outage(pickle.loads(pickle.dumps(why))) is outage


def test_errors_cross_process_boundaries() -> None:
    for kind in (Invalid, InvalidEvent, Transient):
        error = pickle.loads(pickle.dumps(kind("fetch", "timeout", "url: too slow")))
        assert type(error) is kind
        assert (error.stage, error.error, str(error)) == ("fetch", "timeout", "url: too slow")
