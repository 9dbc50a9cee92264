"""From typed words to the labels of a bundle that they mean.

A label is known by its text in the training data, by the texts that were merged into it, by its display names in all
languages, and by synonyms of the operator. The longest phrase counts: "water bottle" is not also a "bottle". Words are
compared in their normal form (`schemas.query_text`) without accents and plural endings, and without blanks inside a
phrase, so "T-Shirts" finds "Tshirt". Scripts without blanks are read character by character. A word that stands in
names of labels, and is no name itself, means all of these labels: "soyghurt". Last, a word of five letters or more may
have a typing error.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from engines.words.spelling import Spelling
from schemas.errors import ConfigError
from schemas.manifest import Label, Manifest
from schemas.query_text import normal_form, query_key, signs

_LONGEST = 12  # signs of a phrase; longer names are known by their words alone
_SHORTEST_PART = 4  # letters of a word that may stand for the labels in whose names it is: not "for" or "and"
_MOST_PARTS = 100  # labels that one word may stand for
_MIN_STEM = 4  # letters of a word that may lose its plural ending
_AFTER_HISS = ("sses", "ches", "shes", "xes", "zes")


class LabelRef(NamedTuple):
    """A label of a head, by its ids."""

    head: str
    label: str


@dataclass(frozen=True, slots=True)
class Phrase:
    """A part of a text. `text` is its normal form, `labels` what it means (empty if it is not understood), in the
    order of the manifest. `corrected` is the known form that was taken instead of it; None if nothing was mistyped."""

    text: str
    labels: tuple[LabelRef, ...] = ()
    corrected: str | None = None


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a text says, phrase by phrase in its order."""

    phrases: tuple[Phrase, ...]

    @property
    def understood(self) -> list[Phrase]:
        """The phrases that mean a label."""
        return [one for one in self.phrases if one.labels]

    @property
    def unknown(self) -> list[Phrase]:
        """The phrases that mean no label."""
        return [one for one in self.phrases if not one.labels]

    def heads(self) -> set[str]:
        """The ids of the heads that have a label in the text."""
        return {ref.head for one in self.phrases for ref in one.labels}


class Phrases:
    """The phrases of one bundle. Immutable, and safe to call from several threads."""

    def __init__(
        self, manifest: Manifest, synonyms: Mapping[str, Sequence[str]] | None = None, hidden: Collection[str] = ()
    ) -> None:
        """`synonyms`: further names of labels, by `HEAD/LABEL`. Heads in `hidden` are not known.

        Raises:
            ConfigError: a synonym is of a label that the bundle does not have. The message names it.
        """
        labels = {
            LabelRef(head.id, label.id): _names(label)
            for head in manifest.heads
            if head.id not in hidden
            for label in head.labels
        }
        for name, more in (synonyms or {}).items():
            head, _, label = name.partition("/")
            known = LabelRef(head, label)
            if known not in labels and head not in hidden:
                text = f"search.synonyms: bundle {manifest.model_version} has no label {name!r}"
                raise ConfigError(f"{text}; write HEAD/LABEL with the ids of the manifest")
            labels.setdefault(known, []).extend(more)
        self._whole, self._parts = _indexed({ref: names for ref, names in labels.items() if ref.head not in hidden})
        self._spelling = Spelling([*self._whole, *self._parts])

    def read(self, text: str, *, exact: bool = False) -> Meaning:
        """What the text says. With `exact`, only whole names of labels without typing errors count, as for a title. Its
        cost grows with the length of the text, so callers bound that."""
        typed = list(signs(normal_form(text)))
        keys = [word_key(word) for word in typed]
        found: list[Phrase] = []
        place = 0
        while place < len(typed):
            phrase, length = self._phrase(typed, keys, place, exact)
            found.append(phrase)
            place += length
        return Meaning(tuple(_joined(found)))

    def _phrase(self, typed: Sequence[str], keys: Sequence[str], place: int, exact: bool) -> tuple[Phrase, int]:
        """The longest phrase that begins at a place, and of how many signs it is."""
        for length in range(min(_LONGEST, len(typed) - place), 0, -1):
            labels = self._whole.get("".join(keys[place : place + length]))
            if labels:
                return Phrase(_text(typed[place : place + length]), labels), length
        key = keys[place]
        if exact:
            return Phrase(typed[place]), 1
        if labels := self._parts.get(key):
            return Phrase(typed[place], labels), 1
        known = self._spelling.nearest(key)
        if known is not None:
            labels = self._whole.get(known) or self._parts.get(known, ())
            return Phrase(typed[place], labels, corrected=known), 1
        return Phrase(typed[place]), 1


def word_key(word: str) -> str:
    """What a word in normal form is compared by: without accents and, in ASCII, without its plural ending.

    The endings are those of the S stemmer (Harman, "How effective is suffixing?", 1991), and "es" after a hiss
    ("dresses", "watches")."""
    key = query_key(word)
    if len(key) < _MIN_STEM or not key.isascii():
        return key
    if key.endswith("ies") and not key.endswith(("eies", "aies")):
        return key[:-3] + "y"
    if key.endswith(_AFTER_HISS):
        return key[:-2]
    return key[:-1] if key.endswith("s") and not key.endswith(("us", "ss")) else key


def _names(label: Label) -> list[str]:
    return [label.value, *label.merged, *label.display.values()]


Labels = dict[str, tuple[LabelRef, ...]]


def _indexed(labels: Mapping[LabelRef, Sequence[str]]) -> tuple[Labels, Labels]:
    """The labels by the keys of their whole names, and by the keys of words in their names."""
    whole: dict[str, dict[LabelRef, None]] = {}
    parts: dict[str, dict[LabelRef, None]] = {}
    for ref, names in labels.items():
        for name in names:
            keys = [word_key(word) for word in signs(normal_form(name))]
            if keys and len(keys) <= _LONGEST:
                whole.setdefault("".join(keys), {})[ref] = None
            for key in keys if len(keys) > 1 else ():
                if len(key) >= _SHORTEST_PART:
                    parts.setdefault(key, {})[ref] = None
    few = {key: tuple(refs) for key, refs in parts.items() if len(refs) <= _MOST_PARTS}
    return {key: tuple(refs) for key, refs in whole.items()}, few


def _joined(phrases: Sequence[Phrase]) -> Iterator[Phrase]:
    """The phrases; characters of scripts without blanks that are not understood, and stand together, are one."""
    waiting = ""
    for one in phrases:
        if not one.labels and not one.text.isascii() and not _spaced(one.text):
            waiting += one.text
            continue
        if waiting:
            yield Phrase(waiting)
            waiting = ""
        yield one
    if waiting:
        yield Phrase(waiting)


def _spaced(word: str) -> bool:
    """Whether a word is of a script with blanks: two of it do not become one run without a blank."""
    return len(list(signs(word + word))) < 2


def _text(typed: Sequence[str]) -> str:
    """The phrase as it is written: with blanks between words, and without between signs of other scripts."""
    return normal_form(" ".join(typed))
