"""Readers turn the ways in which data sets lie on a disk into rows with common columns.

A reader takes a data set's folder and gives one row for each photo: `path` (relative to the folder), `split` (train,
val, test), the identity in `product` if there is one, and the layout's own columns. It opens no photo; `read_photo`
does, from a file or from inside a tar shard. What a reader cannot use is counted by name with the reason, and never
ends it. `write_shards` packs any data set into tar shards.

To add a reader, write a module in `layouts/` and name it in `registry.py`. Nothing here decodes, trains or needs torch.
"""

from training.readers.found_rows import Found
from training.readers.photo_bytes import read_photo
from training.readers.registry import READERS, Reader, read
from training.readers.shards import Packed, write_shards

__all__ = ["READERS", "Found", "Packed", "Reader", "read", "read_photo", "write_shards"]
