"""Photos without labels: the nearest labelled product, decided again by brute force."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engines.pixels import decode
from engines.recognition import build_engine
from schemas.errors import ConfigError
from tests.engines.tiny_bundle import write_tiny_bundle
from training.readers import read
from training.readers.label_table import Row
from training.weak import WeakSettings, label_photos, read_boxes


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    write_tiny_bundle(folder)
    return folder


def picture(seed: int, light: float = 1.0) -> bytes:
    """A picture of a product; `light` other than 1 is another photo of it."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3)) * light
    file = io.BytesIO()
    Image.fromarray(blocks.astype(np.uint8)).resize((48, 32), Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


def put(folder: Path, photos: dict[str, bytes]) -> None:
    for path, data in photos.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    folder = tmp_path / "labelled"
    rows = [("path", "split", "domain", "product", "coarse", "title")]
    for product in range(4):
        for split, domain, light in (
            ("gallery", "iconic", 1.0),
            ("train", "natural", 0.95),
            ("val", "natural", 0.9),
            ("test", "natural", 0.8),
        ):
            path = f"{split}/{product}.png"
            put(folder, {path: picture(product, light)})
            rows.append((path, split, domain, f"p{product}", "ab"[product % 2], f"{domain} {product}"))
    put(folder, {"labels.csv": "\n".join(map(",".join, rows)).encode()})
    return folder


def embeddings(bundle: Path, photos: list[bytes]) -> np.ndarray:
    engine = build_engine(bundle)
    vectors = engine.infer(np.stack([decode(data, engine.manifest.preprocess) for data in photos])).embedding
    engine.close()
    return vectors


def brute(bundle: Path, photo: bytes) -> tuple[float, str]:
    """(squared distance, product) of the nearest training photo, pair by pair."""
    known = [(product, light) for product in range(4) for light in (1.0, 0.95)]
    (query, *vectors) = embeddings(bundle, [photo, *(picture(*k) for k in known)])
    return min(
        (float(((query - vector) ** 2).sum()), f"p{product}")
        for vector, (product, _) in zip(vectors, known, strict=True)
    )


def test_near_photos_get_the_product_and_say_where_from(bundle: Path, labelled: Path, tmp_path: Path) -> None:
    photos = tmp_path / "found"
    unlabelled = {f"a/{n}.png": picture(n % 5, 0.85 - n / 100) for n in range(10)}
    put(photos, unlabelled)
    put(photos, {"b/broken.jpg": b"<html>", "b/leak.png": picture(2, 0.8), "b/twice.png": unlabelled["a/0.png"]})
    put(photos, {"notes.txt": b"not a photo"})
    truth = {path: brute(bundle, data) for path, data in unlabelled.items()}
    distances = sorted(distance for distance, _ in truth.values())
    split = int(np.diff(distances).argmax()) + 1  # in the widest gap, so that rounding decides nothing
    threshold = (distances[split - 1] + distances[split]) / 2
    out = tmp_path / "weak.csv"
    report = label_photos(bundle, labelled, photos, out, WeakSettings(threshold=threshold))
    rows = {row["path"]: row for row in read_rows_of(out)}
    near = {path: product for path, (distance, product) in truth.items() if distance < threshold}
    assert {path: row["product"] for path, row in rows.items()} == {f"found/{p}": v for p, v in near.items()}
    for path, row in rows.items():
        distance, product = truth[path.removeprefix("found/")]
        assert float(row["weak_distance"]) == pytest.approx(distance, abs=2e-4)
        assert row["weak_from"].endswith(f"/{product[1]}.png")
        assert row["weak_from"].startswith(("gallery/", "train/"))
        assert row["coarse"] == "ab"[int(product[1]) % 2]
        assert (row["split"], row["source"], row["box"]) == ("train", "weak", "")
        assert row["weak_model"] == build_engine(bundle).manifest.model_version
        assert (out.parent / path).is_file()
        assert "title" not in row  # of one photo, not of the product
    assert report.counts == {
        "photos": 13,
        "unreadable": 1,
        "duplicate": 2,
        "boxes": 10,
        "too_far": 10 - split,
        "added": split,
        "products": len(set(near.values())),
    }
    assert report.skipped == {
        "b/broken.jpg": "cannot be decoded: not_an_image",
        "b/leak.png": "same bytes as the labelled test/2.png",
        "b/twice.png": "same bytes as a/0.png",
    }
    assert {entry["photos"] for entry in report.validation} == {4}
    assert list(report.quantiles) == ["p05", "p25", "p50", "p75", "p95"]
    first = out.read_bytes()
    label_photos(bundle, labelled, photos, out, WeakSettings(threshold=threshold))
    assert out.read_bytes() == first


def read_rows_of(table: Path) -> list[Row]:
    with table.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def test_the_threshold_is_judged_on_validation_photos(bundle: Path, labelled: Path, tmp_path: Path) -> None:
    put(tmp_path / "found", {"1.png": picture(9)})
    truth = [(brute(bundle, picture(product, 0.9)), f"p{product}") for product in range(4)]
    settings = WeakSettings(threshold=1e-6)
    report = label_photos(bundle, labelled, tmp_path / "found", tmp_path / "weak.csv", settings)
    assert [entry["threshold"] for entry in report.validation] == [1e-6, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0]
    for entry in report.validation:
        near = [found == product for (distance, found), product in truth if distance < entry["threshold"]]
        assert entry["covered"] == len(near) / 4
        assert entry.get("right") == (pytest.approx(np.mean(near), abs=1e-4) if near else None)


def test_boxes_are_looked_at_one_by_one(bundle: Path, labelled: Path, tmp_path: Path) -> None:
    halves = [np.asarray(Image.open(io.BytesIO(picture(product)))) for product in (1, 3)]
    file = io.BytesIO()
    Image.fromarray(np.hstack(halves)).save(file, "PNG")
    put(tmp_path / "found", {"two.png": file.getvalue(), "whole.png": picture(2, 0.94)})
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("path,x0,y0,x1,y1,W,H\ntwo.png,0,0,48,32,96,32\ntwo.png,48,-1,96.4,32,96,32\n")
    out = tmp_path / "found/labels.csv"
    label_photos(bundle, labelled, tmp_path / "found", out, WeakSettings(threshold=0.01), boxes=read_boxes(boxes))
    rows = read("csv", tmp_path / "found").rows
    assert [(row["path"], row["box"], row["product"]) for row in rows] == [
        ("two.png", "0.0000 0.0000 0.5000 1.0000", "p1"),
        ("two.png", "0.5000 0.0000 1.0000 1.0000", "p3"),
        ("whole.png", "", "p2"),
    ]
    assert [row["weak_distance"] for row in rows[:2]] == ["0.0000", "0.0000"]


def test_somebodys_table_is_not_overwritten(bundle: Path, labelled: Path, tmp_path: Path) -> None:
    put(tmp_path / "found", {"1.png": picture(1), "labels.csv": b"path,split\n1.png,train\n"})
    with pytest.raises(ConfigError, match="not made by this command"):
        label_photos(bundle, labelled, tmp_path / "found", tmp_path / "found/labels.csv", WeakSettings())
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no JPEG, PNG or WebP"):
        label_photos(bundle, labelled, tmp_path / "empty", tmp_path / "weak.csv", WeakSettings())
    with pytest.raises(ConfigError, match="column 'sku'; it has path, split, domain, product"):
        label_photos(bundle, labelled, tmp_path / "found", tmp_path / "weak.csv", WeakSettings(product="sku"))
