"""The spellings of splits, and the split that a name decides."""

from __future__ import annotations

import subprocess
import sys

import pytest

from training.readers.splits import known_split, split_by_name


@pytest.mark.parametrize(
    ("word", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("TRAIN_SET", "train"),
        ("training data", "train"),
        ("valid", "val"),
        ("Validation", "val"),
        ("dev-set", "val"),
        ("development", "val"),
        (" Test ", "test"),
        ("testing", "test"),
        ("Gallery", "gallery"),
        ("", None),
        ("set", None),
        ("data", None),
        ("trains", None),
        ("evaluation", None),  # some mean val, some test
        ("holdout", None),
        ("1", None),
    ],
)
def test_known_split(word: str, split: str | None) -> None:
    assert known_split(word) == split


def test_the_split_by_name_is_the_same_in_another_process_and_never_measures_what_was_learnt() -> None:
    names = [f"img/{n}.jpg" for n in range(400)]
    code = (
        "from training.readers.splits import split_by_name;"
        "print(*(split_by_name(f'img/{n}.jpg', .05) for n in range(400)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    usual = dict(zip(names, done.stdout.split(), strict=True))
    assert set(usual.values()) == {"train", "val", "test"}
    for validation in (0.0, 0.01, 0.05, 0.2, 0.49):
        here = {name: split_by_name(name, validation) for name in names}
        assert [n for n in names if here[n] == "test"] == [n for n in names if usual[n] == "test"]
        assert all(usual[n] == "val" for n in names if here[n] == "val") or validation > 0.05
