"""The effects of vote, re-ranking, kinds, duplicate radius and the limit of closeness:
`python -m benchmarks.search.search_quality --data FOLDER`.

The listings are catalogue pictures of grocery products, or in-store photos of them. The queries are photos of the test
split. Weights are chosen with photos of the validation split. Nothing uses HTTP here;
tests/workers/search/test_search_catalogue.py proves that the service gives the same answers.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from benchmarks.report import page, table, versions
from engines.pixels import decode
from engines.recognition import RecognitionEngine, Unrounded, build_engine, in_eight_bits
from groknet.home.config import demo_bundle
from schemas.manifest import Manifest
from schemas.predictions import Predictions
from training.evaluation import predict
from training.readers import read
from training.readers.label_table import Row, is_catalogue
from workers.search.find import rerank
from workers.search.find.finder import RERANKED
from workers.search.find.labels.relevant_heads import RelevantHeads
from workers.search.find.labels.vote import RULE, Ballot, VoteRule, Voting
from workers.search.find.likeness import by_bits, by_cosines
from workers.search.settings import SearchSettings

WEIGHTS = (0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0)
SCALES = (4.0, 8.0, 12.0, 18.0, 27.0)
KS = (1, 5, 10)
BITS = 256
RADII = (8, 12, 16, 24, 32)
EVERY = 100_000
FINE, RESCORED, K_RECIPROCAL = "fine", "re-scored (the service's)", "k-reciprocal"
ORDERS = ("by distance", FINE, RESCORED, K_RECIPROCAL)
KINDS = {"grocery": {"grocery"}, "fashion": {"fashion", "clothing"}, "clothing": {"fashion", "clothing"}}
STRANGERS = ("fashion", "clothing", "object")
NOTE = """*own* is the best label of that column's head, *neighbours* the vote of the twenty nearest listings, and
*vote* both, as the service combines them. The listings' categories are the column's texts. With a thousand photos,
chance changes a share by about a hundredth. If no head knows the categories, only *neighbours* is available."""


@dataclass(frozen=True)
class Photos:
    """Photos with the engine's predictions."""

    rows: list[Row]
    predictions: list[Predictions]
    codes: NDArray[np.uint8]
    unrounded: list[Unrounded | None]


def recognised(engine: RecognitionEngine, folder: Path, rows: Sequence[Row]) -> Photos:
    """Run the photos of all rows through the engine."""
    found = predict(engine, folder, rows)
    said = [found.predictions.row(i, engine.manifest) for i in range(len(found.rows))]
    unrounded = [found.predictions.unrounded(i) for i in range(len(found.rows))]
    return Photos(found.rows, said, found.predictions.hash, unrounded)


def nearest(query: NDArray[np.uint8], listings: Photos, count: int) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """The places of the `count` nearest listings, nearest first, ties by place, and their distances."""
    distance = np.bitwise_count(listings.codes ^ query).sum(1, dtype=np.int64)
    order = np.argsort(distance, kind="stable")[:count]
    return order, distance[order]


def rescored(photo: Unrounded, listings: Photos, order: NDArray[np.intp]) -> NDArray[np.float32]:
    """How alike a photo is to the listings at `order`, whose embeddings are kept in eight bits: cosines `[n]`."""
    return photo.to_embeddings(
        in_eight_bits(np.stack([one.embedding for i in order if (one := listings.unrounded[i]) is not None]))
    )


def recall(queries: Photos, listings: Photos, name: str) -> dict[int, float]:
    """Share of queries with their product among the first k listings, in one of ORDERS."""
    hits = dict.fromkeys(KS, 0)
    for row, code, photo in zip(queries.rows, queries.codes, queries.unrounded, strict=True):
        order, _ = nearest(code, listings, RERANKED)
        if name == FINE and photo is not None:
            order = order[np.argsort(-photo.to_hashes(listings.codes[order]), kind="stable")]
        if name == RESCORED and photo is not None:
            order = order[np.argsort(-rescored(photo, listings, order), kind="stable")]
        if name == K_RECIPROCAL:
            distances = rerank.hamming(np.concatenate([code[None], listings.codes[order]]))
            order = order[np.argsort(rerank.k_reciprocal(distances), kind="stable")]
        for k in KS:
            hits[k] += row["product"] in {listings.rows[i]["product"] for i in order[:k]}
    return {k: hit / len(queries.rows) for k, hit in hits.items()}


def ballots(queries: Photos, listings: Photos, column: str) -> list[list[Ballot]]:
    """For each query the listings that would vote."""
    found = []
    for code in queries.codes:
        order, distances = nearest(code, listings, 20)
        found.append(
            [Ballot(f"{i:06}", listings.rows[i][column], int(d)) for i, d in zip(order, distances, strict=True)]
        )
    return found


def accuracy(voting: Voting, queries: Photos, votes: Sequence[list[Ballot]], column: str) -> float:
    """Share of queries whose best category is right."""
    best = [voting.count(said, cast)[0].category for said, cast in zip(queries.predictions, votes, strict=True)]
    return float(np.mean([a == row[column] for a, row in zip(best, queries.rows, strict=True)]))


def fitted(manifest: Manifest, cases: Iterable[tuple[Photos, Sequence[list[Ballot]], str]]) -> tuple[VoteRule, float]:
    """The rule that is right most often over all cases. Of equally good rules, that with smaller weight and scale."""
    given = list(cases)
    rules = [VoteRule(own_weight=w, scale_bits=s) for w in WEIGHTS for s in SCALES]
    scores = [np.mean([accuracy(Voting(manifest, rule), *case) for case in given]) for rule in rules]
    at = int(np.argmax(scores))
    return rules[at], float(scores[at])


def own(queries: Photos, head: str, column: str, manifest: Manifest) -> float:
    """The top-1 accuracy of the head alone."""
    values = {label.id: label.value for label in manifest.head(head).labels}
    return float(
        np.mean([values[p[head][0].label] == r[column] for p, r in zip(queries.predictions, queries.rows, strict=True)])
    )


def vote_and_rerank(engine: RecognitionEngine, folder: Path, cap: int) -> str:
    """Grocery photos among catalogue pictures, and among in-store photos."""
    rows = read("csv", folder).rows
    of = {split: [r for r in rows if not is_catalogue(r) and r["split"] == split] for split in ("train", "val", "test")}
    catalogue = recognised(engine, folder, [row for row in rows if is_catalogue(row)])
    photos = {split: recognised(engine, folder, _some(chosen, cap)) for split, chosen in of.items()}
    shops = {"catalogue pictures": catalogue, "in-store photos": photos["train"]}
    manifest = engine.manifest
    cases = [
        (photos["val"], ballots(photos["val"], listings, column), column)
        for listings in shops.values()
        for column in ("product", "coarse")
    ]
    best, score = fitted(manifest, cases)
    votes, ranks = [], []
    for shop, listings in shops.items():
        for column in ("product", "coarse"):
            cast = ballots(photos["test"], listings, column)

            def share(rule: VoteRule, cast: Sequence[list[Ballot]] = cast, column: str = column) -> str:
                return f"{accuracy(Voting(manifest, rule), photos['test'], cast, column):.3f}"

            alone = own(photos["test"], f"grocery.{column}", column, manifest)
            near = VoteRule(own_weight=0.0, scale_bits=RULE.scale_bits)
            votes.append([shop, len(listings.rows), column, f"{alone:.3f}", share(near), share(RULE), share(best)])
        for name in ORDERS:
            found = recall(photos["test"], listings, name)
            ranks.append([shop, len(listings.rows), name, *(f"{found[k]:.3f}" for k in KS)])
    chosen = f"own weight {best.own_weight:g}, scale {best.scale_bits:g} bits"
    ours = f"own weight {RULE.own_weight:g}, scale {RULE.scale_bits:g} bits"
    header = ["listings", "of them", "category", "own", "neighbours", f"vote ({ours})", "vote (best on validation)"]
    return "\n\n".join(
        [
            f"## Category by vote\n{len(photos['test'].rows)} test photos, share whose best category is right. {NOTE}",
            table(header, votes),
            f"On {len(photos['val'].rows)} validation photos the best rule is {chosen} (mean {score:.3f}).",
            "## Order of the listings\nShare of the same photos with their product among the first.",
            table(["listings", "of them", "order", *(f"R@{k}" for k in KS)], ranks),
        ]
    )


def kinds(engine: RecognitionEngine, data: Path, cap: int) -> str:
    """The labels that heads of other kinds of product offer, before and after the rule."""
    manifest = engine.manifest
    of = {head.id: head.datasets[0] for head in manifest.heads if len(head.datasets) == 1}
    rule, rows = RelevantHeads(manifest), []
    for name, right in KINDS.items():
        chosen = [r for r in read("csv", data / name).rows if not is_catalogue(r) and r["split"] == "test"]
        photos = recognised(engine, data / name, _some(chosen, cap))
        wrong, kept, silenced = [], 0, 0
        for said in photos.predictions:
            shown = rule.relevant(said)  # the rule alone, as for a bundle without applicability
            wrong += [head in shown for head, kind in of.items() if said[head][0].offered and kind not in right]
            kept += any(kind == name and head in shown for head, kind in of.items())
            silenced += not any(head in shown for head in of)
        n = len(photos.predictions)
        rows.append(
            [name, n, f"{len(wrong) / n:.2f}", f"{sum(wrong) / n:.2f}", f"{kept / n:.3f}", f"{silenced / n:.3f}"]
        )
    header = ["photos of", "photos", "wrong offers a photo", "with the rule", "own kind listened to", "no kind at all"]
    about = "Best labels that heads of another kind of product offer (fashion and clothing count as one kind)."
    return f"## Kinds of product\n{about}\n\n{table(header, rows)}"


def copies(photo: Image.Image) -> dict[str, bytes]:
    """Copies of the photo as people share them: a JPEG of quality 40, or of quality 90 with another change."""
    width, height = photo.size
    left, top = round(width * 0.05), round(height * 0.05)
    made = {
        "JPEG of quality 40": photo,
        "half as large": photo.resize((width // 2, height // 2), Image.Resampling.LANCZOS),
        "15 % lighter": ImageEnhance.Brightness(photo).enhance(1.15),
        "5 % cut off each side": photo.crop((left, top, width - left, height - top)),
        "mirrored": ImageOps.mirror(photo),
    }
    files = {}
    for name, picture in made.items():
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=40 if picture is photo else 90)
        files[name] = file.getvalue()
    return files


def near_duplicates(engine: RecognitionEngine, folder: Path, cap: int) -> str:
    """How far copies of a photo lie from it, and photos of other products from each other."""
    rows = [r for r in read("csv", folder).rows if not is_catalogue(r) and r["split"] == "test"]
    photos = recognised(engine, folder, _some(rows, cap))
    codes: dict[str, list[NDArray[np.uint8]]] = {}
    for row in photos.rows:
        with Image.open(folder / row["path"]) as picture:
            made = copies(ImageOps.exif_transpose(picture).convert("RGB"))
        pixels = np.stack([decode(one, engine.manifest.preprocess) for one in made.values()])
        for name, code in zip(made, engine.infer(pixels).hash, strict=True):
            codes.setdefault(name, []).append(code)
    far = np.bitwise_count(photos.codes[:, None] ^ photos.codes[None]).sum(2, dtype=np.int64)
    product = np.array([row["product"] for row in photos.rows])
    same = product[:, None] == product[None]
    bits = {name: np.bitwise_count(np.stack(c) ^ photos.codes).sum(1, dtype=np.int64) for name, c in codes.items()}
    off = ~np.eye(len(far), dtype=bool)
    others = {"nearest photo of its product": same & off, "nearest photo of another product": ~same}
    for name, pairs in others.items():
        bits[name] = np.where(pairs, far, BITS).min(1)
    lines = [
        [name, *(f"{np.quantile(d, q):.0f}" for q in (0.5, 0.9, 0.99)), *(f"{(d <= r).mean():.3f}" for r in RADII)]
        for name, d in bits.items()
    ]
    header = ["from a photo to", "median bits", "90 %", "99 %", *(f"within {r}" for r in RADII)]
    return f"## Near duplicates\n{len(photos.rows)} test photos of groceries.\n\n{table(header, lines)}"


def nearest_of(queries: Photos, listings: Photos) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The likeness and the distance of each photo's nearest listing, as the service has them for photos and for stored
    listings: float64 [n] and int64 [n]."""
    alike, bits = [], []
    for code, photo in zip(queries.codes, queries.unrounded, strict=True):
        order, distances = nearest(code, listings, RERANKED)
        bits.append(int(distances[0]))
        alike.append(by_bits(bits[-1]) if photo is None else max(by_cosines(rescored(photo, listings, order))))
    return np.array(alike), np.array(bits)


def closeness(engine: RecognitionEngine, data: Path, cap: int) -> str:
    """How often photos of listed products, and of things that are not listed, have a close listing."""
    rows, settings = read("csv", data / "grocery").rows, SearchSettings()
    train = [r for r in rows if not is_catalogue(r) and r["split"] == "train"]
    shops = {
        "catalogue pictures": recognised(engine, data / "grocery", [row for row in rows if is_catalogue(row)]),
        "in-store photos": recognised(engine, data / "grocery", _some(train, cap)),
    }
    found: dict[tuple[str, str, str], tuple[NDArray[np.float64], NDArray[np.int64]]] = {}
    for split in ("val", "test"):
        for name in ("grocery", *STRANGERS):
            chosen = [r for r in read("csv", data / name).rows if not is_catalogue(r) and r["split"] == split]
            photos = recognised(engine, data / name, _some(chosen, cap))
            for shop, listings in shops.items():
                found[split, name, shop] = nearest_of(photos, listings)
    lines = [
        [
            split,
            name,
            shop,
            len(bits),
            *(f"{np.quantile(alike, q):.2f}" for q in (0.05, 0.5, 0.95)),
            f"{(alike >= settings.close_likeness).mean():.3f}",
            *(f"{np.quantile(bits, q):.0f}" for q in (0.05, 0.5, 0.95)),
            f"{(bits <= settings.close_bits).mean():.3f}",
        ]
        for (split, name, shop), (alike, bits) in found.items()
    ]
    header = ["split", "photos of", "listings", "photos"]
    for measure in ("likeness", "bits"):
        header += [*(f"{measure}, {q}" for q in ("5 %", "50 %", "95 %")), f"close by {measure}"]
    best = (_best_limit(found, 0, np.arange(0.3, 0.7, 0.01)), _best_limit(found, 1, -np.arange(60.0, 110.0)))
    text = f"On validation photos the best limits are {best[0]:.2f} and {-best[1]:.0f} bits."
    about = """The nearest listing of photos of groceries, which are listed, and of photos of other things, of which
nothing is listed. *close*: share of photos with a close listing, by the service's limits. The best limit is the one
with the largest difference between both shares of validation photos, each the mean over sets and listings."""
    return f"## Close or not\n{about} {text}\n\n{table(header, lines)}"


def _best_limit(
    found: Mapping[tuple[str, str, str], tuple[NDArray[np.float64], NDArray[np.int64]]],
    measure: int,
    limits: NDArray[np.float64],
) -> float:
    """The limit that parts photos of listed things best from others, on validation photos; bits count negative."""
    sign = -1 if measure else 1

    def share(limit: float, names: Collection[str]) -> float:
        chosen = [both[measure] for (split, name, _), both in found.items() if split == "val" and name in names]
        return float(np.mean([(sign * values >= limit - 1e-9).mean() for values in chosen]))

    return float(max(limits, key=lambda limit: share(limit, ["grocery"]) - share(limit, STRANGERS)))


def _some(rows: Sequence[Row], cap: int) -> list[Row]:
    return list(rows) if len(rows) <= cap else random.Random(0).sample(list(rows), cap)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the page, or write it where --page says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search.search_quality", description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with grocery/, fashion/, clothing/ and object/"
    )
    parser.add_argument("--bundle", type=Path, default=demo_bundle(), help="default: the demo bundle")
    parser.add_argument("--photos", type=int, default=EVERY, help="at most so many of each split")
    parser.add_argument("--part", choices=["vote", "duplicates", "kinds", "close"], help="default: all of them")
    parser.add_argument("--page", type=Path, help="write a Markdown page")
    options = parser.parse_args(arguments)
    engine = build_engine(options.bundle)
    parts: dict[str, Callable[[], str]] = {
        "vote": lambda: vote_and_rerank(engine, options.data / "grocery", options.photos),
        "duplicates": lambda: near_duplicates(engine, options.data / "grocery", options.photos),
        "kinds": lambda: kinds(engine, options.data, options.photos),
        "close": lambda: closeness(engine, options.data, options.photos),
    }
    chosen = [parts[options.part]] if options.part else list(parts.values())
    body = f"Bundle {engine.manifest.model_version}.\n\n" + "\n\n".join(part() for part in chosen)
    engine.close()
    capped = f" --photos {options.photos}" if options.photos < EVERY else ""
    only = f" --part {options.part}" if options.part else ""
    command = f"python -m benchmarks.search.search_quality --data DATA{only}{capped}"
    text = page(
        "Search: vote, re-ranking, duplicates, kinds, closeness", command, versions("numpy", "onnxruntime"), body
    )
    if options.page:
        options.page.write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
