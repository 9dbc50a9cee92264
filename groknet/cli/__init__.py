"""What every command shares: the command line itself, options, exit codes, and what a person sees."""

from groknet.cli.app import build_app, main, run

__all__ = ["build_app", "main", "run"]
