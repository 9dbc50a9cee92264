"""Real servers for every test that needs one, stopped whatever happens; marks; the time that each part took."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from deploy.local import Services, ServicesSettings
from deploy.local.system.ports import free_ports
from tests.parts import part_of, read_parts, table

# Timing decides no test: on busy cores an example may take any time.
settings.register_profile("groknet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("groknet")

QUICK_JAVA = ("-XX:TieredStopAtLevel=1",)  # a server that lives for seconds need not be optimised


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs a browser. GROKNET_SKIP_SERVICES=1 deselects what starts servers; nothing else does."""
    for item in items:
        if item.nodeid.startswith("tests/browser/"):
            item.add_marker("browser")
    if os.environ.get("GROKNET_SKIP_SERVICES") != "1":
        return
    chosen = [item for item in items if item.get_closest_marker("services")]
    config.hook.pytest_deselected(items=chosen)
    items[:] = [item for item in items if item not in chosen]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what each part took. A few tests alone are no part, so this is for runs of a minute or more. Tests that ran
    side by side take longer together than their part did."""
    if terminalreporter.config.getoption("numprocesses", None):
        return
    took_s: dict[str, float] = read_parts(os.environ.get("GROKNET_PARTS", ""))
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                part = part_of(report.nodeid, report.keywords)
                took_s[part] = took_s.get(part, 0.0) + report.duration
    if sum(took_s.values()) >= 60:
        terminalreporter.section("seconds by part")
        for line in table(took_s):
            terminalreporter.write_line(line)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """GROKNET_REQUIRE_SERVICES=1 and GROKNET_REQUIRE_PROMETHEUS=1, for a gate: a test of real services, or of a real
    Prometheus, that was skipped fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    required = {mark for mark in ("services", "prometheus") if os.environ.get(f"GROKNET_REQUIRE_{mark.upper()}") == "1"}
    if not required or reporter is None:
        return
    skipped = [report.nodeid for report in reporter.stats.get("skipped", ()) if required & set(report.keywords)]
    if skipped:
        reporter.write_line(f"required, but not run: {', '.join(skipped)}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """One broker and one node, open to all. GROKNET_SERVICES_HOME=DIR, for quick rounds, takes those that run there;
    GROKNET_SERVICES_BROKERS=3 and GROKNET_SERVICES_NODES=3 start three of a kind (4 GB of memory for both), on which
    topics and keyspaces have three copies."""
    home = os.environ.get("GROKNET_SERVICES_HOME")
    if home:
        yield Services(Path(home))
        return
    folder = tmp_path_factory.mktemp("services")
    # 9092 would go to another run while a test restarts the broker
    port = next(free_ports(["127.0.0.1"], folder / "clients", ()))
    brokers, nodes = (int(os.environ.get(f"GROKNET_SERVICES_{kind}", "1")) for kind in ("BROKERS", "NODES"))
    settings = ServicesSettings(brokers=brokers, nodes=nodes, kafka_port=port, java_options=QUICK_JAVA)
    with Services(folder, settings) as running:
        yield running


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """One broker and one node that ask for a password and speak TLS alone."""
    settings = ServicesSettings(
        kafka_protocol="SASL_SSL", cassandra_auth=True, cassandra_tls=True, java_options=QUICK_JAVA
    )
    with Services(tmp_path_factory.mktemp("secured"), settings) as running:
        yield running
