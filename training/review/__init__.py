"""What a person is asked about photos, and what they decided: a queue in a folder, and a page that shows it.

`queue` holds items and decisions. Four kinds of item share it: `boxes` of one photo, groups of `duplicates`, `noise`
among one product's photos, and products to `merge`. `app` serves the page in `page/`.
"""

from training.review.items import Decision, Item, Kind
from training.review.queue import Queue

__all__ = ["Decision", "Item", "Kind", "Queue"]
