"""What operators see of a worker: metrics, traces, and the logs of the clients."""
