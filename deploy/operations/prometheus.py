"""A Prometheus on this machine that watches the workers of one home, and what it answers.

It is the program of that name, for example of Debian's package; `promtool` comes with it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from deploy.local.system.ports import free_ports
from deploy.operations.__main__ import rules_text
from deploy.operations.rules import JOB

_START_S = 60.0
_ASK_S = 60.0


class PrometheusMissing(RuntimeError):
    """The program is not installed, or did not start."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer: its labels, and (UTC seconds, value) of each point."""

    labels: dict[str, str]
    points: list[tuple[float, float]]


class Prometheus:
    """`with Prometheus(folder, targets_url) as watching`: it scrapes while the block runs."""

    def __init__(self, folder: Path, targets_url: str, *, every_s: int = 5) -> None:
        """`folder`: for its data. `targets_url`: the target list of `groknet run all`. `every_s`: between two scrapes.

        Raises:
            PrometheusMissing: it is not installed.
        """
        if shutil.which("prometheus") is None:
            raise PrometheusMissing("prometheus is not installed; on Debian and Ubuntu: apt install prometheus")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self.every_s = folder, every_s
        (folder / "rules.yaml").write_text(rules_text(), "utf-8")
        (folder / "prometheus.yaml").write_text(
            f"global: {{scrape_interval: {every_s}s, scrape_timeout: {every_s}s, evaluation_interval: {every_s}s}}\n"
            "rule_files: [rules.yaml]\nscrape_configs:\n"
            f"  - job_name: {JOB}\n    http_sd_configs: [{{url: '{targets_url}', refresh_interval: 5s}}]\n"
        )
        self.url = f"http://127.0.0.1:{next(free_ports(['127.0.0.1'], folder / 'ports', ()))}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Prometheus:
        """Start it, and return when it answers. Raises PrometheusMissing if it does not."""
        with (self._folder / "prometheus.log").open("wb") as log:
            command = [
                "prometheus",
                f"--config.file={self._folder}/prometheus.yaml",
                f"--storage.tsdb.path={self._folder}/tsdb",
                f"--web.listen-address={self.url.removeprefix('http://')}",
            ]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.__exit__()
                raise PrometheusMissing(f"prometheus does not answer: see {self._folder}/prometheus.log")
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.url}/-/ready", timeout=5):
                return True
        except (URLError, OSError):
            return False

    def range(self, expr: str, since: float, until: float, step_s: float) -> list[Series]:
        """The answer to a range query; see `range_of`."""
        return range_of(self.url, expr, since, until, step_s)


def range_of(url: str, expr: str, since: float, until: float, step_s: float) -> list[Series]:
    """What the Prometheus at `url` answers to a range query between two times (UTC seconds)."""
    asked = urlencode({"query": expr, "start": since, "end": until, "step": step_s})
    with urlopen(f"{url}/api/v1/query_range?{asked}", timeout=_ASK_S) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return [Series(one["metric"], [(float(at), float(value)) for at, value in one["values"]]) for one in found]
