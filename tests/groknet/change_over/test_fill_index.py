"""Which bundles may be back-filled on a home that finds products in photos."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.detection.combine import combine, read_plan
from groknet.change_over.fill_index import refuse_whole_photos
from groknet.cli.exits import CommandError, Exit
from groknet.home.config import Loaded, load_config
from groknet.home.epochs import Epochs, bundle_at, configured_epochs
from schemas.manifest import load_manifest
from tests.engines.detection.test_combine import detector
from tests.groknet.places import OLD, Place


def joined(place: Place, bundle: Path, name: str) -> Path:
    """A bundle together with a detector."""
    finder, folder = place.folder / "finder", place.folder / name
    if not finder.exists():
        detector(finder)
    folder.mkdir()
    combine(bundle, finder, read_plan(finder, mode="all", padding=0, threshold=0.5, most_boxes=4), folder)
    return folder


def finding(place: Place) -> Loaded:
    """A home whose settings say that products are found."""
    home = place.home("one").home
    detector(place.folder / "finder")
    lines = f'[engine]\nbundle = "{place.old}"\n[detect]\nmode = "all"\nbundle = "{place.folder / "finder"}"\n'
    home.config_file.write_text(lines)
    return load_config(home, {})


def test_a_bundle_without_a_detector_is_refused_where_the_settings_or_the_epoch_in_force_find_products(
    place: Place,
) -> None:
    loaded = finding(place)
    with pytest.raises(CommandError, match=r"detect\.mode = 'all'.*bundle with-detector.*--whole-photos") as refused:
        refuse_whole_photos(loaded, configured_epochs(loaded), place.new)
    assert refused.value.code == Exit.USAGE
    plain = place.home("two")
    active = joined(place, place.old, "active")
    epoch = load_manifest(active).epoch
    known = Epochs(active=epoch, bundles={epoch: bundle_at(active), OLD: bundle_at(place.old)})
    with pytest.raises(CommandError, match=f"the bundle of epoch {epoch}, which is in force, has a detector"):
        refuse_whole_photos(plain, known, place.new)
    refuse_whole_photos(plain, known, place.old)  # a known epoch: somebody decided on it before
    refuse_whole_photos(plain, known, joined(place, place.new, "next"))


def test_a_home_of_whole_photos_takes_any_bundle(place: Place) -> None:
    plain = place.home("one")
    refuse_whole_photos(plain, configured_epochs(plain), place.new)
    refuse_whole_photos(plain, configured_epochs(plain), joined(place, place.new, "next"))
