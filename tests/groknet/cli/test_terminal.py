"""Words for times and for strange text."""

from __future__ import annotations

from datetime import datetime

from groknet.cli.plain_text import shown
from groknet.cli.terminal import duration, local_time
from tests.groknet.diagnosis.flow import NOW, clock


def test_words_for_times_and_strange_text() -> None:
    assert [duration(s) for s in (0.4, 119, 120, 7199, 7200)] == ["0 s", "119 s", "2 min", "119 min", "2 h"]
    assert local_time(NOW, NOW) == clock(NOW)
    assert local_time(NOW, NOW + 200_000) == datetime.fromtimestamp(NOW).strftime("%Y-%m-%d %H:%M:%S")
    assert local_time(2.0**62, NOW) == "a time that no calendar has"
    assert shown("mug ☕\r\n\x1b]0;x\x07\u202e") == r"mug ☕\r\n\x1b]0;x\x07\u202e"
