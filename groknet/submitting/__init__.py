"""Send events to the stream, and follow them: outcomes and dead letters."""
