"""What a rebalance says in the log: one line a change, in words, by every back end."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.contract.backends import join, poll_until
from workers.streams import Partition, TopicSpec, build_stream
from workers.streams._changes import Changes, named


def test_partitions_are_named_by_topic_and_in_runs() -> None:
    numbers = {"a": [0, 1, 2, 5, 7, 8], "b": [3], "c": [1, 3]}
    partitions = [Partition(topic, n) for topic, of in numbers.items() for n in reversed(of)]
    assert named(partitions) == "a 0-2, 5 and 7-8, b 3, c 1 and 3"


def test_changes_are_told_once_and_nothing_when_there_are_none(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    changes = Changes("tagger-2", "tagger")
    changes.tell([])
    changes.add("gave up", [Partition("live", 1)])
    changes.add("got", [Partition("live", 3)])
    changes.add("got", [Partition("live", 4)])
    changes.tell([Partition("live", 3), Partition("live", 4)])
    changes.tell([])
    assert caplog.messages == [
        "tagger-2, a member of group tagger, gave up live 1; got live 3-4; it holds 2 partitions now"
    ]


def test_each_change_of_an_embedded_member_is_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    url = f"sqlite://{tmp_path}/stream.db"
    admin = build_stream(url, "admin").admin()
    admin.ensure_topics([TopicSpec("t", 2)])
    admin.close()
    one = join(build_stream(url, "one"), "g", ["t"])
    poll_until([one], lambda: len(one.held) == 2)
    two = join(build_stream(url, "two"), "g", ["t"])
    poll_until([one, two], lambda: len(one.held) == len(two.held) == 1)
    (moved,) = two.held
    two.consumer.close()
    poll_until([one], lambda: len(one.held) == 2)
    one.consumer.close()
    assert caplog.messages == [
        "one, a member of group g, got t 0-1; it holds 2 partitions now",
        f"one, a member of group g, gave up t {moved.number}; it holds 1 partition now",
        f"two, a member of group g, got t {moved.number}; it holds 1 partition now",
        f"one, a member of group g, got t {moved.number}; it holds 2 partitions now",
    ]
