"""Readers: how photos and labels lie on a disk, one module a layout, turned into rows of the common columns.

A reader takes a data set's folder and gives a row a photo: `path` (relative to the folder), `split` (train, val,
test), the identity in `product` where there is one, and the layout's own columns. It opens no photo: `read_photo` does,
from a file or from the middle of a tar shard. What a reader cannot use is counted by name with the reason, never fatal.
`write_shards` packs any of them into tar shards.
Nothing here decodes, trains or needs torch. Every layout's source is cited in its module.
"""

from training.readers.found_rows import Found
from training.readers.photo_bytes import read_photo
from training.readers.registry import READERS, Reader, read
from training.readers.shards import Packed, write_shards

__all__ = ["READERS", "Found", "Packed", "Reader", "read", "read_photo", "write_shards"]
