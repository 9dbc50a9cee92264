"""Readers by name, and what is said of names and folders that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import ConfigError
from training.readers import READERS, read
from training.recipe import DataSet, Recipe, Schedule


def test_the_recipe_names_every_reader() -> None:
    for reader in (*READERS, "studio"):
        assert one("shop", reader).datasets[0].reader == reader
    with pytest.raises(ValueError, match=r"datasets\[d\]\.reader: no reader 'sope'; use one of ali.*, csv,.*, studio"):
        one("shop", "sope")


def test_an_unknown_reader_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'imagenet': there are aliproducts"):
        read("imagenet", tmp_path)
    with pytest.raises(ConfigError, match="nowhere is no folder"):
        read("folder", tmp_path / "nowhere")


@pytest.mark.parametrize("reader", sorted(READERS))
def test_a_folder_of_another_layout_is_refused_with_what_is_missing(reader: str, tmp_path: Path) -> None:
    (tmp_path / "readme.md").write_text("nothing here")
    with pytest.raises(ConfigError, match=str(tmp_path)):
        read(reader, tmp_path)


def one(folder: str, reader: str) -> Recipe:
    spec = DataSet(name="d", folder=folder, reader=reader, share=1)
    return Recipe(name="r", size=32, cache_size=32, datasets=[spec], heads=[], schedule=Schedule(steps=1))
