"""Contact sheets: one image with many photos."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw

from training.studio._photo import Photo, render
from training.studio._product import CATEGORIES, DEMO_IDENTITIES, Product, make_product

_LINE = 12  # pixels of a line of caption; the font has 10, and a letter is about 5.5 wide


def _caption(photo: Photo, width: int) -> str:
    product = photo.product
    labels = f"{product.category} | {product.colour} | {product.material} | {product.pattern}"
    text = product.title if photo.domain == "iconic" else labels
    return "\n".join(textwrap.wrap(text, max(int(width / 5.5), 4))[:2])


def contact_sheet(photos: Sequence[Photo], columns: int, captions: bool = True) -> Image.Image:
    """The photos, all of one size, in rows. Iconic photos have the title below them, natural ones the labels."""
    height, width = photos[0].pixels.shape[:2]
    strip = 2 * _LINE + 2 if captions else 0
    rows = -(-len(photos) // columns)
    sheet = Image.new("RGB", (columns * (width + 4), rows * (height + strip + 4)), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    for number, photo in enumerate(photos):
        x, y = number % columns * (width + 4), number // columns * (height + strip + 4)
        sheet.paste(Image.fromarray(photo.pixels), (x, y))
        if captions:
            pen.text((x + 2, y + height), _caption(photo, width), fill=(40, 40, 40), font_size=10, spacing=2)
    return sheet


def sample_of_each(side: int = 160, seed: int = 0) -> list[Photo]:
    """Two products of each category, each with one iconic and one natural photo: four photos for each category."""
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
