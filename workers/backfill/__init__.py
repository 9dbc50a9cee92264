"""The back-fill: tags the listings of the store again with another bundle, into the hash topic of that bundle's epoch.

`measure` says how much of the store the topic of an epoch covers. `Backfill` adds what is missing. The topic itself
records what was done, so a back-fill that was stopped continues with what is still missing.
"""

from workers.backfill.backfill import Backfill, Progress, build_backfill
from workers.backfill.coverage import Coverage, measure
from workers.backfill.settings import BackfillSettings

__all__ = ["Backfill", "BackfillSettings", "Coverage", "Progress", "build_backfill", "measure"]
