"""Measures every claim about speed and accuracy: one command for each, compared with peers in the same run.

A benchmark prints the machine that it ran on. No other room imports this one, and no test depends on a measured time.
`docs/benchmarks/README.md` has all figures.
"""
