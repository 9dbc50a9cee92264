"""The taxonomy of a run: known ids stay, and labels that are new in the data are added."""

from __future__ import annotations

import msgspec

from schemas.taxonomy import Taxonomy, TaxonomyHead, TaxonomyLabel, slug
from training.data.labels import Targets


def extend_taxonomy(taxonomy: Taxonomy, heads: list[Targets]) -> Taxonomy:
    """`taxonomy` plus every head and label of the run that it does not have, with the recipe's names. Nothing is ever
    removed, and no id changes."""
    there = {head.id: head for head in taxonomy.heads}
    for target in heads:
        spec = target.spec
        known = there.get(spec.id)
        labels = list(known.labels) if known else []
        labels = [_named(label, spec.names.get(label.value, {})) for label in labels]
        values, ids = {label.value for label in labels}, {label.id for label in labels}
        for value in target.values:
            if value not in values:
                label_id = _free(slug(value), ids)
                ids.add(label_id)
                new = TaxonomyLabel(id=label_id, value=value, display={"en": _display(value)})
                labels.append(_named(new, spec.names.get(value, {})))
        there[spec.id] = TaxonomyHead(
            id=spec.id,
            kind=spec.kind,
            column=spec.column,
            datasets=spec.datasets,
            display={**(known.display if known else {"en": _display(spec.id.replace(".", ": "))}), **spec.display},
            labels=labels,
        )
    return Taxonomy(version=taxonomy.version, heads=list(there.values()))


def _named(label: TaxonomyLabel, names: dict[str, str]) -> TaxonomyLabel:
    """The label with the recipe's names instead of, or besides, those that it has."""
    return msgspec.structs.replace(label, display={**label.display, **names}) if names else label


def _free(wanted: str, taken: set[str]) -> str:
    """`wanted`, or `wanted-2`, `wanted-3` and so on, whichever is the first that is not taken."""
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}-{number}", number + 1
    return name


def _display(value: str) -> str:
    text = value.replace("-", " ").replace("_", " ").strip()
    return text[:1].upper() + text[1:]
