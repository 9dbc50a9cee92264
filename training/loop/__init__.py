"""The training loop: `train.py` is read from top to bottom, and the other modules are what a step needs."""
