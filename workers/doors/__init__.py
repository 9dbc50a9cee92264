"""What every HTTP door of a worker has: limits of connections and requests, problems, health and metrics."""
