"""The cells of a photo's row: what is written comes back, and cells from before a field existed are read."""

from __future__ import annotations

import json

from msgspec import structs

from tests.contract.test_store_contract import effects, event
from workers.stores.cassandra import _cells as cells


def test_rows_with_and_without_margins_come_back_as_they_were() -> None:
    listing, _ = effects(event("l", 5, ["a", "b"]))
    first, second = listing.images
    kept = bytes(range(256))
    boxes = [structs.replace(first, box=(0.0, 0.0, 0.5, 1.0), margins=m) for m in (kept, None, kept[::-1])]
    for rows in ([first, second], [structs.replace(first, margins=kept), second], [*boxes, second]):
        written = structs.replace(listing, images=rows)
        rank = cells.rank_of(written, cells.key_of(written.event.order))
        bodies = dict(cells.bodies_of(written, rank))
        assert cells.images_of(cells.decode_summary(bodies[""]), bodies) == rows


def test_a_cell_of_before_has_no_margins_and_none_are_written_where_none_are_kept() -> None:
    listing, _ = effects(event("l", 5, ["a"]))
    bare = structs.replace(listing, images=[structs.replace(listing.images[0], margins=None)])
    rank = cells.rank_of(bare, cells.key_of(bare.event.order))
    body = dict(cells.bodies_of(bare, rank))["a"]
    assert set(json.loads(body)) == {"rank", "predictions", "hash", "applies"}
    assert cells.decode_image(body).margins is None
    full = structs.replace(bare, images=[structs.replace(bare.images[0], margins=bytes(256))])
    longer = dict(cells.bodies_of(full, rank))["a"]
    assert len(longer) - len(body) == len(',"margins":""') + 344
