"""The HTTP server of a worker: limits of connections and requests, problems, health and metrics."""
