"""The interface of streams (`base`) and its back ends. `build_stream` chooses a back end by its URL."""

from __future__ import annotations

from schemas.errors import ConfigError
from workers.streams.base import (
    Consumer,
    ConsumerFactory,
    Delivery,
    Partition,
    Producer,
    RebalanceListener,
    Record,
    Stream,
    StreamAdmin,
    TopicSpec,
)

__all__ = [
    "Consumer",
    "ConsumerFactory",
    "Delivery",
    "Partition",
    "Producer",
    "RebalanceListener",
    "Record",
    "Stream",
    "StreamAdmin",
    "TopicSpec",
    "build_stream",
]


def build_stream(url: str, worker: str) -> Stream:
    """Build the back end that `url` names. `worker` is the name of this member that operators see.

    `sqlite:///ABS/PATH/stream.db` is the embedded log; its option `?lease_s=30` says how long a silent member keeps its
    partitions. `kafka://HOST:PORT,HOST:PORT` is Apache Kafka; `workers.streams.kafka.KafkaSettings` has its options.
    Nothing is opened until a factory is called.

    Raises:
        ConfigError: the scheme or an option is unknown.
    """
    scheme = url.partition("://")[0]
    if scheme == "sqlite":
        from workers.streams.embedded import build_embedded_stream

        return build_embedded_stream(url, worker)
    if scheme == "kafka":
        try:
            from workers.streams.kafka import build_kafka_stream
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"stream.url: kafka:// needs {error.name}, which is not installed: pip install 'groknet[kafka]'"
            ) from None

        return build_kafka_stream(url, worker)
    raise ConfigError(f"stream.url: unknown scheme {scheme!r}; known are sqlite:// (embedded) and kafka://")
