"""Cleaning against planted truth: what each step marks, compared with what was planted.

    python -m benchmarks.cleaning.cleaning_truth --set studio --data FOLDER --work WORK            # chooses, first half
    python -m benchmarks.cleaning.cleaning_truth --set studio --data FOLDER --work WORK --measure  # second half

FOLDER is a data set with a labels.csv: photos of the studio (`python -m training.studio`), or real groceries. What is
planted is in cleaning_planted.toml. `--features frozen` embeds with the untouched ImageNet trunk, for photos of
products that the bundle was trained on.
"""

from __future__ import annotations

import csv
import io
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.cleaning.near_duplicates import copy_of, planted
from benchmarks.report import parser, write_result
from engines.pixels import decode
from engines.recognition import build_engine
from schemas.manifest import Preprocess
from training.cleaning.copies.duplicates import DuplicateSettings, duplicate_marks
from training.cleaning.copies.fingerprints import take_fingerprints
from training.cleaning.marks import Mark, Marks
from training.cleaning.products.merging import MergeSettings, merge_marks
from training.cleaning.products.noise import NoiseSettings, noise_marks
from training.cleaning.products.relabelling import RelabelSettings, relabel_marks
from training.cleaning.products.vectors import Vectors, in_this_process
from training.readers import read
from training.readers.label_table import Row

Floats = NDArray[np.float32]
COLUMNS = ("path", "split", "product", "coarse", "truth", "origin", "wrong", "change")
SECOND = "~2"  # ends the name of the second label of a product that was split


def plant(folder: Path, rows: Sequence[Row], out: Path, plan: Mapping[str, Any]) -> list[Row]:
    """Write a dirty data set with its truth to `out`, and return its rows. One that is there is only read."""
    table = out / "labels.csv"
    if table.is_file():
        with table.open(newline="", encoding="utf-8") as text:
            return list(csv.DictReader(text))
    out.mkdir(parents=True, exist_ok=True)
    draw = random.Random(plan["seed"])
    dirty = labelled(rows, plan, draw)
    for number, row in enumerate(dirty):
        data = (folder / row["origin"]).read_bytes()
        row["path"] = f"{number:06d}{Path(row['origin']).suffix}"
        (out / row["path"]).write_bytes(data)
    share = plan["near_duplicates"]
    copies = _copies(folder, dirty, out, round(len(dirty) * share / (1 - share)), plan=plan, draw=draw)
    with table.open("w", newline="", encoding="utf-8") as text:
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows([*dirty, *copies])
    return [*dirty, *copies]


def labelled(rows: Sequence[Row], plan: Mapping[str, Any], draw: random.Random) -> list[Row]:
    """The photos with split products and wrong labels."""
    names = sorted({row["truth"] for row in rows})
    coarse = {row["truth"]: row["coarse"] for row in rows}
    split = set(draw.sample(names, round(len(names) * plan["split"])))
    labels = {name: [name, name + SECOND] if name in split else [name] for name in names}
    dirty = []
    for row in rows:
        wrong, label = "", row["truth"]
        if draw.random() < plan["wrong"]:
            wrong = "same" if draw.random() < plan["wrong_same_coarse"] else "other"
            others = [n for n in names if n != label and (coarse[n] == coarse[label]) == (wrong == "same")]
            if not others:  # the only product of its coarse class
                wrong, others = "other", [n for n in names if coarse[n] != coarse[label]]
            label = draw.choice(others)
        label = draw.choice(labels[label])
        dirty.append(dict(row) | {"product": label, "wrong": wrong, "change": "", "split": "train"})
    return dirty


def _copies(
    folder: Path, dirty: Sequence[Row], out: Path, count: int, *, plan: Mapping[str, Any], draw: random.Random
) -> list[Row]:
    owners = draw.sample([row for row in dirty for _ in range(plan["most_copies"])], count)
    copies = []
    for number, owner in enumerate(owners):
        name = draw.choice(sorted(plan["transformations"]))
        strength = draw.choice(plan["transformations"][name])
        picture = Image.open(io.BytesIO((folder / owner["origin"]).read_bytes())).convert("RGB")
        path = f"copy-{number:06d}.jpg"
        (out / path).write_bytes(copy_of(picture, name, strength))
        copies.append(dict(owner) | {"path": path, "change": f"{name} {strength:g}"})
    return copies


def judge_duplicates(rows: Mapping[str, Row], marks: Sequence[Mark]) -> dict[str, Any]:
    """A mark is right if its photo and the kept one are the same original or copies of it."""
    right = [mark for mark in marks if rows[mark.photo]["origin"] == rows[mark.kept]["origin"]]
    sizes = Counter(row["origin"] for row in rows.values())
    marked = {mark.photo for mark in right}
    kept = {mark.kept for mark in right}
    left = (row for row in rows.values() if row["change"] and row["path"] not in marked | kept)
    missed = Counter(row["change"].split(" ")[0] for row in left)
    false = [(mark.photo, mark.kept) for mark in marks if rows[mark.photo]["origin"] != rows[mark.kept]["origin"]]
    planted_ones = sum(sizes.values()) - len(sizes)
    originals = sum(not rows[mark.kept]["change"] for mark in right)
    return {
        "marked": len(marks),
        "precision": _share(len(right), len(marks)),
        "recall": _share(len(right), planted_ones),
        "kept_is_original": _share(originals, len(right)),
        "copies_left": dict(missed.most_common(4)),
        "false": [[rows[one]["origin"] for one in pair] for pair in false[:8]],
    }


def judge_noise(rows: Sequence[Row], marks: Sequence[Mark]) -> dict[str, Any]:
    """The photos that remained after de-duplication; `wrong` says whether and how a label is wrong."""
    marked = {mark.photo for mark in marks}
    wrong = {kind: [row for row in rows if row["wrong"] == kind] for kind in ("other", "same")}
    right = [row for row in rows if not row["wrong"]]
    found = {kind: sum(row["path"] in marked for row in some) for kind, some in wrong.items()}
    false = sum(row["path"] in marked for row in right)
    return {
        "marked": len(marked),
        "precision": _share(sum(found.values()), len(marked)),
        "precision_without_same": _share(found["other"], found["other"] + false),
        "recall_other_coarse": _share(found["other"], len(wrong["other"])),
        "recall_same_coarse": _share(found["same"], len(wrong["same"])),
        "good_photos_marked": _share(false, len(right)),
    }


def judge_merges(rows: Sequence[Row], into: Mapping[str, str]) -> dict[str, Any]:
    """Pairs of labels that are one label after the merges, against the products that were split.

    Args:
        rows: the photos that were left.
        into: label → the label that it becomes in the end.
    """
    labels = sorted({row["product"] for row in rows})
    groups: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        groups[into.get(label, label)].append(label)
    together = {(a, b) for some in groups.values() for a in some for b in some if a < b}
    wanted = {(label[: -len(SECOND)], label) for label in labels if label.endswith(SECOND)} & {
        (a, b) for a in labels for b in labels
    }
    return {
        "merged": len(together),
        "wanted": len(wanted),
        "right": len(together & wanted),
        "precision": _share(len(together & wanted), len(together)),
        "recall": _share(len(together & wanted), len(wanted)),
        "wrong": [list(pair) for pair in sorted(together - wanted)][:8],
        "missed": [list(pair) for pair in sorted(wanted - together)][:8],
    }


def judge_heads(
    rows: Sequence[Row], vectors: Floats, marks: Marks, seeds: Sequence[int] = (1, 2, 3)
) -> dict[str, list[float]]:
    """For each seed the accuracy of a linear head that learnt from the dirty, the cleaned and the clean photos.

    A seed holds out 30 % of the originals with all their copies. Their true products are asked for. The second label of
    a product that was split counts as right, so a dirty table is not punished for its names.
    """
    from sklearn.linear_model import RidgeClassifier

    gone, label_of = marks.left_out(), cleaned_labels(rows, marks)
    names = sorted({row["origin"] for row in rows})
    found: dict[str, list[float]] = {"dirty": [], "cleaned": [], "clean": []}
    for seed in seeds:
        held = set(random.Random(seed).sample(names, round(0.3 * len(names))))
        learnt = [i for i, row in enumerate(rows) if row["origin"] not in held]
        asked = [i for i, row in enumerate(rows) if row["origin"] in held and not row["change"]]
        truth = np.array([rows[i]["truth"] for i in asked])
        kept = [i for i in learnt if rows[i]["path"] not in gone]
        originals = [i for i in learnt if not rows[i]["change"]]
        sets = {
            "dirty": (learnt, [rows[i]["product"] for i in learnt]),
            "cleaned": (kept, [label_of[rows[i]["path"]] for i in kept]),
            "clean": (originals, [rows[i]["truth"] for i in originals]),
        }
        for name, (places, labels) in sets.items():
            head = RidgeClassifier(alpha=1.0).fit(vectors[places], labels)
            said = np.array([label.removesuffix(SECOND) for label in head.predict(vectors[asked])])
            found[name].append(round(float((said == truth).mean()), 4))
    return found


def cleaned_labels(rows: Sequence[Row], marks: Marks) -> dict[str, str]:
    """Path → the label that the cleaned table gives the photo, if it is not left out."""
    into = marks.products()
    return {row["path"]: into.get(row["product"], row["product"]) for row in rows} | marks.relabelled()


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def embeddings(work: Path, folder: Path, rows: Sequence[Row], bundle: Path, features: str) -> Floats:
    """float32 [n, d], unit rows, in the order of the rows."""
    paths = [row["path"] for row in rows]
    if features == "frozen":
        return _frozen(work / "frozen.npz", folder, paths)
    engine = build_engine(bundle)
    try:
        vectors = Vectors(work, in_this_process(engine))
        vectors.add(folder, paths)
    finally:
        engine.close()
    return vectors.of(paths)


def _frozen(cache: Path, folder: Path, paths: Sequence[str]) -> Floats:
    from training.data.frozen_trunk import frozen_vectors

    if cache.is_file():
        return np.asarray(np.load(cache)["vectors"], np.float32)
    size = Preprocess(mode="squash", width=224, height=224)
    parts = []
    for start in range(0, len(paths), 64):
        some = [decode((folder / path).read_bytes(), size) for path in paths[start : start + 64]]
        parts.append(frozen_vectors(np.stack(some)))
    vectors = np.concatenate(parts)
    np.savez(cache, vectors=vectors)
    return vectors


def halves(rows: Sequence[Row], spec: Mapping[str, str], most: int) -> tuple[list[Row], list[Row]]:
    """The photos of the products to choose on, and of those to measure on, with the columns of a planted set. Of each
    product the first `most` count."""
    rows = [row for group in _by(rows, spec["product"]).values() for row in group[:most]]
    names = sorted({row[spec["product"]] for row in rows})
    first = set(names[: len(names) // 2])
    made = [
        {"truth": row[spec["product"]], "coarse": row[spec["coarse"]], "origin": row["path"], "split": "train"}
        for row in rows
    ]
    return [row for row in made if row["truth"] in first], [row for row in made if row["truth"] not in first]


def _by(rows: Sequence[Row], column: str) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["path"]):
        groups[row[column]].append(row)
    return groups


def clean(work: Path, rows: Sequence[Row], vectors: Floats, options: Any) -> dict[str, Any]:
    """Run the four steps over a dirty set, and judge each."""
    photos = work / "photos"
    by_path = {row["path"]: row for row in rows}
    place = {row["path"]: i for i, row in enumerate(rows)}
    marks = Marks(work)
    prints = take_fingerprints(photos, [row["path"] for row in rows], work, workers=options.workers)
    marks.write("duplicates", {}, duplicate_marks(rows, prints, options.duplicates))
    found = {"duplicates": judge_duplicates(by_path, list(marks.in_force("duplicates")))}
    gone = marks.left_out(before="noise")
    kept = [row for row in rows if row["path"] not in gone]
    part = vectors[[place[row["path"]] for row in kept]]
    paths, products = [row["path"] for row in kept], [row["product"] for row in kept]
    radii, noise = noise_marks(paths, products, part, options.noise)
    marks.write("noise", {}, noise)
    found["noise"] = judge_noise(kept, list(marks.in_force("noise")))
    found["noise"] |= {"strict": round(radii.strict, 4), "loose": round(radii.loose, 4)}
    gone = marks.left_out(before="merge")
    kept = [row for row in rows if row["path"] not in gone]
    part = vectors[[place[row["path"]] for row in kept]]
    paths, products = [row["path"] for row in kept], [row["product"] for row in kept]
    marks.write("merge", {}, merge_marks(paths, products, part, options.merge))
    found["merge"] = judge_merges(kept, marks.products())
    found["relabel"] = relabel(rows, vectors, marks, radii.strict)
    found["head"] = judge_heads(rows, vectors, marks)
    return found


def relabel(rows: Sequence[Row], vectors: Floats, marks: Marks, strict: float) -> dict[str, Any]:
    """Run the fourth step, and judge it. A new label is right if it is the photo's product or its second label."""
    gone, into = marks.left_out(before="noise"), marks.products()
    places = [place for place, row in enumerate(rows) if row["path"] not in gone]
    left = [rows[place] for place in places]
    wrong = {mark.photo for mark in marks.in_force("noise")}
    radius, made = relabel_marks(
        [row["path"] for row in left],
        [into.get(row["product"], row["product"]) for row in left],
        vectors[places],
        np.array([row["path"] in wrong for row in left], bool),
        strict=strict,
        settings=RelabelSettings(),
    )
    found = list(made)
    marks.write("relabel", {}, found)
    truth = {row["path"]: row["truth"] for row in left}
    right = sum(mark.into.removesuffix(SECOND) == truth[mark.photo] for mark in found)
    figures = {"left_out": len(wrong), "relabelled": len(found), "precision": _share(right, len(found))}
    return figures | {"radius": round(radius, 4)}


def main() -> None:
    """Plant, clean, judge, print."""
    made = parser(__doc__, tells="result", bundle=True)
    made.add_argument("--data", type=Path, required=True, help="folder of the data set")
    made.add_argument("--set", choices=sorted(planted()["sets"]), required=True, help="its entry in the file")
    made.add_argument("--work", type=Path, required=True, help="folder for the dirty photos and their embeddings; kept")
    made.add_argument("--measure", action="store_true", help="the second half of the products, for the figures")
    made.add_argument("--features", choices=("bundle", "frozen"), default="bundle", help="what embeds the photos")
    made.add_argument("--most", type=int, default=24, help="photos of each product, at most (default 24)")
    made.add_argument("--workers", type=int, default=1, help="for fingerprints (default 1)")
    options = made.parse_args()
    options.duplicates, options.noise, options.merge = DuplicateSettings(), NoiseSettings(), MergeSettings()
    plan = planted()
    half = halves(read("csv", options.data).rows, plan["sets"][options.set], options.most)[options.measure]
    work = options.work / f"{options.set}-{'measured' if options.measure else 'chosen'}"
    rows = plant(options.data, half, work / "photos", plan)
    vectors = embeddings(work, work / "photos", rows, options.bundle, options.features)
    write_result({"photos": len(rows), **clean(work, rows, vectors, options)}, options.json)


if __name__ == "__main__":
    main()
