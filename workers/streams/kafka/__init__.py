"""Apache Kafka: topics and consumer groups of a cluster, through kafka-python 3 (extra groknet[kafka])."""

from __future__ import annotations

from functools import partial

from workers.streams.base import Stream
from workers.streams.kafka._admin import KafkaAdmin
from workers.streams.kafka._consumer import KafkaConsumer
from workers.streams.kafka._producer import KafkaProducer
from workers.streams.kafka._settings import KafkaSettings, hide_password, parse_kafka_url

__all__ = ["KafkaAdmin", "KafkaConsumer", "KafkaProducer", "KafkaSettings", "build_kafka_stream"]


def build_kafka_stream(url: str, worker: str) -> Stream:
    """Build the factories for `kafka://HOST:PORT,HOST:PORT?option=value`. `worker` is the client id that brokers see.

    Raises ConfigError if an address or an option is wrong.
    """
    settings = parse_kafka_url(url)
    return Stream(
        consumer=partial(KafkaConsumer, settings=settings, worker=worker),
        producer=partial(KafkaProducer, settings=settings, worker=worker),
        admin=partial(KafkaAdmin, settings=settings, worker=worker),
        url=hide_password(url),
    )
