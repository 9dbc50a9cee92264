"""The tagger: listing events in; prediction rows, hash messages, retries and dead letters out.

Stages with bounded queues, a batcher across events and partitions, effects in one fixed order, offsets that are
committed only behind durable effects. How photos are fetched is `workers.intake`'s, how pixels are made and the
network runs `engines`', where rows and messages go `workers.stores`' and `workers.streams`' concern.
"""

from __future__ import annotations

from workers.tagger.build import build_tagger
from workers.tagger.completion.in_hand import InHand
from workers.tagger.settings import TaggerSettings
from workers.tagger.tagger import GROUP, RETRY_GROUP, Tagger

__all__ = ["GROUP", "RETRY_GROUP", "InHand", "Tagger", "TaggerSettings", "build_tagger"]
