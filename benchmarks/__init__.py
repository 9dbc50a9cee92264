"""What proves the claims: speed and accuracy, side by side with peers, one command each, as ratios measured in one run.

A benchmark prints the machine it ran on. Nothing imports from here, and no test depends on a time measured here.
"""
