from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

import pytest

from groknet.cli.command_table import COMMANDS, PANELS, full_names
from groknet.cli.exits import MEANING, Exit
from tests.groknet.conftest import Call

ROOT = Path(__file__).parents[3]
EVERY = [[], *(name.split() for name in full_names())]


@pytest.mark.parametrize("command", EVERY, ids=" ".join)
def test_every_command_explains_itself(groknet: Call, command: list[str]) -> None:
    answer = groknet(*command, "--help")
    assert answer.code == Exit.OK
    assert "Usage: groknet" in answer.out
    assert answer.err == ""


def test_what_is_not_installed_is_named_with_its_extra(groknet: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [m for m in sys.modules if m.startswith(("deploy", "groknet.commands.operation.services"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert groknet("--help").code == Exit.OK
    assert groknet("bogus").code == Exit.USAGE
    answer = groknet("services", "status")
    assert answer.code == Exit.USAGE
    assert "pip install 'groknet[services]'" in answer.err


def test_a_command_explains_itself_in_full_and_the_list_in_a_line(groknet: Call) -> None:
    assert "superseded" in groknet("submit", "--help").out
    assert "superseded" not in groknet("--help").out
    assert "reinsert: put it at the end" in " ".join(groknet("dlq", "replay", "--help").out.split())


def test_help_fits_a_terminal(groknet: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command has one line in the list, at 80 columns; the help names its panels, and completion."""
    monkeypatch.setenv("COLUMNS", "80")
    text = groknet("--help").out
    for entry in COMMANDS.values():
        assert entry.line in text
    assert [text.index(f" {panel} ") for panel in PANELS] == sorted(text.index(f" {panel} ") for panel in PANELS)
    assert "groknet --install-completion" in text


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_help_tells_every_exit_code(groknet: Call) -> None:
    text = " ".join(groknet("--help").out.split())
    for code, meaning in MEANING.items():
        assert f"{code.value} {meaning}" in text


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["bogus"], Exit.USAGE, "no command bogus"),
        (["serach", "x"], Exit.USAGE, "did you mean search?"),
        (["show", "x", "--jsn"], Exit.USAGE, "--jsn"),
        (["show"], Exit.USAGE, "LISTINGS"),
        (["topics", "--json", "x"], Exit.USAGE, "x"),
        (["dlq", "replay", "--max", "0"], Exit.USAGE, "max"),
        (["show", "--home", "nowhere", "x"], Exit.NOT_FOUND, "nowhere"),
        (["remove", "--home", "nowhere", "x"], Exit.NOT_FOUND, "nowhere"),
        (["dlq", "list", "--home", "nowhere"], Exit.NOT_FOUND, "nowhere"),
        (["submit", "--home", "h", "nothing.jpg"], Exit.NOT_FOUND, "nothing.jpg"),
        (["submit", "--hom", "h", "photo.txt"], Exit.USAGE, "--hom: neither an option"),
        (["submit", "--home", "h", "nothing.ndjson"], Exit.NOT_FOUND, "nothing.ndjson"),
        (["submit", "--home", "h", "."], Exit.NOT_FOUND, "no photo"),
        (["remove", "--home", ".", "not an id"], Exit.USAGE, "not an id"),
        (["search", "--home", ".", "photo.txt"], Exit.NOT_RUNNING, "groknet run all"),
        (["search", "--home", ".", "no.jpg"], Exit.NOT_FOUND, "no.jpg"),
        (["run", "all", "--home", "h", "--bundle", "nobundle"], Exit.USAGE, "nobundle"),
        (["run", "tagger", "--home", "photo.txt/h"], Exit.USAGE, "photo.txt/h"),
        (["evaluate", "nobundle", "--data", "."], Exit.NOT_FOUND, "nobundle"),
        (["train", "no.toml", "--data", ".", "--out", "o"], Exit.NOT_FOUND, "no.toml"),
        (["export", "norun", "b"], Exit.NOT_FOUND, "norun"),
        (["export", ".", "--out", "b"], Exit.USAGE, "--data"),
        (["export", ".", "--out", ".", "--data", ".", "--recipe", "photo.txt"], Exit.USAGE, "no bundle"),
        (["dlq", "show", "--home", ".", "0:99"], Exit.NOT_FOUND, "0:99"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_failure_is_one_sentence_and_its_exit_code(
    groknet: Call, here: Path, command: list[str], code: Exit, said: str
) -> None:
    (here / "photo.txt").write_text("bytes")
    answer = groknet(*command)
    assert answer.code == code, answer.err
    last = answer.err.splitlines()[-1]
    assert last.startswith("groknet: ")
    assert said in last
    assert answer.out == ""


def test_a_wrong_configuration_stops_every_command(groknet: Call, tmp_path: Path) -> None:
    (tmp_path / "groknet.toml").write_text("[tagger]\nbatch_siz = 1\n")
    for command in (["config"], ["show", "x"], ["submit", "x.jpg"], ["run", "all"], ["dlq", "list"]):
        answer = groknet(*command, "--home", tmp_path)
        assert answer.code == Exit.USAGE
        assert "did you mean batch_size?" in answer.err


def test_config_prints_what_is_in_force(groknet: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROKNET__STREAM__URL", "kafka://u:hunter2@h")
    assert groknet("config", "--home", tmp_path, "--json").json["stream"]["url"] == "kafka://u:***@h"
    assert "hunter2" not in groknet("config", "--home", tmp_path).out


def test_topics_are_listed(groknet: Call) -> None:
    assert "listings.uploaded" in groknet("topics").out
    assert groknet("topics", "--json").lines[0]["name"] == "listings.uploaded"


def test_doctor_checks_and_names_the_remedy(groknet: Call, tmp_path: Path, bundle: Path) -> None:
    well = groknet("doctor", "--home", tmp_path, "--bundle", bundle, "--json")
    states = {line["check"]: line["state"] for line in well.lines}
    assert well.code == Exit.OK, well.out
    assert states["bundle"] == states["stream"] == states["store"] == states["python"] == "ok"
    assert states["tagger"] == "note"
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in bundle.iterdir():
        (broken / file.name).write_bytes(file.read_bytes() + (b"x" if file.suffix == ".onnx" else b""))
    ill = groknet("doctor", "--home", tmp_path, "--bundle", broken, "--json")
    found = {line["check"]: line for line in ill.lines}["bundle"]
    assert ill.code == Exit.FAILED
    assert found["state"] == "failed"
    assert "sha256" in found["detail"]
    assert found["remedy"]
    assert list(tmp_path.iterdir()) == [broken]


def test_the_doctor_does_not_call_an_unknown_extra_installed(
    groknet: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "groknet.diagnosis.installation_checks.requires", lambda _: ["numpy>=2", "onnxruntime>=1 ; extra == 'cpu'"]
    )
    found = {line["check"]: line for line in groknet("doctor", "--home", tmp_path, "--json").lines}
    assert found["packages"]["state"] == found["packages [cpu]"]["state"] == "ok"
    assert (found["packages [kafka]"]["state"], found["packages [kafka]"]["remedy"]) == (
        "note",
        "pip install 'groknet[kafka]'",
    )


def test_the_doctor_knows_every_extra_that_runs_something(
    groknet: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of pyproject.toml but `dev` and `bench`, each with its remedy; another platform's is no failure."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    lines = [f'none-{extra} ; extra == "{extra}"' for extra in extras]
    lines.append('tensorrt_rtx>=1.7 ; (sys_platform == "plan9" and platform_machine == "x86_64") and extra == "rtx"')
    monkeypatch.setattr("groknet.diagnosis.installation_checks.requires", lambda _: ["numpy>=2", *lines])
    found = {line["check"]: line for line in groknet("doctor", "--home", tmp_path, "--json").lines}
    for extra in extras.keys() - {"dev", "bench", "rtx"}:
        check = found[f"packages [{extra}]"]
        assert (check["state"], check["remedy"]) == ("note", f"pip install 'groknet[{extra}]'")
        assert f"none-{extra} (" in check["detail"]
    assert (found["packages [rtx]"]["state"], found["packages [rtx]"]["remedy"]) == ("note", "")
    assert "not published for" in found["packages [rtx]"]["detail"]


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a GPU here")
def test_the_doctor_tries_the_jpeg_decoder(groknet: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROKNET__TAGGER__JPEG_DECODER", "nvimgcodec")
    answer = groknet("doctor", "--home", tmp_path, "--json")
    found = {line["check"]: line for line in answer.lines}["jpeg decoder"]
    assert (answer.code, found["state"]) == (Exit.FAILED, "failed")
    assert found["detail"].startswith("jpeg_decoder: nvimgcodec")
    monkeypatch.setenv("GROKNET__TAGGER__JPEG_DECODER", "jpegtran")
    assert "jpeg_decoder" in groknet("config", "--home", tmp_path).err


def test_a_fault_of_ours_is_a_sentence_too(groknet: Call, tmp_path: Path) -> None:
    (tmp_path / "store.db").mkdir()
    answer = groknet("show", "--home", tmp_path, "x")
    assert answer.code in (Exit.FAILED, Exit.NOT_RUNNING)
    assert len(answer.err.splitlines()) == 1


def test_json_is_one_value_a_line(groknet: Call, tmp_path: Path, bundle: Path) -> None:
    for line in groknet("doctor", "--home", tmp_path, "--bundle", bundle, "--json").out.splitlines():
        assert isinstance(json.loads(line), dict)
