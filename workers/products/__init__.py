"""Products: finds listings of one thing by near copies of their photos, and gives them one id that stays.

`worker` reads the hash topic of an epoch. `links` says which listings share photos, `attributes` what speaks against
one product, `stars` divides linked listings into products, `naming` gives the ids, and `grouping` does all of this for
what has changed. `keeping` publishes the result on `listings.products` and writes it to the store, from which `shelf`
reads it at the next start.
"""

from workers.products.settings import ProductsSettings
from workers.products.worker import ProductsWorker, build_products

__all__ = ["ProductsSettings", "ProductsWorker", "build_products"]
