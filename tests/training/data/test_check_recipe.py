"""A recipe whose folders, columns or trunk are missing is refused with the line to change."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from schemas.errors import ConfigError
from training.data.check_recipe import load_checked
from training.recipe import load_recipe

TEXT = """\
name = "small"  # line 1
size = 64
cache_size = 96

[schedule]
steps = 10
views = 1

[metric]
contrastive = 0.0
relational = 0.0

[[datasets]]
name = "shop"
folder = "shop"
product = "product"
share = 4

[[heads]]
id = "shop.kind"
column = "kind"
datasets = ["shop"]

[[heads]]
id = "shop.part"
column = "product"
source = "partition"
datasets = ["shop"]
repeat = 3

[[heads]]
id = "query"
column = "query"
source = "queries"
kind = "multi_label"
datasets = ["shop"]

[[losses]]
kind = "arcface"
id = "product.arcface"

[[losses]]
kind = "multi_label_arcface"
id = "query.arcface"
head = "query"
weight = 0.5

[[losses]]
kind = "pairwise"
id = "product.pairs"
negative = [0.1, 0.9]

[[losses]]
kind = "spreading"
id = "hash.spread"
on = "hash"

[[losses]]
kind = "standard"
id = "product.standard"
name = "circle"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "small.toml"
    path.write_text(text)
    return path


def write_shop(folder: Path, table: str) -> None:
    """The data set of TEXT. Its photo is never opened."""
    (folder / "shop").mkdir()
    (folder / "shop" / "a.jpg").touch()
    (folder / "shop" / "labels.csv").write_text(table)


@pytest.mark.parametrize(
    ("table", "line", "message"),
    [
        (None, 15, "there is no folder"),
        ("path,kind\na.jpg,mug\n", 16, "no column 'product'"),
        ("path,product\na.jpg,1\n", 21, "no column 'kind'; it has path, product"),
        ("kind,product\nmug,1\n", 15, "`path` column"),
        ("path,kind,product\na.jpg,mug,1,2\n", 15, "line 2: 4 cells"),
        ("path,kind,product,split\na.jpg,mug,1,test\n", 15, "it has 1 test"),
        ("path,kind,product\na.jpg,mug,1\n", 21, "1 labels in column 'kind'"),
    ],
)
def test_data_that_lack_what_is_asked_for_are_refused_before_any_photo(
    tmp_path: Path, table: str | None, line: int, message: str
) -> None:
    path = write(tmp_path, TEXT)
    if table is not None:
        write_shop(tmp_path, table)
    with pytest.raises(ConfigError) as refused:
        load_checked(path, tmp_path)
    assert f"line {line}:" in str(refused.value), str(refused.value)
    assert message in str(refused.value)


def test_everything_that_is_missing_is_said_at_once_without_torch(tmp_path: Path) -> None:
    """In a process of its own, which shows what was imported."""
    write_shop(tmp_path, "path,kinds,product\na.jpg,mug,1\n")
    text = TEXT.replace('folder = "shop"', 'folder = "shop"\nleave_out = "number"').replace(
        "size = 64", 'size = 64\ntrunk = "resnet50e"', 1
    )
    text += '\n[[generic]]\nname = "rest"\nfolder = "nowhere"\n'
    path = write(tmp_path, text)
    code = (
        "import sys; from pathlib import Path; from schemas.errors import ConfigError\n"
        "from training.data.check_recipe import load_checked\n"
        f"try: load_checked(Path({str(path)!r}), Path({str(tmp_path)!r}))\n"
        "except ConfigError as error: print(error)\n"
        "print(sorted({'torch', 'timm', 'scipy', 'sklearn', 'onnxruntime'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    *lines, imported = done.stdout.splitlines()
    assert imported == "[]"
    assert len(lines) == 4, done.stdout
    for line, said in zip(lines, ("'resnet50e' is no model", "'number'", "'kind'", "nowhere"), strict=True):
        assert said in line, line


def test_a_trunk_that_is_not_there_is_refused_with_its_likes(tmp_path: Path) -> None:
    text = TEXT.replace("size = 64", 'size = 64\ntrunk = "resnet50e"', 1)
    with pytest.raises(ConfigError, match=r"line 3: trunk: 'resnet50e' .*; similar ones are resnet50,"):
        load_checked(write(tmp_path, text), tmp_path)


def test_data_that_have_it_all_pass(tmp_path: Path) -> None:
    write_shop(
        tmp_path,
        "path,kind,product\n" + "".join(f"a.jpg,k{n % 2},{('red', 'blue')[n % 2]} mug {n}\n" for n in range(12)),
    )
    assert load_checked(write(tmp_path, TEXT), tmp_path) == load_recipe(tmp_path / "small.toml")


@pytest.mark.parametrize(
    ("metric", "top", "warned"),
    [
        ("", "", True),
        ("hash = 0.0", "", False),
        ("", 'hash_layer = "trained"', False),
        ("", 'hash_layer = "itq"', True),
    ],
)
def test_losses_of_a_hash_layer_that_is_replaced_are_named(tmp_path: Path, metric: str, top: str, warned: bool) -> None:
    text = TEXT.replace('on = "hash"', 'on = "embedding"').replace("[metric]\n", f"[metric]\n{metric}\n")
    (tmp_path / "recipe.toml").write_text(f"{top}\n{text}")
    assert load_recipe(tmp_path / "recipe.toml").trains_a_replaced_hash_layer is warned
