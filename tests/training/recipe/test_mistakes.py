"""Every mistake of a text is named, each once, and a good text has none: against a text with planted mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from schemas.errors import ConfigError
from training.recipe import Recipe, load_recipe
from training.recipe.mistakes import all_mistakes


class Wheel(msgspec.Struct, forbid_unknown_fields=True, tag_field="kind", tag="wheel"):
    spokes: Annotated[int, Meta(ge=3)]
    colour: str = "black"


class Bell(msgspec.Struct, forbid_unknown_fields=True, tag_field="kind", tag="bell"):
    loud: bool = True


class Bike(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    parts: list[Wheel | Bell]
    gears: int = 1

    def __post_init__(self) -> None:
        if self.gears > 30:
            raise ValueError("gears: too many\nname: unlikely")


GOOD = """
name = "b"
[[parts]]
kind = "wheel"
spokes = 20
[[parts]]
kind = "bell"
"""


def test_a_good_text_has_no_mistake() -> None:
    assert all_mistakes(GOOD, Bike) == []


def test_every_planted_mistake_is_named_once() -> None:
    text = GOOD.replace('name = "b"', "name = 3\ngear = 2").replace("spokes = 20", "spokes = 1\ncolour = 5")
    text += "loud = 1\n[[parts]]\nkind = 'horn'\n[[parts]]\nkind = 'wheel'\n"
    found = all_mistakes(text, Bike)
    wanted = [
        ("unknown field `gear`; did you mean `gears`?", "`$`"),
        ("Expected `str`", "`$.name`"),
        ("`int` >= 3", "`$.parts[0].spokes`"),
        ("Expected `str`", "`$.parts[0].colour`"),
        ("Expected `bool`", "`$.parts[1].loud`"),
        ("'horn'", "`$.parts[2].kind`"),
        ("missing required field `spokes`", "`$.parts[3]`"),
    ]
    assert len(found) == len(wanted)
    for text, place in wanted:
        assert sum(text in one and one.endswith(place) for one in found) == 1, (text, found)


def test_what_a_struct_checks_itself_has_a_line_for_each_mistake() -> None:
    assert all_mistakes("gears = 31\n" + GOOD, Bike) == ["gears: too many", "name: unlikely"]


@pytest.mark.parametrize("text", ["name = = 3", "parts = 3\nname = 'b'", "name = 'b'\nparts = [3]"])
def test_a_text_of_another_form_is_refused(text: str) -> None:
    assert len(all_mistakes(text, Bike)) == 1


def test_a_recipe_says_all_its_mistakes_with_their_lines(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "training" / "recipes" / "demo.toml").read_text()
    assert all_mistakes(text, Recipe) == []
    bad = (
        text.replace("size = 224", "size = 2240", 1)
        .replace("warmup = 60", "warmups = 60")
        .replace("steps = 1660\n", "")
    )
    (tmp_path / "bad.toml").write_text(bad)
    with pytest.raises(ConfigError) as refused:
        load_recipe(tmp_path / "bad.toml")
    lines = str(refused.value).splitlines()
    places = [
        next(i for i, line in enumerate(bad.splitlines(), 1) if what in line)
        for what in ("size = 2240", "[sch", "warmups")
    ]
    assert [f"line {place}:" in line for place, line in zip(places, lines, strict=True)] == [True] * 3, lines


def test_what_does_not_fit_together_is_said_at_once(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "training" / "recipes" / "demo.toml").read_text()
    bad = text.replace('datasets = ["clothing"]', 'datasets = ["cloths"]').replace(
        'finer = "grocery.product"', 'finer = "x"'
    )
    (tmp_path / "bad.toml").write_text(bad)
    with pytest.raises(ConfigError) as refused:
        load_recipe(tmp_path / "bad.toml")
    finer, cloths = str(refused.value).splitlines()
    assert "finer" in finer
    assert "no data set 'cloths'" in cloths
