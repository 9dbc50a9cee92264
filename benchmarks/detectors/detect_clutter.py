"""Cluttered queries with a detector against without:
`python -m benchmarks.detectors.detect_clutter --detector FOLDER --data FOLDER`.

The catalogue has one clean picture of each grocery product. The queries are test photos of these products: as they are,
and pasted into photos of shops (freiburg) and of streets and rooms (coco), at 30 to 55 % of the scene's shorter side,
by a fixed seed. So the whole scene is also what a search without a detector gets. Further queries are scenes of the
photo studio with two to five products in view; their catalogue has a photo of each product alone, seen by itself.

Thresholds and bits are chosen on validation photos in training scenes. Test photos are measured once, with what the
service has.

- `whole`: without a detector.
- `subject`: the most confident box.
- `box`: the answer of the box that is nearest to the catalogue.
- `nearest`: the whole photo if a catalogue picture is near enough to it or no box is clearly nearer, else the nearest
  box (`detect=nearest`).
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from benchmarks.report import page, parser, table, versions, write_page
from engines.detection import open_detector
from engines.pixels import Box, decode, decode_canvas
from engines.recognition import RecognitionEngine, build_engine
from schemas.boxes import DetectPlan
from training.readers import read, read_photo
from training.readers.label_table import Row, is_catalogue
from training.studio import TEST_IDENTITIES, make_product, render, render_several
from workers.search.find.looking import NEAREST_THRESHOLD
from workers.search.settings import SearchSettings
from workers.stages.detect import Looking

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)
BITS = (60, 65, 70, 75, 80)  # within which the whole photo counts
NEARER = (0, 4, 8, 12, 16)  # bits by which a box must be nearer than the whole photo
SEED = 20
SCENE = 512  # pixels of the shorter side of a scene
WAYS = ("whole", "subject", "box", "nearest")
_MOST_BOXES = 16
_PRODUCTS = 60  # of the studio's catalogue
_STUDIO, _SCENE = 224, 448  # pixels of a side of a studio photo of one product, and of several


@dataclass(frozen=True)
class Query:
    """A photo, the number of its product in the catalogue, and where it is; None: it is the whole photo. Of a scene
    with several products, `products` has all that count as right."""

    data: bytes
    products: frozenset[int]
    box: Box | None


@dataclass(frozen=True)
class Bench:
    """The engine, the detector, and the codes of a catalogue, uint8 [n, 32]."""

    engine: RecognitionEngine
    looking: Looking
    catalogue: NDArray[np.uint8]

    def codes(self, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """The hashes of decoded photos, uint8 [n, 32]."""
        most = self.engine.max_batch
        parts = [self.engine.infer(np.stack(pixels[i : i + most])).hash for i in range(0, len(pixels), most)]
        return np.concatenate(parts)

    def first(self, codes: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each code the nearest catalogue picture and its distance in bits; of equals the first."""
        apart = np.bitwise_count(codes[:, None] ^ self.catalogue[None]).sum(axis=2).astype(np.int64)
        return apart.argmin(axis=1), apart.min(axis=1)


def pasted(photo: bytes, scene: bytes, rng: np.random.Generator) -> tuple[bytes, Box]:
    """The photo inside the scene, as a JPEG, and its box."""
    ground = ImageOps.exif_transpose(Image.open(io.BytesIO(scene))).convert("RGB")
    scale = SCENE / min(ground.size)
    ground = ground.resize((round(ground.width * scale), round(ground.height * scale)))
    front = ImageOps.exif_transpose(Image.open(io.BytesIO(photo))).convert("RGB")
    long = rng.uniform(0.30, 0.55) * SCENE
    scale = long / max(front.size)
    front = front.resize((max(8, round(front.width * scale)), max(8, round(front.height * scale))))
    left = int(rng.integers(ground.width - front.width + 1))
    top = int(rng.integers(ground.height - front.height + 1))
    ground.paste(front, (left, top))
    file = io.BytesIO()
    ground.save(file, "JPEG", quality=90)
    edges = left / ground.width, top / ground.height
    wide, high = front.width / ground.width, front.height / ground.height
    return file.getvalue(), Box(*edges, edges[0] + wide, edges[1] + high)


def groceries(data: Path, split: str, most: int) -> tuple[list[Row], list[str]]:
    """A fixed sample of the grocery photos of a split, and the products of the catalogue in its order."""
    rows = read("csv", data / "grocery").rows
    products = [row["product"] for row in rows if is_catalogue(row)]
    own = [r for r in rows if r["split"] == split and not is_catalogue(r) and r["product"] in set(products)]
    places = np.random.default_rng(SEED).permutation(len(own))[:most]
    return [own[i] for i in sorted(places)], products


def grocery_queries(data: Path, split: str, scenes: Sequence[bytes], most: int) -> Iterator[Query]:
    """The photos of a split, each in a scene of its own turn; without scenes, as they are."""
    rows, products = groceries(data, split, most)
    rng = np.random.default_rng(SEED)
    for row in rows:
        photo, product = read_photo(data / "grocery", row["path"]), frozenset({products.index(row["product"])})
        if scenes:
            scene, box = pasted(photo, scenes[int(rng.integers(len(scenes)))], rng)
            yield Query(scene, product, box)
        else:
            yield Query(photo, product, None)


def scenes_of(folder: Path, split: str | None) -> list[bytes]:
    """The photos of a data set's split, or all of its photos."""
    if split is None:
        return [path.read_bytes() for path in sorted((folder / "images").rglob("*.jpg"))]
    rows = [row for row in read("csv", folder).rows if row["split"] == split]
    return [read_photo(folder, row["path"]) for row in rows]


@dataclass(frozen=True)
class Parts:
    """What the boxes of one query find, the most confident first, and then the whole photo: the scores of the boxes,
    whether each part's nearest picture is right, and its distance in bits."""

    scores: list[float]
    right: list[bool]
    apart: list[int]

    def found(self, threshold: float, bits: int, nearer_by: int) -> dict[str, bool]:
        """Way → whether its first answer is right, with the boxes from `threshold` on."""
        boxes = sum(score >= threshold for score in self.scores)
        whole, apart = self.right[-1], self.apart[-1]
        near = min(range(boxes), key=lambda box: self.apart[box]) if boxes else len(self.apart) - 1
        nearest = whole if apart <= max(self.apart[near] + nearer_by, bits) else self.right[near]
        return {"whole": whole, "subject": self.right[0 if boxes else -1], "box": self.right[near], "nearest": nearest}


def looked(bench: Bench, queries: Iterable[Query]) -> list[Parts]:
    """What the parts of each query find. A photo is decoded and given to the detector once."""
    found, looking = [], bench.looking
    for query in queries:
        canvas, _ = decode_canvas(query.data, looking.side)
        (boxes,) = looking.found(looking.shrunk(canvas)[None], _MOST_BOXES)
        cuts = [canvas.cut(box, looking.preprocess) for box in [*(one.box for one in boxes), None]]
        products, apart = bench.first(bench.codes(cuts))
        right = [int(product) in query.products for product in products]
        found.append(Parts([one.score for one in boxes], right, apart.tolist()))
    return found


def recalls(found: Sequence[Parts], threshold: float, bits: int, nearer_by: int) -> dict[str, float]:
    """Way → Recall at 1."""
    return {way: float(np.mean([one.found(threshold, bits, nearer_by)[way] for one in found])) for way in WAYS}


def studio_queries(count: int, engine: RecognitionEngine) -> tuple[list[Query], list[NDArray[np.uint8]]]:
    """Scenes of two to five products that training never drew, and a photo of each product alone, decoded."""
    products = [make_product(TEST_IDENTITIES[i]) for i in range(_PRODUCTS)]
    shown = [render(product, view=900, size=(_STUDIO, _STUDIO)).pixels for product in products]
    alone = [decode(_png(pixels), engine.manifest.preprocess) for pixels in shown]
    rng, queries = np.random.default_rng(SEED), []
    for view in range(count):
        places = rng.choice(len(products), int(rng.integers(2, 6)), replace=False)
        scene = render_several([products[i] for i in places], view, (_SCENE, _SCENE))
        seen = {one.product.identity for one in scene.products}
        right = frozenset(int(i) for i in places if products[i].identity in seen)
        queries.append(Query(_png(scene.pixels), right, None))
    return queries, alone


def _png(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _row(name: str, found: dict[str, float], count: int) -> list[object]:
    return [name, count, *(f"{found[way]:.3f}" for way in WAYS)]


def _choice(inside: Sequence[Parts], outside: Sequence[Parts]) -> list[list[object]]:
    """For each threshold and number of bits, cluttered / clean Recall at 1 by how much nearer a box must be."""
    rows: list[list[object]] = []
    for threshold in THRESHOLDS:
        for bits in BITS:
            both = [[recalls(part, threshold, bits, by)["nearest"] for part in (inside, outside)] for by in NEARER]
            rows.append([f"{threshold:g}", bits, *(f"{a:.3f} / {b:.3f}" for a, b in both)])
    return rows


def main() -> int:
    """Choose on validation photos, measure, and write the page. Returns the exit code."""
    options = parser(__doc__, tells="page", bundle=True)
    options.add_argument("--detector", type=Path, required=True, help="folder of the detector's bundle")
    options.add_argument("--data", type=Path, required=True, help="folder with grocery, freiburg and coco")
    options.add_argument("--photos", type=int, default=400, help="test photos of each row (default 400)")
    options.add_argument("--backend", default="onnxruntime", help="of the detector (default onnxruntime)")
    given = options.parse_args()
    engine, detector = build_engine(given.bundle), open_detector(given.detector, given.backend)
    plan = DetectPlan(
        mode="all", detector_id=detector.detector_id, padding=0.0, threshold=min(THRESHOLDS), most_boxes=_MOST_BOXES
    )
    looking = Looking(detector, plan, engine.manifest.preprocess)
    rows = [row for row in read("csv", given.data / "grocery").rows if is_catalogue(row)]
    pictures = [decode(read_photo(given.data / "grocery", r["path"]), looking.preprocess) for r in rows]
    nothing = np.empty((0, 32), np.uint8)
    bench = Bench(engine, looking, Bench(engine, looking, nothing).codes(pictures))
    train = scenes_of(given.data / "freiburg", "train")
    inside = looked(bench, grocery_queries(given.data, "val", train, given.photos))
    outside = looked(bench, grocery_queries(given.data, "val", [], given.photos))
    settings = SearchSettings()
    chosen = NEAREST_THRESHOLD, settings.whole_bits, settings.nearer_by
    sets: list[tuple[str, Callable[[], list[bytes]]]] = [
        ("clean", list),
        ("in freiburg's shops", lambda: scenes_of(given.data / "freiburg", "test")),
        ("in coco's scenes", lambda: scenes_of(given.data / "coco", None)),
    ]
    rows_of_test = []
    for name, scenes in sets:
        found = looked(bench, grocery_queries(given.data, "test", scenes(), given.photos))
        rows_of_test.append(_row(name, recalls(found, *chosen), len(found)))
    queries, alone = studio_queries(given.photos // 2, engine)
    found = looked(Bench(engine, looking, bench.codes(alone)), queries)
    rows_of_test.append(_row("studio scenes of 2 to 5 products", recalls(found, *chosen), len(found)))
    body = [
        f"Detector `{detector.detector_id}` on {given.backend}. Recall at 1 by hash.",
        "## Test photos, measured once\n\n"
        "Boxes from a score of {:g} on, {} bits, nearer by {}: what the search service has.\n\n".format(*chosen)
        + table(["queries", "photos", *WAYS], rows_of_test),
        f"## The choice\n\n`nearest` on {len(inside)} cluttered / clean validation photos, by the bits within which "
        "the whole photo counts, and by how many bits a box must be nearer.\n\n"
        + table(["threshold", "bits", *map(str, NEARER)], _choice(inside, outside)),
    ]
    command = "python -m benchmarks.detectors.detect_clutter --detector FOLDER --data FOLDER"
    write_page(page("Cluttered queries", command, versions("onnxruntime", "openvino"), "\n\n".join(body)), given.out)
    engine.close()
    detector.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
