"""What an operator may set on a tagger; every bound has a name, a default and the reason for it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from engines.pixels import JpegDecoderName
from schemas.units import Count, Seconds, Whole


class TaggerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[tagger]` of the configuration."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """Health and metrics; 0 takes a free port, since several taggers may share a machine."""
    batch_size: Count = 8
    """Photos a batch, at most the engine's own limit; the fastest on a CPU, whose cache 32 outgrow. GPUs want 32."""
    batch_wait_ms: Whole = 40
    """A photo waits this long for company: far below the seconds promised, enough to fill a batch under load."""
    prepare_threads: Count = 2
    """Fetching and decoding; they leave the interpreter lock while they do, so one a core keeps an engine fed."""
    decode_processes: Whole = 0
    """Processes of one thread each that decode in place of the preparing threads, which then fetch, and wait for them:
    one thread more than processes keeps these busy. Threads of one process share an interpreter, and many cores decode
    hardly faster so than one: where a GPU is fed, a process for each core that is to decode. 0 where an engine on the
    CPU has the cores. A photo of which such a process dies is a bad photo, and harms no other. All photos of an event
    are fetched before one is decoded. Not with `nvimgcodec`, whose device belongs to one process."""
    jpeg_decoder: JpegDecoderName = "pillow"
    """`nvimgcodec` decodes JPEGs on the GPU, where nvidia-nvimgcodec and nvidia-nvjpeg are installed: pixels within 24
    of 255 of Pillow's, the same files refused. It takes the larger part of a decode off the cores; the resize stays
    theirs. `prepare_threads` of 32 then give it batches."""
    settle_threads: Count = 2
    """Each writes and publishes all that is ready at once; while one waits for servers, another takes the next."""
    settle_events: Count = 64
    """Events that are written and published together at most; beyond some dozens nothing is saved any more."""
    settle_wait_ms: Whole = 0
    """Fewer than `settle_events` wait this long for company. Requests of many events cost a processor less than those
    of few: 250 took a sixth off an event where a GPU is fed. It needs `max_in_flight_events` of several times
    `settle_events`, or all that is in flight waits; so none here, where freshness counts."""
    max_in_flight_events: Count = 64
    """Events between poll and commit; times 20 photos of 100 KB it bounds memory near 130 MB at worst."""
    max_in_flight_retries: Count = 16
    """Events of the retry topics between poll and commit. They have a budget and a preparing thread of their own, so
    that a slow host of photos, which is why most of them are there, holds up no live listing."""
    max_commit_gap: Count = 10_000
    """Offsets that may be finished beyond one that is not; a longer gap would be redone after a crash."""
    commit_interval_s: Seconds = 1.0
    poll_timeout_s: Seconds = 0.1
    pause_after_s: Seconds = 5.0
    """Full for this long pauses the partitions; shorter spells are waited out without a word to the broker."""
    drain_budget_s: Seconds = 25.0
    """From SIGTERM to exit; an orchestrator's grace period must be longer (30 s is its usual default)."""
    revoke_budget_s: Seconds = 60.0
    """To finish what a moved partition has in hand: a fifth of Kafka's poll interval of 300 s."""
    delivery_timeout_s: Seconds = 30.0
    in_place_tries: Count = 8
    """Tries of an event that fails alone, 0.1 s doubling to 5 s between them (some 9 s in all), before a retry topic is
    used. While the store or the stream as a whole does not answer, the tagger holds, and no try is counted."""
    watch_interval_s: Seconds = 5.0
    """Between two looks at lag and at whether store and stream answer: a read and a write of a few bytes each."""
    max_attempts: Count = 3
    """An event in hand at this many crashes of the process is taken for their cause and becomes a dead letter."""
    dead_letter_share: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """More dead letters than this among the last `dead_letter_window` events stop the worker: sellers' photos fail
    by the percent; when half fail, a host list, a bundle or a network is wrong. 1 turns it off."""
    dead_letter_window: Count = 200
    thumbnails: bool = True
    thumbnail_side: Annotated[int, Meta(ge=16, le=512)] = 160
    publish_predictions: bool = False
    """Also publish what is stored on `listings.predictions`."""

    def __post_init__(self) -> None:
        if self.decode_processes and self.jpeg_decoder != "pillow":
            text = f"decode_processes: decodes with pillow alone, and jpeg_decoder is {self.jpeg_decoder!r}"
            raise ValueError(f"{text}; set decode_processes = 0, or jpeg_decoder = 'pillow'")
