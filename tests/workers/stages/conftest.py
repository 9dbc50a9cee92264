"""The tagger's rig: a stage is tested within a whole tagger where its neighbours matter."""

from tests.workers.tagger.conftest import make_rig, rig

__all__ = ["make_rig", "rig"]
