"""Every topic is complete: a schema, an owner, a policy."""

from __future__ import annotations

from schemas.documents import JSON_FOLDER
from schemas.topics import (
    DEAD_LETTERS,
    RETRY_DELAYS_S,
    TOPICS,
    UPLOADED,
    VERBATIM,
    hash_topic,
    source_topics,
    topics_for,
    with_retention,
)


def test_every_topic_names_a_schema_an_owner_and_a_policy() -> None:
    assert len({topic.name for topic in TOPICS}) == len(TOPICS)
    for topic in TOPICS:
        assert topic.value == VERBATIM or (JSON_FOLDER / topic.value).is_file()
        assert topic.owner
        assert topic.about
        assert topic.partitions > 0
        assert (topic.retention_ms is None) == (topic.cleanup == "compact")
    assert [topic.name for topic in topics_for("3f9a0c51b7de") if "<" in topic.name] == []


def test_the_tagger_reads_uploads_and_the_two_retry_topics_and_only_those() -> None:
    """The retry topics are named after their delays, which must be the delays that the tagger waits."""
    assert source_topics() == (UPLOADED, "listings.uploaded.retry.30s", "listings.uploaded.retry.10m")
    assert [RETRY_DELAYS_S[name] for name in source_topics()[1:]] == [30.0, 600.0]
    assert DEAD_LETTERS not in source_topics()


def test_only_the_hash_topic_depends_on_the_epoch() -> None:
    first, second = (topics_for(epoch) for epoch in ("3f9a0c51b7de", "000000000000"))
    assert [topic.name for topic in first if topic not in second] == [hash_topic("3f9a0c51b7de")]
    assert hash_topic("3f9a0c51b7de") == "listings.hashes.3f9a0c51b7de"


def test_only_failed_events_have_a_retention_that_can_be_set() -> None:
    changed = with_retention(TOPICS, dead_letters_days=2, retries_days=1)
    days = {topic.name: topic.retention_ms for topic in changed}
    assert days.pop(DEAD_LETTERS) == 172_800_000
    assert [days.pop(name) for name in RETRY_DELAYS_S] == [86_400_000] * 2
    assert days == {topic.name: topic.retention_ms for topic in TOPICS if topic.name in days}
    assert with_retention(TOPICS, dead_letters_days=30, retries_days=7) == TOPICS, "the defaults of the configuration"
