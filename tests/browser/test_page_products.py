"""The page with `?group=product`: one card for each product, and how many offers it has."""

from __future__ import annotations

from schemas.products import Membership, Product, first_id
from tests.workers.search.rig import Rig, photo

BIRTH = 1_700_000_000_000_000
MEMBERS = ("shop/7", "shop/8", "shop/9")


def test_a_grouped_page_marks_how_many_offers_a_product_has(visit, shop: Rig):
    mug = Product(product_id=first_id(MEMBERS[0], BIRTH), founded=BIRTH, founder=MEMBERS[0])
    members = [Membership(listing_id=name, product_id=mug.product_id, since=BIRTH) for name in MEMBERS]
    shop.store.put_products([mug], members)
    for query, marks in (("", 0), ("?group=product", 1)):
        with visit(f"{shop.server.url}/{query}") as v:
            answer = v.upload(photo(7, 160)).answer
            named = [one["listing_id"] for one in answer["neighbours"] if one["listing_id"] in MEMBERS]
            assert v.texts("#grid .card .offers") == ["3 offers"] * marks
            assert len(named) == 1 or not marks
            label = v.page.locator("#grid .card", has=v.page.locator(".offers")).first
            assert not marks or (label.get_attribute("aria-label") or "").endswith("3 offers")
