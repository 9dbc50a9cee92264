"""Detectors: accuracy, cost, the labelling loop, and searches of cluttered photos."""
