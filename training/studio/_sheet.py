"""Contact sheets: many photos on one picture, to look at."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from training.studio._photo import Photo, render
from training.studio._product import CATEGORIES, DEMO_IDENTITIES, Product, make_product


def contact_sheet(photos: Sequence[Photo], columns: int, captions: bool = True) -> Image.Image:
    """The photos, all of one size, row after row, each with its product's title below."""
    height, width = photos[0].pixels.shape[:2]
    strip = 14 if captions else 0
    rows = -(-len(photos) // columns)
    sheet = Image.new("RGB", (columns * (width + 4), rows * (height + strip + 4)), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    for number, photo in enumerate(photos):
        x, y = number % columns * (width + 4), number // columns * (height + strip + 4)
        sheet.paste(Image.fromarray(photo.pixels), (x, y))
        if captions:
            pen.text((x + 2, y + height + 1), photo.product.title[: width // 6], fill=(40, 40, 40))
    return sheet


def sample_of_each(side: int = 160, seed: int = 0) -> list[Photo]:
    """Per category two products, each as one iconic and one natural photo: 4 photos a category."""
    found: dict[str, list[Product]] = {category: [] for category in CATEGORIES}
    for identity in DEMO_IDENTITIES:
        product = make_product(identity, seed)
        if len(found[product.category]) < 2:
            found[product.category].append(product)
        if all(len(products) == 2 for products in found.values()):
            break
    photos = []
    for category in CATEGORIES:
        for product in found[category]:
            photos.append(render(product, 0, "iconic", (side, side), seed))
            photos.append(render(product, 1, "natural", (side, side), seed))
    return photos
