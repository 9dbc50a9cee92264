"""Sends events to the stream, and follows them to their outcomes and dead letters."""
