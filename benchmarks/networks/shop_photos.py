"""Photos of users and catalogue photos of two sets of products, with clothes between them, as a bundle sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from benchmarks.networks.local_maps import ENDS, LocalMaps, Looked
from engines.recognition import load_bundle
from schemas.manifest import MODEL_FILE
from training.bundle.applying.features import Tail
from training.readers import read
from training.readers.label_table import Row, is_catalogue
from training.readers.splits import chance
from training.studio import TEST_IDENTITIES, TRAIN_IDENTITIES, write_dataset

Floats = NDArray[np.float32]
GROCERIES, CLOTHES, FITTED = 800, 200, 20  # training photos of groceries; of each set of clothes; of the maps' axes
STUDIO = {"train": 80, "val": 80, "test": 128}  # products, none of which the demo bundle was trained on
VIEWS = {"train": 1, "val": 2, "test": 3}
SETS = ("grocery", "studio")


@dataclass(frozen=True)
class Photos:
    """Photos with their embeddings and the products that they show, named `SET/PRODUCT`."""

    seen: Looked
    embedding: Floats
    product: NDArray[np.str_]

    def taken(self, at: NDArray[np.int64]) -> Photos:
        """The photos at the places `at`."""
        seen = Looked(
            [self.seen.rows[i] for i in at],
            self.seen.feature[at],
            {end: maps[at] for end, maps in self.seen.maps.items()},
            {end: weights[at] for end, weights in self.seen.weights.items()},
        )
        return Photos(seen, self.embedding[at], self.product[at])


def drawn(folder: Path) -> None:
    """Draw the studio's photos that are not in `folder` yet. The demo bundle learnt from none of these products; its
    validation and test products are among them."""
    chosen = {
        "train": TRAIN_IDENTITIES[2000 : 2000 + STUDIO["train"]],
        "val": TRAIN_IDENTITIES[-STUDIO["val"] :],
        "test": TEST_IDENTITIES[: STUDIO["test"]],
    }
    write_dataset(folder, chosen["val"], VIEWS["val"], workers=1, split="val")
    write_dataset(folder, chosen["train"], VIEWS["train"], workers=1, split="train")
    write_dataset(folder, chosen["test"], VIEWS["test"], workers=1, split="test")


def some(rows: Sequence[Row], most: int) -> list[Row]:
    """At most `most` rows, the same ones each time."""
    kept = set(sorted((row["path"] for row in rows), key=chance)[:most])
    return [row for row in rows if row["path"] in kept]


def looked(data: Path, work: Path, folder: Path) -> tuple[dict[str, Photos], LocalMaps, Tail]:
    """All photos by name, `catalogue` and `SET SPLIT` of queries, as the bundle in `folder` sees them."""
    bundle = load_bundle(folder)
    trunk, tail = LocalMaps(bundle, folder), Tail(onnx.load(folder / MODEL_FILE), bundle)
    rows = {name: read("csv", data / name).rows for name in ("grocery", "fashion", "clothing")}
    trunk.fit([(data / name, some(of_split(rows[name], "train"), FITTED)) for name in ("grocery", "clothing")])
    found: dict[str, Photos] = {}

    def add(part: str, where: Path, wanted: list[Row]) -> None:
        seen = trunk.folder(part.replace(" ", "-"), where, wanted, work / "maps")
        embedding = tail.run(seen.feature)[bundle.manifest.embedding.output].astype(np.float32)
        name = part.partition(" ")[0]
        found[part] = Photos(
            seen, embedding, np.array([f"{name}/{row.get('product') or row['path']}" for row in seen.rows])
        )

    for name in ("fashion", "clothing"):
        add(f"{name} catalogue", data / name, some(of_split(rows[name], "train"), CLOTHES))
    for name in SETS:
        where = data / name
        if name == "studio":
            where = work / "studio"
            drawn(where)
            rows["studio"] = read("csv", where).rows
        add(f"{name} catalogue", where, [row for row in rows[name] if is_catalogue(row)])
        for split in ("val", "train", "test"):
            wanted = of_split(rows[name], split)
            add(f"{name} {split}", where, some(wanted, GROCERIES) if split == "train" else wanted)
    found["catalogue"] = joined([found.pop(part) for part in list(found) if part.endswith("catalogue")])
    return found, trunk, tail


def of_split(rows: Sequence[Row], split: str) -> list[Row]:
    """The rows of a split."""
    return [row for row in rows if row["split"] == split]


def joined(parts: Sequence[Photos]) -> Photos:
    """All photos in one."""
    maps, weights = (
        {end: np.concatenate([getattr(one.seen, what)[end] for one in parts]) for end in ENDS}
        for what in ("maps", "weights")
    )
    rows = [row for one in parts for row in one.seen.rows]
    seen = Looked(rows, np.concatenate([one.seen.feature for one in parts]), maps, weights)
    return Photos(
        seen, np.concatenate([one.embedding for one in parts]), np.concatenate([one.product for one in parts])
    )
