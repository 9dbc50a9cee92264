"""Labels without labelling: photos near a labelled product, and photos that buyers chose for what they had searched.

`label_photos` gives unlabelled photos the product of their nearest labelled photo, where it is near enough; `clean_log`
turns a log of searches, clicks and messages into (query, photo) pairs. Both write a labels.csv of the common columns
with columns that say where each label came from, both count what they dropped and why. No torch: a bundle's engine
gives the embeddings. Boxes come from a file until a detector gives them.
"""

from training.weak.boxes import read_boxes
from training.weak.nearest_product import WeakReport, WeakSettings, label_photos
from training.weak.query_log import LogReport, PairSettings, clean_log
from training.weak.search_chains import ChainSettings

__all__ = [
    "ChainSettings",
    "LogReport",
    "PairSettings",
    "WeakReport",
    "WeakSettings",
    "clean_log",
    "label_photos",
    "read_boxes",
]
