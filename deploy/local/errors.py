"""What goes wrong with the services, in one sentence that names the remedy."""

from __future__ import annotations


class ServicesError(Exception):
    """The services cannot be started, found or stopped."""


class ChoiceError(ServicesError):
    """What was asked for cannot be had on this home or machine; nothing was changed."""
