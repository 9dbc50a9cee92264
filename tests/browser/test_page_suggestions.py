"""A listing's usual price and what goes with it, in a real browser."""

from __future__ import annotations

from pathlib import Path

from schemas.events import Price
from tests.workers.indexer.running import until
from tests.workers.search.rig import photo, rig
from tests.workers.together.topic import cart, send


def test_a_listing_shows_its_usual_price_and_opens_what_goes_with_it(visit, tmp_path: Path):
    with rig(tmp_path) as made:
        for i in range(6):
            price = Price(amount=f"{10 + i}.00", currency="EUR")
            made.add(f"mug/{i}", {"p": photo(1, 160)}, title=f"Mug {i}", price=price, seller_id=f"s{i}")
        made.add("lamp", {"p": photo(3, 160)}, title="Lamp")
        made.indexed(7)
        send(made.stream, *(cart(f"o{i}", "mug/0", "lamp") for i in range(3)))
        url = "/v1/listings/mug%2F0/goes-with"
        until(lambda: made.get(url)[0] == 200 and len(made.get(url)[1]["companions"]) == 1)
        expected = made.get("/v1/listings/mug%2F0/price")[1]["price"]
        with visit(made.server.url) as v:
            v.page.click('#strip .card:has-text("Mug 0")')
            v.page.wait_for_selector("#companions:not([hidden])")
            (button,) = v.page.locator("#companions-list button").all()
            assert button.get_attribute("aria-label") == "Lamp, together before"
            v.page.wait_for_selector('#detail-facts dt:has-text("Usual price")')
            facts = dict(zip(v.texts("#detail-facts dt"), v.texts("#detail-facts dd"), strict=True))
            said = f"{expected['low']} to {expected['high']} EUR, of 5 sellers of this product"
            assert facts["Usual price"] == said
            button.click()
            v.until("document.getElementById('detail-title').textContent === 'Lamp'")
            v.page.wait_for_selector('#companions-list button[aria-label="Mug 0, together before"]')
            assert "Usual price" not in v.texts("#detail-facts dt"), "nobody asks a price for a lamp"
