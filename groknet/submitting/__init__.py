"""Events sent to the stream, and what becomes of them: outcomes and dead letters."""
