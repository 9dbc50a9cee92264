from __future__ import annotations

import logging

import pytest
from prometheus_client import CollectorRegistry, Counter

from groknet.run.minute_lines import Minutes


def test_a_minute_with_requests_is_a_line_and_one_without_is_none(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    counter = Counter("answers", "Answers", ["route", "status"], registry=CollectorRegistry())
    counter.labels("/a", "200").inc(7)
    minutes = Minutes(counter, "status", "requests answered")
    minutes()
    monkeypatch.setattr("groknet.run.minute_lines._EVERY_S", 0.0)
    minutes = Minutes(counter, "status", "requests answered")
    counter.labels("/a", "200").inc(2)
    counter.labels("/b", "200").inc()
    counter.labels("/b", "503").inc()
    for _ in range(3):
        minutes()
    assert caplog.messages == ["last minute: requests answered 3 with 200, 1 with 503"]
