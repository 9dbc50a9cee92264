"""The back-fill: tags the listings of the store again with another bundle, into the hash topic of that bundle's epoch.

`measure` says how much of the store the topic of an epoch covers. `Backfill` adds what is missing. The topic itself
records what was done, so a back-fill that was stopped continues with what is still missing. `Tagging` computes the
listings: in the process of the `Backfill`, or by `tag_part` in many.
"""

from workers.backfill.backfill import Backfill, Progress, build_backfill
from workers.backfill.coverage import Coverage, measure
from workers.backfill.in_workers import Setup, tag_part
from workers.backfill.settings import BackfillSettings
from workers.backfill.tagging import Tag, Tagging, build_tagging

__all__ = [
    "Backfill",
    "BackfillSettings",
    "Coverage",
    "Progress",
    "Setup",
    "Tag",
    "Tagging",
    "build_backfill",
    "build_tagging",
    "measure",
    "tag_part",
]
