"""Locked dependencies with hashes. pyproject.toml has the ranges.

`run.txt` is for a container, `cuda.txt` for one with an NVIDIA GPU, `image.txt` for what builds them, `ci.txt` for the
tests.

    pip install --require-hashes -r deploy/locks/run.txt && pip install --no-deps .

A lock names no package index, so that each machine uses its own. `python -m deploy.locks.relock` makes them again, and
`python -m deploy.locks.licences` the list of licences.
"""
