"""The back-fill: what the store holds, tagged again by another bundle, into the hash topic of that bundle's epoch.

`measure` says how much of the store an epoch's topic covers, `Backfill` adds what it lacks. The topic itself is the
memory of what was done, so that a back-fill that was stopped, or is run again, goes on with what is lacking.
"""

from workers.backfill.backfill import Backfill, Progress, build_backfill
from workers.backfill.coverage import Coverage, measure
from workers.backfill.settings import BackfillSettings

__all__ = ["Backfill", "BackfillSettings", "Coverage", "Progress", "build_backfill", "measure"]
