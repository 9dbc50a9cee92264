"""Boxes in the files of other tools: COCO JSON, Pascal VOC XML, and tables. Everything becomes a `BoxedPhoto`.

Conventions, the same for every format:

- Boxes are in shares of the upright photo. A phone's photo may be stored lying, with an EXIF orientation. If a file
  gives the width and height of the stored photo, and not those of the upright one, its boxes are turned along with the
  photo. Where both are possible, as for a square photo, the boxes are of the upright photo.
- An edge that is at most 2 % of the side outside the photo is moved to the edge. A box further outside is skipped with
  its place in the file, because width and height are then those of another photo.
- A box that is narrower than a hundredth of the photo's side is skipped with its place in the file.
- A photo that the file lists without boxes shows no product.
- A crowd (COCO `iscrowd`) and a difficult box (VOC `difficult`) become boxes of the kind `ignored`: training neither
  rewards nor punishes what a detector finds there. They are written as crowd and difficult again.
"""

from training.boxes.formats.coco import read_coco, write_coco
from training.boxes.formats.found import Found
from training.boxes.formats.voc import read_voc, write_voc

__all__ = ["Found", "read_coco", "read_voc", "write_coco", "write_voc"]
