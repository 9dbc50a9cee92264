"""The example's photos and boxes, read back by the reader of COCO files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from training.boxes.example import FRAME, main
from training.boxes.formats import read_coco


def test_the_first_photos_have_boxes_around_what_is_there(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "photos"
    assert main([str(folder), "--photos", "3", "--boxed", "2"]) == 0
    found = read_coco(tmp_path / "photos.json", folder)
    assert found.skipped == {}
    assert [photo.path.name for photo in found.photos] == ["0000.jpg", "0001.jpg"]
    assert sorted(path.name for path in folder.iterdir()) == ["0000.jpg", "0001.jpg", "0002.jpg"]
    assert sum(len(photo.boxes) for photo in found.photos) >= 2
    assert f"the {sum(len(photo.boxes) for photo in found.photos)} boxes" in capsys.readouterr().out
    with Image.open(found.photos[0].path) as opened:
        assert opened.size == FRAME
        pixels = np.asarray(opened.convert("RGB"), np.float64)
    (box,) = found.photos[0].boxes  # photo 0 has one product: the box differs from the wall and floor beside it
    left, right = round(box.left * FRAME[0]), round(box.right * FRAME[0])
    row = pixels[round((box.top + box.bottom) / 2 * FRAME[1])]
    assert np.abs(row[(left + right) // 2] - row[max(0, left - 8)]).max() > 10
