"""The product-photo studio: any number of labelled photos of invented products, rendered in numpy.

An integer, the identity, decides a product. A product, a view, a domain and a seed decide a photo. Nothing is
downloaded, and nothing is kept between calls. Three ranges of identities do not overlap: those that a bundle is trained
on (`TRAIN_IDENTITIES`), those that it is measured on (`TEST_IDENTITIES`) and those of the demo (`DEMO_IDENTITIES`).
One machine always gives the same bytes; another machine or numpy version may round a few pixels differently. Whoever
changes how photos look must train a new bundle, because the current one has learnt the current look.

Modules and folders with an underscore are private to the studio; everything public is named here.
"""

from training.studio._dataset import LABEL_COLUMNS, write_dataset
from training.studio._in_view import InView
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
from training.studio._several import ScenePhoto, render_several
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
    "InView",
    "Photo",
    "Product",
    "ScenePhoto",
    "contact_sheet",
    "make_product",
    "render",
    "render_several",
    "sample_of_each",
    "write_dataset",
]
