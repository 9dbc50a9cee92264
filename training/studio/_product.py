"""A product: its attributes, shape numbers and title, all derived from its identity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schemas.errors import Invalid

CATEGORIES = (
    "mug", "bottle", "bowl", "lamp", "stool", "chair", "table", "bag",
    "carton", "ball", "vase", "hat", "plate", "teapot", "cushion", "bucket",
)  # fmt: skip
COLOURS = (
    "red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "brown", "black", "grey", "white",
)  # fmt: skip
MATERIALS = ("ceramic", "glass", "metal", "wood", "plastic", "fabric", "leather", "cardboard")
PATTERNS = ("plain", "striped", "dotted", "checked", "zigzag", "marbled")

TRAIN_IDENTITIES = range(0, 100_000)
TEST_IDENTITIES = range(100_000, 120_000)
DEMO_IDENTITIES = range(200_000, 220_000)

# The materials of each category, all equally likely.
_MATERIALS_OF = {
    "mug": ("ceramic", "metal", "plastic"),
    "bottle": ("glass", "metal", "plastic"),
    "bowl": ("ceramic", "wood", "metal", "glass"),
    "lamp": ("fabric", "metal", "glass", "cardboard"),
    "stool": ("wood", "metal", "plastic", "leather"),
    "chair": ("wood", "metal", "plastic", "fabric", "leather"),
    "table": ("wood", "metal", "plastic"),
    "bag": ("leather", "fabric", "cardboard"),
    "carton": ("cardboard",),
    "ball": ("plastic", "leather", "fabric"),
    "vase": ("ceramic", "glass", "metal"),
    "hat": ("fabric", "leather"),
    "plate": ("ceramic", "wood", "metal", "plastic"),
    "teapot": ("ceramic", "metal"),
    "cushion": ("fabric", "leather"),
    "bucket": ("metal", "plastic"),
}
_UNPATTERNED = frozenset({"glass"})  # a print on transparent walls is hard to see, so its label would be wrong
_ADJECTIVE = {"wood": "wooden"}
_OPENERS = ("", "", "", "", "", "New ", "Vintage ", "Handmade ", "Lovely ", "Used ", "Small ", "Large ")
_CLOSERS = ("", "", "", "", "", ", like new", ", free delivery", " - pick up only", ", barely used", " (one left)")

SHAPE_NUMBERS = 12
_STREAM = 0x5D10  # separates a product's random numbers from those of its photos


@dataclass(frozen=True)
class Product:
    """One product. Every photo of it shows the same object.

    `shape` holds `SHAPE_NUMBERS` floats in [0, 1), read by the category's builder (proportions, variants) and by
    the finish (shade of the colour, scale of the pattern, colour of handles and legs).
    """

    identity: int
    category: str
    colour: str
    material: str
    pattern: str
    title: str
    shape: tuple[float, ...]

    def __post_init__(self) -> None:
        for field, known in (
            ("category", CATEGORIES),
            ("colour", COLOURS),
            ("material", MATERIALS),
            ("pattern", PATTERNS),
        ):
            if getattr(self, field) not in known:
                message = f"Product.{field} is {getattr(self, field)!r}: use one of {', '.join(known)}"
                raise Invalid("studio", "bad_product", message)
        if len(self.shape) != SHAPE_NUMBERS:
            message = f"Product.shape has {len(self.shape)} numbers: give {SHAPE_NUMBERS}, each in [0, 1)"
            raise Invalid("studio", "bad_product", message)


def make_product(identity: int, seed: int = 0) -> Product:
    """The product of an integer identity. The same `identity` and `seed` always give the same product."""
    rng = np.random.default_rng([_STREAM, seed % 2**64, identity % 2**64])
    category = CATEGORIES[int(rng.integers(len(CATEGORIES)))]
    colour = COLOURS[int(rng.integers(len(COLOURS)))]
    materials = _MATERIALS_OF[category]
    material = materials[int(rng.integers(len(materials)))]
    plain = rng.random() < 0.4 or material in _UNPATTERNED
    pattern = "plain" if plain else PATTERNS[1 + int(rng.integers(len(PATTERNS) - 1))]
    shape = tuple(float(value) for value in rng.random(SHAPE_NUMBERS))
    title = _title(category, colour, material, pattern, rng)
    return Product(identity, category, colour, material, pattern, title, shape)


def _title(category: str, colour: str, material: str, pattern: str, rng: np.random.Generator) -> str:
    """A title in a seller's words. It always names category and colour, and mostly material and pattern."""
    made_of = _ADJECTIVE.get(material, material)
    print_word = "" if pattern == "plain" else f"{pattern} "
    form = int(rng.integers(5))
    if form == 0:
        words = f"{colour} {print_word}{category}, {made_of}"
    elif form == 1:
        words = f"{made_of} {category} in {colour}" + (f", {pattern}" if print_word else "")
    elif form == 2 and not print_word:
        words = f"{colour} {category}"
    else:
        words = f"{colour} {print_word}{made_of} {category}"
    opener = _OPENERS[int(rng.integers(len(_OPENERS)))]
    closer = _CLOSERS[int(rng.integers(len(_CLOSERS)))]
    text = opener + words + closer
    return text[0].upper() + text[1:]
