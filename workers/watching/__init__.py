"""What operators see of a worker: metrics, and the logs of the clients."""
