"""The training loop of detectors. `train.py` shows all of it."""
