"""Queues between the stages, which hand over several items at a time."""
