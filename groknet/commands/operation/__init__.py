"""Commands that run and change an installation."""
