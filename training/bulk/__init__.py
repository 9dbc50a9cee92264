"""The same function on many items: on the cores of this machine, in the order of the items, in memory that stays flat.

`run_on_processes` (in `processes`) is the engine that needs nothing to be installed.
"""

from training.bulk.processes import Died, run_on_processes

__all__ = ["Died", "run_on_processes"]
