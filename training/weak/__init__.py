"""Labels without labelling work: from similar labelled photos, and from what buyers searched for and chose.

`label_photos` labels unlabelled photos with their nearest product, if it is near enough. `clean_log` turns a log of
searches, clicks and messages into (query, photo) pairs. Both write a labels.csv with the common columns and with
columns that say where each label came from, and both count what they drop and why. They need no torch: a bundle's
engine computes the embeddings. Boxes come from a file, or from a detector (`detect_boxes`).
"""

from training.weak.boxes import read_boxes
from training.weak.detected import detect_boxes
from training.weak.nearest_product import WeakReport, WeakSettings, label_photos, unlabelled
from training.weak.query_log import LogReport, PairSettings, clean_log
from training.weak.search_chains import ChainSettings

__all__ = [
    "ChainSettings",
    "LogReport",
    "PairSettings",
    "WeakReport",
    "WeakSettings",
    "clean_log",
    "detect_boxes",
    "label_photos",
    "read_boxes",
    "unlabelled",
]
