"""What all benchmarks share: options, and where figures go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.report import DEMO, page, parser, table, write_page, write_result


def test_options() -> None:
    made = parser("what it measures", tells="page", bundle=True, repeats=5)
    assert vars(made.parse_args([])) == {"bundle": DEMO, "repeats": 5, "out": None}
    assert (DEMO / "manifest.json").is_file()
    assert vars(parser(None, tells="result").parse_args(["--json"])) == {"json": True}
    with pytest.raises(SystemExit):
        parser(None, tells="result").parse_args(["--repeats", "2"])


def test_a_page_goes_to_its_file_or_to_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = page("Title", "python -m it", "numpy 2", table(["a", "b"], [[1, 2]]))
    assert text.startswith("# Title\n\n`python -m it`, ")
    assert text.endswith("| a | b |\n| --- | --- |\n| 1 | 2 |\n")
    write_page(text, None)
    write_page(text, tmp_path / "new" / "page.md")
    assert capsys.readouterr().out == (tmp_path / "new" / "page.md").read_text(encoding="utf-8") == text


def test_results_for_machines_and_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    result = {"images": 3, "ms": {"decode": 1.5, "engine": 2.0}}
    write_result(result, as_json=True)
    assert json.loads(capsys.readouterr().out) == result
    write_result(result, as_json=False)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["images", "3"], ["ms", "decode", "1.5"], ["ms", "engine", "2.0"]]
