"""The cells of a photo's row: what is written comes back, and cells from before a field existed are read."""

from __future__ import annotations

import json

from msgspec import structs

from tests.contract.test_store_contract import effects, event
from workers.stores.cassandra import _cells as cells


def test_rows_come_back_as_they_were_whatever_they_keep() -> None:
    listing, _ = effects(event("l", 5, ["a", "b"]))
    first, second = listing.images
    kept, embedding = bytes(range(256)), bytes(range(40, 240)) * 2
    boxes = [
        structs.replace(first, box=(0.0, 0.0, 0.5, 1.0), margins=m, embedding=e)
        for m, e in ((kept, None), (None, None), (kept[::-1], None), (None, embedding), (kept, embedding))
    ]
    for rows in ([first, second], [structs.replace(first, embedding=embedding), second], [*boxes, second]):
        written = structs.replace(listing, images=rows)
        rank = cells.rank_of(written, cells.key_of(written.event.order))
        bodies = dict(cells.bodies_of(written, rank))
        assert cells.images_of(cells.decode_summary(bodies[""]), bodies) == rows


def test_a_cell_of_before_is_read_and_nothing_is_written_where_nothing_is_kept() -> None:
    listing, _ = effects(event("l", 5, ["a"]))
    bare = structs.replace(listing, images=[structs.replace(listing.images[0], margins=None, embedding=None)])
    rank = cells.rank_of(bare, cells.key_of(bare.event.order))
    body = dict(cells.bodies_of(bare, rank))["a"]
    assert set(json.loads(body)) == {"rank", "predictions", "hash", "applies"}
    assert (cells.decode_image(body).margins, cells.decode_image(body).embedding) == (None, None)
    for name, size, encoded in (("margins", 256, 344), ("embedding", 400, 536)):
        full = structs.replace(bare, images=[structs.replace(bare.images[0], **{name: bytes(size)})])
        longer = dict(cells.bodies_of(full, rank))["a"]
        assert len(longer) - len(body) == len(f',"{name}":""') + encoded
