"""Boxes for many photos from few that were drawn by hand: a detector labels, a person corrects, the detector learns.

A project is a folder (`project`). `finder` runs a detector over the photos that nobody has looked at, in this process
or on many workers, and `labels` keeps what it found. `thresholds` says from which score on its boxes can be kept, and
`asking` puts the doubtful photos into the review queue. `table` puts everything that is known together, with the
provenance of every box, and `learning` trains the next detector on it. `formats` reads and writes the files of other
tools. Only `learning` needs torch.
"""

from training.boxes.project import Project

__all__ = ["Project"]
