"""Who takes part in a change of the epoch: refused by name, waited for by name."""

from __future__ import annotations

import threading

import msgspec
import pytest

from groknet.change_over.participants import refuse_obstacles, wait_for_all
from groknet.cli.exits import CommandError
from tests.groknet.places import NEW, OLD, PATIENCE_S, Place, presence


def test_a_switch_is_refused_by_name_and_waits_by_name(place: Place) -> None:
    said: list[str] = []
    refuse_obstacles(place.store, NEW, said.append)
    assert wait_for_all(place.store, NEW, 0, said.append) == []

    def announce(**given: object) -> None:
        place.store.announce("x", msgspec.json.encode(presence(**given)), 60)

    place.store.announce("newer", b'{"of": "a later version"}', 60)  # what is not known is not asked
    announce(bundles={OLD: "", NEW: "no bundle in /x"})
    with pytest.raises(CommandError, match="tagger of /srv/one on box: no bundle in /x"):
        refuse_obstacles(place.store, NEW, said.append)
    announce(bundles={OLD: "", NEW: ""})
    refuse_obstacles(place.store, NEW, said.append)
    assert [one.home for one in wait_for_all(place.store, NEW, 0, said.append)] == ["/srv/one"]
    assert said == [f"not on epoch {NEW} yet: tagger of /srv/one on box"]

    announce(bundles={OLD: ""})  # it has not seen the other epoch yet
    arrives = threading.Timer(0.5, announce, kwargs={"bundles": {OLD: "", NEW: ""}})
    arrives.start()
    refuse_obstacles(place.store, NEW, said.append)
    arrives.join()
    changes = threading.Timer(0.5, announce, kwargs={"epoch": NEW})
    changes.start()
    assert wait_for_all(place.store, NEW, PATIENCE_S, said.append) == []
    changes.join()
