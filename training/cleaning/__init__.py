"""From crawled photos to clean products: duplicates out, wrong photos out or to their product, split products merged.

`Cleaning` (in `steps`) runs the steps over a `Source`. Every step writes `Marks`, which say what was decided about
which photo and why. Nothing is deleted, every mark can be undone, and later steps read the marks of earlier ones.

- `source` lists the photos, as `packed_rows`
- `copies`: fingerprints of photos; `near_pairs` proposes pairs by perceptual `hashes`, `alignment` decides;
  `small_groups`, `large_groups` and `flat_colours` choose the photo that stays
- `products`: `noise` is hierarchical DBSCAN with radii chosen from the data; `merging` goes by the `confusions` of a
  classifier, from a high threshold downwards, and by `mixing`, which measures how far two labels' photos are apart;
  `relabelling` finds the product of a wrong photo; `vectors` keeps embeddings
- `table` writes labels.csv, which training takes; `report` shows the photos behind the marks
- `review` asks a person about the marks, through the queue of `training/review`

A bundle's engine computes the embeddings; nothing here needs torch.
"""

from training.cleaning.copies.duplicates import DuplicateSettings
from training.cleaning.marks import Mark, Marks
from training.cleaning.products.merging import MergeSettings
from training.cleaning.products.noise import NoiseSettings
from training.cleaning.products.relabelling import RelabelSettings
from training.cleaning.products.vectors import Embedder, by_workers, in_this_process
from training.cleaning.report import SECONDS, write_report
from training.cleaning.review import Reviewed, review_items, take_decisions
from training.cleaning.source import Source, open_source
from training.cleaning.steps import Cleaning, account
from training.cleaning.table import write_labels, write_marks

__all__ = [
    "SECONDS",
    "Cleaning",
    "DuplicateSettings",
    "Embedder",
    "Mark",
    "Marks",
    "MergeSettings",
    "NoiseSettings",
    "RelabelSettings",
    "Reviewed",
    "Source",
    "account",
    "by_workers",
    "in_this_process",
    "open_source",
    "review_items",
    "take_decisions",
    "write_labels",
    "write_marks",
    "write_report",
]
