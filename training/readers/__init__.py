"""Readers turn the ways in which data sets lie on a disk into rows with common columns.

`read` is the one door: training, evaluation, `groknet data check` and packing come through it, so that they say the
same of a folder. A reader takes a data set's folder and gives one row for each photo: `path` (relative to the folder),
`split` (train, val, test, gallery), the identity in `product` if there is one, and the layout's own columns. It opens
no photo; `read_photo` does, from a file or from inside a tar shard. A file that a reader cannot use is counted by name
with the reason. What could be read in two ways is refused with file, line and remedy. `write_shards` packs any data
set into tar shards.

To add a reader, write a module in `layouts/` and name it in `registry.py`. Nothing here decodes, trains or needs torch.
"""

from training.readers.cautions import cautions
from training.readers.found_rows import Found
from training.readers.photo_bytes import read_photo
from training.readers.registry import READERS, Reader, read
from training.readers.shards import Packed, write_shards
from training.readers.splits import known_split

__all__ = ["READERS", "Found", "Packed", "Reader", "cautions", "known_split", "read", "read_photo", "write_shards"]
