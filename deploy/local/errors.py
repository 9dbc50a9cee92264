"""The errors of the services. Each is one sentence that names the remedy."""

from __future__ import annotations


class ServicesError(Exception):
    """The services cannot be started, found or stopped."""


class ChoiceError(ServicesError):
    """This home or machine cannot do what was asked for. Nothing was changed."""
