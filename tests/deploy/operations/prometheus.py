"""A real Prometheus in a process of its own, with the scaled rules, that finds the workers by their target list."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from deploy.local.system.ports import free_ports
from deploy.operations.rules import JOB, rule_file

START_S = 60.0


class Prometheus:
    """`with Prometheus(folder, [targets_url], scale=60) as watching`: scrapes every second. Of several target lists,
    one that does not answer yet is asked again every second."""

    def __init__(self, folder: Path, targets_urls: Sequence[str], scale: float) -> None:
        self._folder = folder
        (folder / "rules.yaml").write_text(yaml.safe_dump(rule_file(scale)))
        lists = [{"url": url, "refresh_interval": "1s"} for url in targets_urls]
        settings = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": JOB, "http_sd_configs": lists}],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
        self._port = next(free_ports(["127.0.0.1"], folder / "ports", ()))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Prometheus:
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={self._folder}/prometheus.yaml",
                    f"--storage.tsdb.path={self._folder}/tsdb",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdout=log,
                stderr=log,
            )
        until(self._answers, "Prometheus to answer", START_S)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(30)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "prometheus.log").read_text()
        try:
            with urlopen(f"http://127.0.0.1:{self._port}/-/ready", timeout=5):
                return True
        except (URLError, OSError):
            return False

    @property
    def url(self) -> str:
        """Its address, for whoever asks it."""
        return f"http://127.0.0.1:{self._port}"

    def _ask(self, path: str, **query: str) -> Any:
        with urlopen(f"http://127.0.0.1:{self._port}/api/v1/{path}?{urlencode(query)}", timeout=30) as answer:
            return json.load(answer)["data"]

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series of an instant query."""
        return list(self._ask("query", query=expr)["result"])

    def matches(self, selector: str) -> bool:
        """True if the selector has matched a series at any time of this run."""
        return bool(self.query(f"count_over_time({selector}[10m])"))

    def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        return {one["labels"]["alertname"] for one in self._ask("alerts")["alerts"] if one["state"] == "firing"}

    def healthy_targets(self) -> set[str]:
        """The names of the targets whose last scrape succeeded."""
        targets = self._ask("targets", state="active")["activeTargets"]
        return {one["labels"]["name"] for one in targets if one["health"] == "up"}


def until(true: Callable[[], bool], what: str, patience_s: float) -> float:
    """Wait for it; returns the seconds that it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() < began + patience_s, f"not within {patience_s:g} s: {what}"
        time.sleep(0.1)
    return time.monotonic() - began
