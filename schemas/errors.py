"""The errors that steer a worker.

    GroknetError
    ├── Reject           slow down: a bounded queue is full, try again later
    ├── Invalid          the input is at fault: it becomes a dead letter at once and is never retried
    │   └── InvalidEvent the event as a whole cannot be used
    ├── Transient        something outside is at fault: try again
    ├── BundleRefused    a bundle or engine fails its checks
    ├── EpochMismatch    hashes of two epochs would be compared
    ├── DeviceLost       the accelerator is lost to this process: it ends, and a new one starts clean
    ├── TooManyDeadLetters  most events fail by a fault of ours, and a restart does not help
    └── ConfigError      the configuration is wrong; the message names the key

Any other exception is a bug of ours: the process ends with its stack, and its supervisor restarts it.
"""

from __future__ import annotations


class GroknetError(Exception):
    """The base class of every error that this project raises on purpose. Its text names the field and the remedy."""


class Reject(GroknetError):
    """A bounded queue is full. The caller keeps the item and slows down."""


class Invalid(GroknetError):
    """The input can never succeed. The dead letter gets `stage` (where), `error` (a short code) and `message`."""

    def __init__(self, stage: str, error: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage
        self.error = error
        self.message = message

    def __reduce__(self) -> tuple[type[Invalid], tuple[str, str, str]]:
        """Pickle by the three fields, so that it crosses process boundaries."""
        return type(self), (self.stage, self.error, self.message)


class InvalidEvent(Invalid):
    """The event itself cannot be used (undecodable, out of bounds, too far in the future)."""


class Transient(GroknetError):
    """A failure that may pass: a time-out, a 5xx answer, an overloaded store. It has the same three fields."""

    def __init__(self, stage: str, error: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage
        self.error = error
        self.message = message

    def __reduce__(self) -> tuple[type[Transient], tuple[str, str, str]]:
        """Pickle by the three fields, so that it crosses process boundaries."""
        return type(self), (self.stage, self.error, self.message)


_SERVICE_STAGES = frozenset({"store", "stream", "sqlite"})
_NO_OUTAGE = frozenset(
    {
        "torn_listing",  # one listing's rows; others are read
        "migration_under_way",  # the store answers; somebody else changes its schema
        "rebalancing",  # the group deals out its partitions anew, which takes seconds
        "topics_in_flux",  # the broker answers; somebody else makes and removes topics
    }
)


def is_outage(why: Transient) -> bool:
    """Whether an error may mean that store or stream as a whole does not answer: time-outs, no node, too few replicas
    or brokers, a locked or full file. False for what is wrong with one listing, one photo's host or one group.

    A single error of this kind can still be one item's alone (a row that no replica can read), so that a caller asks
    for a second key and a probe before it stops working.
    """
    return why.stage in _SERVICE_STAGES and why.error not in _NO_OUTAGE


class BundleRefused(GroknetError):
    """A bundle whose checksums, format version or answers to the parity photos do not match."""


class EpochMismatch(GroknetError):
    """An index or a topic got a hash of another epoch."""


class TooManyDeadLetters(GroknetError):
    """Too many events became dead letters. A person must look before a worker continues."""


class DeviceLost(GroknetError):
    """An error of the accelerator that lasts until the process ends. No input is to blame, and nothing is retried."""


class ConfigError(GroknetError):
    """The configuration cannot be used. The message names the key and what would be right."""
