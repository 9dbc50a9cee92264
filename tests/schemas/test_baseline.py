"""The baseline of a bundle: what was written is read, a bundle without it has none, a damaged one is refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engines.recognition import load_bundle
from schemas.baseline import BASELINE_FILE, NONE, OTHER, Baseline, HeadBaseline, load_baseline, write_baseline
from schemas.errors import BundleRefused
from schemas.manifest import load_manifest
from tests.engines.tiny_bundle import write_tiny_bundle

MADE = Baseline(
    model_version="tiny-1",
    photos={"shop": 40},
    heads={"colour": HeadBaseline(labels={"red": 0.5, OTHER: 0.3, NONE: 0.2}, scores=[0.25, 0.75])},
)


def test_it_is_read_as_written_and_changes_only_the_checksums(tmp_path: Path) -> None:
    before = write_tiny_bundle(tmp_path)
    assert load_baseline(tmp_path) is None
    after = write_baseline(tmp_path, MADE)
    assert load_baseline(tmp_path) == MADE
    assert after == load_manifest(tmp_path)
    assert msgspec.structs.replace(after, files=before.files) == before
    assert after.files.items() - before.files.items() == {(BASELINE_FILE, after.files[BASELINE_FILE])}
    assert load_bundle(tmp_path).manifest == after


def test_a_file_that_the_manifest_does_not_name_is_no_baseline(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path)
    (tmp_path / BASELINE_FILE).write_text("left over")
    assert load_baseline(tmp_path) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"model_version": "m", "photos": {}, "heads": {}, "more": 1}',
        '{"model_version": "m", "photos": {}, "heads": {"h": {"labels": {"(none)": 2, "(other)": 0}, "scores": [1]}}}',
        '{"model_version": "m", "photos": {}, "heads": {"h": {"labels": {"a": 1}, "scores": [1]}}}',
    ],
)
def test_a_file_of_another_form_is_refused_with_the_remedy(tmp_path: Path, text: str) -> None:
    write_tiny_bundle(tmp_path)
    write_baseline(tmp_path, MADE)
    (tmp_path / BASELINE_FILE).write_text(text)
    with pytest.raises(BundleRefused, match="groknet bundle baseline"):
        load_baseline(tmp_path)
    with pytest.raises(BundleRefused, match="sha256"):
        load_bundle(tmp_path)
