"""Locked dependencies with hashes: `run.txt` for a container, `ci.txt` for the tests. pyproject.toml has the ranges.

    pip install --require-hashes -r deploy/locks/run.txt && pip install --no-deps .

A lock names no package index, so that each machine uses its own. `python -m deploy.locks.relock` makes them again, and
`python -m deploy.locks.licences` the list of licences.
"""
