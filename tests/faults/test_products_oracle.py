"""The judge of products is itself tested: after a right worker it finds nothing, and each thing that is spoilt by hand
it names. Embedded back ends."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from schemas.hashes import HashMessage, ImageHash
from schemas.products import Membership, Product, ProductMessage, encode_product
from schemas.topics import PRODUCTS
from tests.contract.test_store_contract import effects, event
from tests.faults.leaving import SELLERS, with_leaving_seller
from tests.faults.oracle import Verdict, newest
from tests.faults.products_oracle import ProductsOracle
from tests.faults.workload import workload
from tests.workers.indexer.hash_topic import EPOCH, Publisher, stream_at
from tests.workers.products.running import running
from workers.stores import Store, build_store
from workers.streams import Stream

GROUPS = (("a", "b", "c"), ("d", "e"), ("f",))
"""What `settled` makes: each listing's photo is that of its group."""
ID = "p-" + "0" * 20


@dataclass
class House:
    """A stream and a store with three products, and a judge that has found them right."""

    stream: Stream
    store: Store
    oracle: ProductsOracle

    def judged(self) -> Verdict:
        verdict = Verdict()
        self.oracle.judge(self.stream, self.store, verdict)
        return verdict

    def say(self, name: str, value: bytes | None) -> None:
        with closing(self.stream.producer()) as producer:
            producer.send(PRODUCTS, name.encode(), value, ())
            producer.flush(10)

    def product_of(self, name: str) -> Product:
        product = self.store.product(self.store.products_of([name])[name])
        assert product is not None
        return product


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    draw, stream = random.Random(1), stream_at(tmp_path)
    with closing(build_store(f"sqlite://{tmp_path}/store.db")) as store, Publisher(stream, EPOCH) as publisher:
        for group in GROUPS:
            photo = draw.getrandbits(256)
            for name in group:
                listing, thumbnails = effects(event(name, 1))
                store.write(listing, thumbnails)
                hashes = [ImageHash(image_id="i", hash=f"{photo ^ 1 << draw.randrange(256):064x}")]
                publisher.put(
                    HashMessage(
                        listing_id=name,
                        event_time=listing.event_time,
                        epoch=EPOCH,
                        model_version="m",
                        state="active",
                        category=None,
                        images=hashes,
                    )
                )
        publisher.flush()
        with running(stream, store):
            pass
        made = House(stream, store, ProductsOracle(EPOCH))
        verdict = made.judged()
        assert verdict.clean, str(verdict)
        yield made


def leave_out(house: House) -> None:
    house.store.drop_products([], ["b"])


def keep_removed(house: House) -> None:
    house.store.remove(event("f", 2, []))


def part(house: House) -> None:
    since = next(one.since for one in house.store.all_memberships() if one.listing_id == "e")
    made = Product(product_id=ID, founded=since, founder="e")
    house.store.put_products([made], [Membership(listing_id="e", product_id=ID, since=since)])
    house.say("e", encode_product(ProductMessage(listing_id="e", product_id=ID, founded=since)))


def forget_founder(house: House) -> None:
    old = house.product_of("a")
    house.store.put_products([msgspec.structs.replace(old, founder="f")], [])


def say_other(house: House) -> None:
    house.say("d", encode_product(ProductMessage(listing_id="d", product_id=ID, founded=1)))


def say_nothing(house: House) -> None:
    house.say("d", None)


def say_more(house: House) -> None:
    house.say("z", encode_product(ProductMessage(listing_id="z", product_id=ID, founded=1)))


def rename(house: House) -> None:
    """The same groups under another id, in store and topic."""
    old = house.product_of("f")
    made = msgspec.structs.replace(old, product_id=ID)
    since = next(one.since for one in house.store.all_memberships() if one.listing_id == "f")
    house.store.put_products([made], [Membership(listing_id="f", product_id=ID, since=since)])
    house.store.drop_products([old.product_id], [])
    house.say("f", encode_product(ProductMessage(listing_id="f", product_id=ID, founded=old.founded)))


@pytest.mark.parametrize(
    ("spoil", "kind", "named"),
    [
        (leave_out, "lost", "product: b: has none"),
        (keep_removed, "extra", "product: f: has one without a photo"),
        (part, "wrong", "product: e: with ['e'], expected ['d', 'e']"),
        (forget_founder, "wrong", "product: f: founder of "),
        (say_other, "wrong", f"product: d: {ID} on the topic"),
        (say_nothing, "lost", "product: d: not on the topic"),
        (say_more, "extra", "product: z: on the topic alone"),
        (rename, "lost", "product: f: its id "),
    ],
)
def test_what_is_spoilt_is_named(house: House, spoil: Callable[[House], None], kind: str, named: str) -> None:
    spoil(house)
    verdict = house.judged()
    assert any(text.startswith(named) for text in verdict.kinds()[kind]), str(verdict)


def test_a_seller_leaves_with_all_listings_whatever_else_is_sent() -> None:
    plain = workload(60, [b"x"] * 3, seed=5, name="town")
    sold = with_leaving_seller(plain, seed=5)
    assert sold == with_leaving_seller(plain, seed=5)
    sellers = {one.listing_id: one.seller_id for one in sold}
    assert all(one.seller_id == sellers[one.listing_id] for one in sold)
    assert 1 < len(set(sellers.values())) <= SELLERS
    before, after = newest(plain), newest(sold)
    left = {name for name, one in after.items() if one.removed and not before[name].removed}
    assert len({sellers[name] for name in left}) == 1
    assert all(after[name].removed for name, seller in sellers.items() if seller in {sellers[one] for one in left})
    assert len(sold) - len(plain) == sum(seller in {sellers[one] for one in left} for seller in sellers.values())
