"""The producer: every record is acknowledged by all replicas in sync, without duplicates. Its buffer is bounded."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from itertools import chain
from typing import Any

from kafka import KafkaProducer as Client  # type: ignore[import-untyped]
from kafka import errors

from schemas.envelope import Headers
from schemas.errors import Invalid, Reject, Transient
from workers.streams.kafka._connect import open_client, translated
from workers.streams.kafka._settings import KafkaSettings
from workers.streams.kafka._topics import TopicFacts, require_topics

_BUFFER_RECORDS = 20_000  # beyond it send raises Reject; some seconds of work, as in the embedded log
_BUFFER_BYTES = 64 * 1024 * 1024
_DELIVERY_TIMEOUT_S = 60.0  # after this a record has failed; a killed broker is replaced much sooner
_STUCK_S = _DELIVERY_TIMEOUT_S + 15.0  # a client whose records take longer to succeed or fail is replaced
_CLOSE_TIMEOUT_S = _DELIVERY_TIMEOUT_S + 5.0
_OPTIONS = {
    "acks": "all",
    "enable_idempotence": True,
    "allow_auto_create_topics": False,
    "delivery_timeout_ms": int(_DELIVERY_TIMEOUT_S * 1000),
    "max_block_ms": 10_000,  # to learn a topic's partitions, once
    "linger_ms": 20,  # a send waits this long for others: 100 in a row make one batch a partition, and about 5 at 2 ms
    "batch_size": 128 * 1024,
    "max_request_size": 32 * 1024 * 1024,  # the topic's own limit is lower, and is checked
    "metrics_enabled": False,
}
_RELEASE_TIMEOUT_S = 5.0
_REFUSAL_HOLDS_S = 5.0  # a topic's limits are older than this: look them up again before a record is refused
_OVERHEAD_BYTES = 128  # of a batch and a record, without key, value and headers


@dataclass(frozen=True, slots=True)
class _LookedUp:
    facts: TopicFacts
    at: float
    """When the broker was asked, as `time.monotonic()`."""


class _Delivery:
    """The pending result of one send. Implements `Delivery`."""

    __slots__ = ("_future",)

    def __init__(self, future: Any) -> None:
        self._future = future

    def wait(self, timeout_s: float) -> None:
        """See the interface."""
        try:
            self._future.get(timeout_s)
        except errors.KafkaError as error:
            if self._future.is_done:
                raise _failed(error) from error
            text = f"the record is not durable within {timeout_s} s but may be later: wait again, or send it again"
            raise Transient("stream", "delivery_timeout", text) from None


class KafkaProducer:
    """Sends records. Implements `Producer`. Thread-safe."""

    def __init__(self, *, settings: KafkaSettings, worker: str) -> None:
        """Connect. Raises ConfigError or Transient."""
        self._settings = settings
        self._worker = worker
        self._lock = threading.Lock()
        self._topics: dict[str, _LookedUp] = {}
        self._buffered = 0
        self._buffered_bytes = 0
        self._failure: BaseException | None = None  # the first error since the last flush
        self._broken = False
        self._replacing = False  # True while one thread opens a new client
        self._replaced = threading.Condition(self._lock)
        self._refused: tuple[float, Transient] | None = None  # when a new client could not be opened, and why
        self._ended_at = time.monotonic()  # when a record last succeeded or failed, or the first one was sent
        self._releases: list[threading.Thread] = []
        self._closed = False
        self._client = self._open()

    def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers = ()) -> _Delivery:
        """See the interface. Also raises Invalid for a record without key and value."""
        size = len(key or b"") + len(value or b"") + sum(map(len, chain.from_iterable(headers)))
        self._check(topic, key, value, size)
        client = self._admit(size)
        try:
            with translated(self._settings, f"sending to {topic}"):
                future = client.send(topic, value=value, key=key, headers=list(headers))
        except ValueError as error:  # the topic went away, or the client was closed by another thread
            self._settle(size)
            raise Transient("stream", "send_failed", f"sending to {topic}: {error}; it is tried again later") from error
        except BaseException:
            self._settle(size)
            raise
        future.add_callback(self._succeeded, size)
        future.add_errback(self._failed, client, topic, size)
        return _Delivery(future)

    def flush(self, timeout_s: float) -> None:
        """See the interface. Raises the first error of a send since the last flush."""
        try:
            self._client.flush(timeout=timeout_s)
        except errors.KafkaError as error:
            text = f"some records are not durable within {timeout_s} s but may be later: flush again"
            raise Transient("stream", "flush_timeout", text) from error
        with self._lock:
            releases, self._releases = self._releases, []
        for release in releases:
            release.join()
        with self._lock:
            failure, self._failure = self._failure, None
        if failure is not None:
            raise _failed(failure) from failure

    def close(self) -> None:
        """See the interface. Raises the same errors as `flush`, and releases all resources even then."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        try:
            self.flush(_CLOSE_TIMEOUT_S)
        finally:
            _release(self._client)

    def _admit(self, size: int) -> Any:
        """Reserve room in the buffer, and return the client to send with."""
        asked = time.monotonic()
        while True:
            with self._lock:
                if self._closed:
                    raise ValueError("send after close")
                if self._buffered >= _BUFFER_RECORDS or self._buffered_bytes + size > _BUFFER_BYTES:
                    raise Reject(
                        f"stream: {self._buffered} records ({self._buffered_bytes} bytes) wait for brokers; slow down"
                    )
                if not self._must_replace(asked):
                    self._buffered += 1
                    self._buffered_bytes += size
                    return self._client
            self._replace()

    def _must_replace(self, asked: float) -> bool:
        """True for the one thread that has to open a new client. The other threads wait for it and share its result,
        so that a `send` takes the time of one attempt. Raises Transient if the attempt failed."""
        while self._replacing:
            self._replaced.wait()
            if self._refused is not None and asked < self._refused[0]:
                why = self._refused[1]
                raise Transient(why.stage, why.error, why.message)
        now = time.monotonic()
        self._ended_at = self._ended_at if self._buffered else now
        self._replacing = self._broken or now - self._ended_at > _STUCK_S
        return self._replacing

    def _replace(self) -> None:
        """Replace a client that has given up. The records that it holds fail meanwhile."""
        client, refused = None, None
        try:
            client = self._open()  # without the lock: records of the old client end meanwhile
        except Transient as why:
            refused = why
            raise
        finally:
            with self._lock:
                now = time.monotonic()
                if client is not None and self._closed:
                    self._release_later(client)
                elif client is not None:
                    self._release_later(self._client)
                    self._client, self._broken, self._ended_at = client, False, now
                self._refused = None if refused is None else (now, refused)
                self._replacing = False
                self._replaced.notify_all()

    def _release_later(self, client: Any) -> None:
        release = threading.Thread(target=_release, args=(client,), name="kafka-release", daemon=True)
        release.start()
        self._releases = [one for one in self._releases if one.is_alive()] + [release]

    def _succeeded(self, size: int, _: Any) -> None:
        self._settle(size)

    def _failed(self, client: Any, topic: str, size: int, error: BaseException) -> None:
        if isinstance(error, (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)):
            self._topics.pop(topic, None)  # the topic's limit was lowered: look it up again
        with self._lock:
            self._failure = self._failure or error
            # After an error that cannot be retried, kafka-python fails every later record. After a timed-out record, it
            # may neither send nor fail later records of that partition. So a new client is needed.
            lasting = isinstance(error, errors.KafkaTimeoutError) or not isinstance(error, errors.RetriableError)
            if client is self._client and lasting:
                self._broken = True
        self._settle(size)

    def _settle(self, size: int) -> None:
        with self._lock:
            self._buffered -= 1
            self._buffered_bytes -= size
            self._ended_at = time.monotonic()

    def _check(self, topic: str, key: bytes | None, value: bytes | None, size: int) -> None:
        """Raise Invalid for a record that the topic does not take. An operator can change a topic while workers run, so
        an old refusal is not trusted."""
        looked_up = self._topics.get(topic) or self._look_up(topic)
        try:
            _check(topic, looked_up.facts, key, value, size)
        except Invalid:
            if time.monotonic() - looked_up.at < _REFUSAL_HOLDS_S:
                raise
            _check(topic, self._look_up(topic).facts, key, value, size)

    def _look_up(self, topic: str) -> _LookedUp:
        asked = time.monotonic()
        found = _LookedUp(require_topics(self._settings, [topic])[topic], asked)
        self._topics[topic] = found
        return found

    def _open(self) -> Any:
        client, _ = open_client(Client, self._settings, client_id=self._worker, **_OPTIONS)
        return client


def _check(topic: str, facts: TopicFacts, key: bytes | None, value: bytes | None, size: int) -> None:
    """Raise Invalid for a record that the broker would refuse. The broker would refuse its whole batch."""
    if key is None and facts.compacted:
        raise Invalid("stream", "key_missing", f"topic {topic!r} is compacted: every record needs a key")
    if key is None and value is None:
        raise Invalid("stream", "empty", f"topic {topic!r}: a record has a key, a value, or both")
    if size + _OVERHEAD_BYTES > facts.max_message_bytes:
        raise Invalid(
            "stream", "too_large", f"topic {topic!r} takes {facts.max_message_bytes} bytes a record (max.message.bytes)"
        )


def _failed(error: BaseException) -> Transient:
    return Transient("stream", "delivery_failed", f"the brokers did not take it: {error}; send again later")


def _release(client: Any) -> None:
    """Close a client. Its unsent records fail at once, because it gave up or cannot reach its brokers."""
    if client._accumulator.has_incomplete:
        client._sender.force_close()  # close() would wait for brokers, and leave its thread if they do not answer
        client._sender.join(_RELEASE_TIMEOUT_S)
    client.close(timeout=_RELEASE_TIMEOUT_S)
