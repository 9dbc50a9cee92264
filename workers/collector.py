"""Python's collector of cyclic garbage in a worker that works for days."""

from __future__ import annotations

import gc

_NEW_OBJECTS = 200_000  # that have not died again; 512 events in flight are 50,000, and it is garbage that adds up


def spare_collector() -> None:
    """Call once all is loaded: what is alive then stays, and need not be gone through again and again. A full
    collection takes 55 ms with the libraries of a tagger and is due every thousand events; without them it takes 9.

    From then on the collector looks when so much new is alive that it can no longer be work in hand. Python's own
    threshold of 700 makes it go through whatever is in flight every few events: 60 to 70 µs of each.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)
