"""What an operator may set on a tagger; each limit has a name, a default and a reason."""

from __future__ import annotations

import logging
from typing import Annotated

import msgspec
from msgspec import Meta

from engines.pixels import JpegDecoderName
from schemas.units import Count, DecodeMegabytes, Seconds, Whole

_log = logging.getLogger(__name__)


class TaggerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The workers that fetch photos, run the network, and write predictions and hashes."""

    host: str = "127.0.0.1"
    """The address to listen on. Loopback by default: other machines reach the worker only after you change it."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 9590
    """For health and metrics: that of the first tagger of a home; each further one takes the next port. 0 takes any
    free port. If you set none and 9590 is taken, any free port is used; the target list of `groknet run all` names
    it."""
    allowed_hosts: tuple[str, ...] = ()
    """Names under which programs call this worker; loopback names, `host` and plain addresses always work, and `*`
    allows every name."""
    batch_size: Count = 32
    """Photos in a batch, at most the engine's own limit. A CPU computes them in smaller parts, so its memory hardly
    grows with this number: on the demo bundle 17 MB from 8 to 32, for 3 % less processor time a photo."""
    batch_wait_ms: Whole = 40
    """How long an idle engine waits for more photos before it closes a batch. It is short compared to a listing's
    seconds, but enough to fill a batch under load."""
    prepare_threads: Count = 2
    """Threads that decode, and that read photos from events and files. They release the interpreter lock, so one for
    each core keeps an engine busy."""
    fetch_threads: Annotated[int, Meta(ge=1, le=1024)] = 64
    """Photos that are fetched from other hosts at the same time for live events; a quarter as many for retries. These
    threads only wait for hosts, so their number does not depend on the cores."""
    host_connections: Annotated[int, Meta(ge=1, le=1024)] = 4
    """Photos that are fetched from one host at the same time, and for one event. All hosts of a site, such as
    `a.example.com` and `b.example.com`, have four times as many together. If all your photos come from one host of
    yours, 4 connections fetch about 80 photos a second at 50 ms each; give as many as host and engine can serve."""
    fetch_event_s: Seconds = 10.0
    """Longest time for fetching all photos of a live event, from the first one on. An event that needs longer goes to a
    retry topic, so that a slow host does not fill the places of all live events. For the next minute other events from
    its hosts follow it there at once."""
    retry_fetch_event_s: Seconds = 120.0
    """The same for an event of a retry topic: 20 photos of 15 s each, 4 at a time, need 75 s."""
    max_fetched_bytes: Count = 256_000_000
    """Bytes of photos that are fetched or being fetched, and not decoded yet. They stay below this and the photos of
    one event, which are at most 20 of `intake.max_bytes`."""
    decode_processes: Whole = 0
    """Processes that decode photos instead of the preparing threads, 0: none.

    Threads of one process share an interpreter, so many cores decode hardly faster than one. With a GPU, use one
    process for each core that decodes, and one more preparing thread than processes. Use 0 if the engine runs on the
    CPU. If a photo kills a decoding process, that photo is a bad photo and no other photo is lost. All photos of an
    event are fetched before the first one is decoded. Not possible with `nvimgcodec`, whose device belongs to one
    process."""
    jpeg_decoder: JpegDecoderName = "pillow"
    """`nvimgcodec` decodes JPEGs on the GPU. It needs nvidia-nvimgcodec and nvidia-nvjpeg. Pixels differ from Pillow's
    by at most 24 of 255, and the same files are refused. The larger part of a decode then leaves the cores; the resize
    stays there. Set `prepare_threads` to 32 to give it batches."""
    decode_memory_mb: DecodeMegabytes = 256
    """Memory for all photos that are decoded at once, in threads and in processes together. A photo that needs more
    than is free waits; one that needs more than all of it is a bad photo (`over_budget`). 256 allows one photo of 60
    megapixels in most formats, and one of 16 in WebP."""
    settle_threads: Count = 2
    """Threads that write and publish what is ready. While one waits for the servers, another takes the next events."""
    settle_events: Count = 64
    """At most so many events are written and published together. More than a few dozen save nothing."""
    settle_wait_ms: Whole = 0
    """How long fewer than `settle_events` events wait for others. Larger requests cost less CPU time: with a GPU, 250
    events saved a sixth of the time of an event. It needs several times as many `max_in_flight_events` as
    `settle_events`, else everything in flight waits. The default is 0, because freshness matters more."""
    max_in_flight_events: Count = 64
    """At most so many events between poll and commit. With 20 photos of 100 KB each, this bounds memory to about 130
    MB."""
    max_in_flight_retries: Count = 16
    """At most so many retries between poll and commit. Retries have their own budget and preparing thread, so a slow
    photo host, the most frequent cause of a retry, does not delay live listings."""
    max_commit_gap: Count = 10_000
    """At most so many offsets may be finished after an unfinished one. After a crash, all of them are processed
    again."""
    commit_interval_s: Seconds = 1.0
    """Time between two commits of offsets. A crash repeats the events that were finished since the last one."""
    poll_timeout_s: Seconds = 0.1
    """The longest wait of one poll for new events."""
    pause_after_s: Seconds = 5.0
    """A tagger that is full for so long pauses its partitions. For a shorter time it only stops polling."""
    drain_budget_s: Seconds = 25.0
    """From SIGTERM to exit. The grace period of the orchestrator must be longer; its usual default is 30 s."""
    revoke_budget_s: Seconds = 60.0
    """Time to finish what a revoked partition has in hand: a fifth of Kafka's poll interval of 300 s."""
    delivery_timeout_s: Seconds = 30.0
    """The longest wait for the stream to confirm what was published. After that it is published again."""
    in_place_tries: Count = 8
    """Tries of an event before it goes to a retry topic. The pauses between them double from 0.1 s to 5 s, about 9 s in
    total. While the store or the stream does not answer at all, the tagger holds and no try is counted."""
    watch_interval_s: Seconds = 5.0
    """Time between two measurements of the lag and two probes of store and stream, which read and write a few bytes."""
    max_attempts: Count = 3
    """An event that was in hand at so many crashes of the process becomes a dead letter, as it is likely their
    cause."""
    dead_letter_share: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """If more than this share (0 to 1) of the last `dead_letter_window` events became dead letters, the tagger looks
    for a fault of its own, and stops if it finds one: its test photos fail, or a step passed for nobody. 1: never."""
    dead_letter_window: Count = 200
    """The number of newest events that `dead_letter_share` looks at."""
    dead_letter_senders: Count = 20
    """So many senders (sellers, or hosts where no seller is named) must have failed at a step that no test photo
    covers, before the fault counts as ours. One broken host or shop has few."""
    thumbnails: bool = True
    """Whether a small picture of each photo is stored, for the search page."""
    thumbnail_side: Annotated[int, Meta(ge=16, le=512)] = 320
    """Pixels of the longer side. 320 are sharp on phones, and take about 10 KB in the store; 160 take 3 KB. A photo
    that is decoded to at most a quarter more keeps that size."""
    keep_embedding: bool = True
    """Whether a row has the photo's embedding in eight bits, so that a search can order the nearest listings by it. Its
    400 numbers take 400 bytes a photo in SQLite and 536 in Cassandra; a row has about 4 KB. A back-fill follows this
    setting. What is stored already stays as it is until it is tagged again."""
    keep_margins: bool | None = None
    """The old name of `keep_embedding`, which still counts where it is set. Do not set both."""
    publish_predictions: bool = False
    """Also publish the stored listings on `listings.predictions`."""
    hidden_heads: tuple[str, ...] = ()
    """Ids of heads that are neither stored nor published, for example heads that guess a person's gender. A back-fill
    leaves them out too. What is stored already keeps them until it is tagged again."""

    def __post_init__(self) -> None:
        if self.keep_margins is not None:
            _log.warning("tagger.keep_margins is deprecated; write keep_embedding instead")
            msgspec.structs.force_setattr(self, "keep_embedding", self.keep_margins)
            msgspec.structs.force_setattr(self, "keep_margins", None)
        if self.decode_processes and self.jpeg_decoder != "pillow":
            text = (
                f"decode_processes: these processes decode with pillow only, but jpeg_decoder is {self.jpeg_decoder!r}"
            )
            raise ValueError(f"{text}; set decode_processes = 0, or jpeg_decoder = 'pillow'")
