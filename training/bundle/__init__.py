"""From a checkpoint to a bundle that can be served: hash layer, graph, calibration, measured card."""
