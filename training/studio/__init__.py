"""The product-photo studio: labelled photos of made-up products, drawn in numpy, any number of them.

A product follows from an integer, its identity; a photo from a product, a view, a domain and a seed. Nothing is
downloaded and nothing is kept between calls. The identity ranges do not overlap: what a bundle was trained on
(`TRAIN_IDENTITIES`), what it is measured on (`TEST_IDENTITIES`) and what the demo lists (`DEMO_IDENTITIES`).
Bytes repeat from run to run on one machine; another machine or numpy may round the odd pixel differently. A change
of looks asks for a new bundle: the one in use has learnt these.
"""

from training.studio._dataset import LABEL_COLUMNS, write_dataset
from training.studio._photo import Domain, Photo, render
from training.studio._product import (
    CATEGORIES,
    COLOURS,
    DEMO_IDENTITIES,
    MATERIALS,
    PATTERNS,
    TEST_IDENTITIES,
    TRAIN_IDENTITIES,
    Product,
    make_product,
)
from training.studio._sheet import contact_sheet, sample_of_each

__all__ = [
    "CATEGORIES",
    "COLOURS",
    "DEMO_IDENTITIES",
    "LABEL_COLUMNS",
    "MATERIALS",
    "PATTERNS",
    "TEST_IDENTITIES",
    "TRAIN_IDENTITIES",
    "Domain",
    "Photo",
    "Product",
    "contact_sheet",
    "make_product",
    "render",
    "sample_of_each",
    "write_dataset",
]
