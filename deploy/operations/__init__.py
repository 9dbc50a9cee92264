"""How a running system is watched: recording rules and alerts for Prometheus, and the runbook that explains each alert.

`rules.py` has one template. `python -m deploy.operations rules` prints rules.yaml, and `python -m deploy.operations
runbook` prints docs/operations/runbook.md. With `--scale 60` every window and every `for` is 60 times shorter, for a
test that waits until an alert fires. `panels.py` says what the dashboards show, and `python -m deploy.operations
dashboards` writes them to grafana/. This folder stands in deploy/, because a machine that runs Prometheus needs these
files and nothing else of this project.
"""
