from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from groknet.home.config import demo_bundle, hide_secrets, load_config
from groknet.home.config_text import as_toml
from groknet.home.paths import Home
from schemas.errors import ConfigError


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_without_a_file_everything_lies_in_home(home: Home) -> None:
    config = load_config(home, {}).config
    assert config.stream.url == f"sqlite:///{home.root}/stream.db"
    assert config.store.url == f"sqlite:///{home.root}/store.db"
    assert config.engine.bundle == str(demo_bundle())
    assert config.intake.allowed_roots == (str(home.root / "uploads"),)


def test_the_environment_wins_over_the_file_key_by_key(home: Home) -> None:
    home.config_file.write_text('[tagger]\nbatch_size = 4\nbatch_wait_ms = 7\n[engine]\nbundle = "mine"\n')
    environ = {
        "GROKNET__TAGGER__BATCH_SIZE": "9",
        "GROKNET__TAGGER__THUMBNAILS": "false",
        "GROKNET__ENGINE__THREADS": "3",
        "GROKNET__SEARCH__INDEXER_URLS": '["http://a:1", "http://b:2"]',
        "GROKNET_HOME": "/elsewhere",
        "OTHER__TAGGER__BATCH_SIZE": "1",
    }
    loaded = load_config(home, environ)
    tagger = loaded.config.tagger
    assert (tagger.batch_size, tagger.batch_wait_ms, tagger.thumbnails) == (9, 7, False)
    assert loaded.config.engine.threads == 3
    assert loaded.config.engine.bundle == str(home.root / "mine")
    assert loaded.config.search.indexer_urls == ["http://a:1", "http://b:2"]
    assert loaded.origin["tagger.batch_size"] == "environment"
    assert loaded.origin["tagger.batch_wait_ms"] == "file"


def test_an_old_name_in_the_file_and_the_new_one_in_the_environment_are_refused(home: Home) -> None:
    home.config_file.write_text("[tagger]\nkeep_margins = false\n")
    assert not load_config(home, {}).config.tagger.keep_embedding
    with pytest.raises(ConfigError, match=r"environment over .*remove tagger\.keep_margins"):
        load_config(home, {"GROKNET__TAGGER__KEEP_EMBEDDING": "true"})


def test_kafka_and_cassandra_are_two_urls(home: Home) -> None:
    home.config_file.write_text('[stream]\nurl = "kafka://broker:9092"\n[store]\nurl = "cassandra://db/groknet"\n')
    config = load_config(home, {}).config
    assert (config.stream.url, config.store.url) == ("kafka://broker:9092", "cassandra://db/groknet")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tagger]\nbatch_siz = 4", "unknown key tagger.batch_siz; did you mean batch_size?"),
        ("[taggr]\nbatch_size = 4", "unknown section [taggr]; did you mean tagger?"),
        ("[stream]\nqqqq = 4", "unknown key stream.qqqq; there are url"),
        ("tagger = 4", "tagger is a section"),
        ("[tagger]\nkeep_embedding = true\nkeep_margins = false", "both are set; remove tagger.keep_margins"),
        ('[tagger]\ndecode_processes = 2\njpeg_decoder = "nvimgcodec"', "set decode_processes = 0, or jpeg_decoder"),
        ('[tagger]\nbatch_size = "4"', "tagger.batch_size: Expected `int`, got `str`"),
        ("[tagger]\nbatch_size = 0", "tagger.batch_size: Expected `int` >= 1"),
        ('[intake]\nallowed_roots = ["rel"]', "allowed_roots: 'rel' is not absolute"),
        ("[tagger", "cannot be read as TOML"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(home: Home, text: str, said: str) -> None:
    home.config_file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(home, {})
    assert said in str(caught.value)
    assert str(home.config_file) in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"GROKNET__TAGGER__BATCH": "1"}, "unknown key tagger.batch; did you mean batch_size?"),
        ({"GROKNET__TAGGER__BATCH_SIZE": "many"}, "tagger.batch_size: Expected `int`, got `str`"),
        ({"GROKNET__SEARCH__INDEXER_URLS": "[http"}, "starts like JSON and is not"),
        ({"GROKNET__TAGGER": "1", "GROKNET__TAGGER__BATCH_SIZE": "1"}, "not both"),
        ({"GROKNET__TAGGER": "1"}, "tagger is a section"),
    ],
)
def test_what_is_wrong_in_the_environment_is_named(home: Home, environ: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(home, environ)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("url", "kafka://user:hunter2@h:9092", "kafka://user:***@h:9092"),
        ("url", "kafka://h:9092?sasl_password=hunter2&acks=all", "kafka://h:9092?sasl_password=***&acks=all"),
        ("url", "cassandra://:hunter2@h/k", "cassandra://:***@h/k"),
        ("url", "cassandra://u:p@ss@h/k", "cassandra://u:***@h/k"),
        ("url", "sqlite:////a/b.db", "sqlite:////a/b.db"),
        ("urls", ["http://a:1", "http://u:hunter2@b"], ["http://a:1", "http://u:***@b"]),
        ("api_token", "hunter2", "***"),
        ("tokens", ["hunter2-hunter2-hunter2"], ["***"]),
        ("port", 8080, 8080),
    ],
)
def test_secrets_are_hidden(key: str, value: object, shown: object) -> None:
    assert hide_secrets(key, value) == shown


def test_what_is_printed_can_be_read_back(home: Home) -> None:
    home.config_file.write_text('[tagger]\nbatch_size = 4\n[search]\nindexer_urls = ["http://a:1"]\n')
    loaded = load_config(home, {})
    text = as_toml(loaded)
    assert "batch_size = 4  # file" in text
    assert "# threads is not set" in text
    home.config_file.write_text(text)
    assert load_config(home, {}).config == loaded.config
    assert tomllib.loads(text)["search"]["indexer_urls"] == ["http://a:1"]
