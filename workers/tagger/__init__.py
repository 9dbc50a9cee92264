"""The tagger: reads listing events, and writes prediction rows, hash messages, retries and dead letters.

Start at `lane.py`: a lane polls events, hands them to the `pipeline`, and commits their offsets. The pipeline runs the
stages of `workers.stages` in threads, with `queues` between them. `completion` remembers every event until all of its
effects are durable; only then may its offset be committed. `hold` stops the intake while the store or the stream is
away. `build.py` puts a tagger together.
"""

from __future__ import annotations

from workers.tagger.build import build_tagger
from workers.tagger.completion.in_hand import InHand
from workers.tagger.settings import TaggerSettings
from workers.tagger.tagger import GROUP, RETRY_GROUP, Tagger

__all__ = ["GROUP", "RETRY_GROUP", "InHand", "Tagger", "TaggerSettings", "build_tagger"]
