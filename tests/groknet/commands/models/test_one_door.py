"""`data check`, `train`, `evaluate` and `data pack` give one verdict on every broken table and folder."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

import training.loop.train
from groknet.cli.exits import Exit
from tests.groknet.conftest import Answer, Call
from tests.training.broken_data_sets import CASES, Case
from training.data.photos import load
from training.recipe import Recipe

pytestmark = pytest.mark.slow

RECIPE = """
heads = []
name = "door"
pretrained = false
size = 32
cache_size = 32
threads = 1
[metric]
arcface = 0.0
relational = 0.0
hash = 0.0
memory = 8
[schedule]
steps = 1
warmup = 1
small_size = 32
[[datasets]]
name = "d"
reader = "READER"
folder = "d"
share = 2
"""


def verdict(answer: Answer) -> str:
    """The one sentence of a refusal, without what names the command, or "" for success."""
    if answer.code == Exit.OK:
        return ""
    assert answer.code == Exit.USAGE, answer.err
    assert "unexpected error" not in answer.err
    assert answer.out == ""
    said = [line for line in answer.err.splitlines() if line.startswith("groknet: ")]
    assert len(said) == 1, answer.err
    return re.sub(r"^groknet: (recipe .*?: )?(datasets\[d\]\.folder: )?", "", said[0])


@pytest.fixture
def no_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """`groknet train` checks the recipe and decodes the photos, but the network takes no step."""

    def decode(recipe: Recipe, data: Path, out: Path, **options: object) -> Path:
        load(recipe, data, out / "cache")
        return out

    monkeypatch.setattr(training.loop.train, "train", decode)


@pytest.mark.usefixtures("no_steps")
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_four_commands_say_the_same(case: Case, groknet: Call, bundle: Path, tmp_path: Path) -> None:
    folder, run, shards = tmp_path / "d", tmp_path / "run", tmp_path / "shards"
    folder.mkdir()
    case.make(folder)
    recipe = tmp_path / "door.toml"
    recipe.write_text(RECIPE.replace("READER", case.reader))
    reader = ("--reader", case.reader)
    check = groknet("data", "check", folder, *reader, "--json")
    pack = groknet("data", "pack", folder, *reader, "--out", shards, "--json")
    evaluate = groknet("evaluate", bundle, "--data", folder, *reader, "--split", "Train", "--json")
    train = groknet("train", recipe, "--data", tmp_path, "--out", run)
    said = {verdict(answer) for answer in (check, pack, evaluate, train)}
    assert len(said) == 1, said
    assert all(part in min(said) for part in case.refused)
    if case.read is None:
        assert min(said)
        return
    assert said == {""}
    splits = Counter(split for split, _ in case.read.values())
    assert check.json["photos"] == splits
    assert pack.json["photos"] == splits.total()
    assert groknet("data", "check", shards, "--reader", "webdataset", "--json").json["photos"] == splits
    assert evaluate.json["photos"]["read"] == splits["train"]
    assert Counter(row["split"] for row in json.loads((run / "cache/d.json").read_text())) == splits
