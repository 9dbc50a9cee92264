"""What products must hold, computed from the hash topic and the stored listings, and how they differ from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.errors import InvalidEvent
from schemas.hashes import HashMessage, decode_hashes
from schemas.predictions import StoredListing
from schemas.products import Membership, Product, ProductMessage, decode_product
from schemas.topics import PRODUCTS, hash_topic
from tests.faults.oracle import Verdict
from tests.workers.products.shop import distance, naive_stars
from workers.products import ProductsSettings
from workers.stores.base import Order, Store
from workers.streams.base import Stream

Links = dict[str, set[str]]


@dataclass
class ProductsOracle:
    """Compares products with the listings, and remembers the ids that it has seen.

    - Every listing with a photo has exactly one product, and no other listing has one.
    - The products are those of a naive twin of the grouping.
    - The compacted topic says what the store says.
    - An id stays with its founder for as long as no newer event of the founder comes.
    """

    epoch: str
    settings: ProductsSettings = field(default_factory=ProductsSettings)
    _seen: dict[str, tuple[str, Order]] = field(default_factory=dict)
    """By product id, its founder and the order of the founder's event."""

    def judge(self, stream: Stream, store: Store, verdict: Verdict) -> None:
        """Add every difference to the verdict. Raises Transient."""
        stored = {state.listing_id: state for state in store.scan()}
        live = {name: state for name, state in stored.items() if isinstance(state, StoredListing) and state.images}
        products = {one.product_id: one for one in store.all_products()}
        belongs = {one.listing_id: one for one in store.all_memberships()}
        verdict.lost += [f"product: {name}: has none" for name in live.keys() - belongs.keys()]
        verdict.extra += [f"product: {name}: has one without a photo" for name in belongs.keys() - live.keys()]
        _judge_rows(store, products, belongs, verdict)
        _judge_topic(stream, products, belongs, verdict)
        messages = {name: one for name, one in hash_messages(stream, self.epoch).items() if name in live and one.images}
        self._judge_groups(messages, live, belongs, verdict)
        for name, (founder, order) in sorted(self._seen.items()):
            if founder in live and live[founder].event.order == order and name not in products:
                verdict.lost.append(f"product: {founder}: its id {name} is gone")
        if verdict.clean:
            founders = {one.product_id: one.founder for one in products.values()}
            self._seen = {name: (one, live[one].event.order) for name, one in founders.items()}

    def _judge_groups(
        self,
        messages: Mapping[str, HashMessage],
        live: Mapping[str, StoredListing],
        belongs: Mapping[str, Membership],
        verdict: Verdict,
    ) -> None:
        offered = {
            name: {head: {one.label for one in labels if one.offered} for head, labels in predictions.items()}
            for name, predictions in ((name, live[name].summary.predictions) for name in messages)
        }

        def contradict(one: str, other: str) -> bool:
            given = {" ".join(text.casefold().split()) for name in (one, other) if (text := messages[name].category)}
            mine, theirs = offered[one], offered[other]
            apart = [head for head in mine if mine[head] and theirs.get(head) and not mine[head] & theirs[head]]
            return len(given) > 1 or len(apart) > self.settings.most_differences

        near = links_of(messages, self.settings.radius_bits, self.settings.most_copies)
        links = {one: {other for other in near[one] if not contradict(one, other)} for one in near}
        group_of = {name: group for group in naive_stars(links, contradict) for name in group}
        members = _by_product(belongs)
        for name, group in sorted(group_of.items()):
            found = members[belongs[name].product_id] if name in belongs else None
            if found is not None and found != group:
                verdict.wrong.append(f"product: {name}: with {sorted(found)[:4]}, expected {sorted(group)[:4]}")


def _judge_rows(
    store: Store, products: Mapping[str, Product], belongs: Mapping[str, Membership], verdict: Verdict
) -> None:
    members = _by_product(belongs)
    for product_id, product in products.items():
        listed = set(store.members(product_id))
        for name in sorted(listed - members[product_id]):
            verdict.extra.append(f"product: {name}: {product_id} still lists it")
        for name in sorted(members[product_id] - listed):
            verdict.lost.append(f"product: {name}: {product_id} does not list it")
        if (product.founder in members[product_id]) != (product.survivor is None) or product.founder not in belongs:
            verdict.wrong.append(f"product: {product.founder}: founder of {product_id}, and no member of it")
        if product.survivor is not None and product.survivor not in products:
            verdict.wrong.append(f"product: {product.founder}: {product_id} stands for one that is gone")
    for name, one in belongs.items():
        if one.product_id not in products:
            verdict.lost.append(f"product: {name}: the store has no product {one.product_id}")


def _judge_topic(
    stream: Stream, products: Mapping[str, Product], belongs: Mapping[str, Membership], verdict: Verdict
) -> None:
    said = newest_messages(stream)
    for name in sorted(said.keys() - belongs.keys()):
        verdict.extra.append(f"product: {name}: on the topic alone")
    for name, one in sorted(belongs.items()):
        message = said.get(name)
        if message is None:
            verdict.lost.append(f"product: {name}: not on the topic")
        elif (product := products.get(one.product_id)) is not None and (
            message.product_id != one.product_id or message.founded != product.founded
        ):
            verdict.wrong.append(f"product: {name}: {message.product_id} on the topic, {one.product_id} in the store")


def newest_messages(stream: Stream) -> dict[str, ProductMessage]:
    """What the compacted topic of products says of each listing; a record that is no message of ours says nothing."""
    said: dict[str, ProductMessage] = {}
    admin = stream.admin()
    for record in admin.read(PRODUCTS):
        name = (record.key or b"").decode()
        said.pop(name, None)
        if record.value is not None:
            try:
                said[name] = decode_product(record.value)
            except InvalidEvent:
                continue
    admin.close()
    return said


def hash_messages(stream: Stream, epoch: str) -> dict[str, HashMessage]:
    """The newest hash message of each listing that was not removed."""
    last = {}
    admin = stream.admin()
    for record in admin.read(hash_topic(epoch)):
        last[record.key] = record.value
    admin.close()
    messages = [decode_hashes(value) for value in last.values() if value is not None]
    return {one.listing_id: one for one in messages}


def links_of(messages: Mapping[str, HashMessage], radius: int, most_copies: int) -> Links:
    """The links of listings. It compares all pairs of different hashes, and knows no index."""
    photos: dict[str, list[str]] = {}
    for name, message in messages.items():
        first: dict[str, str] = {}
        for image in message.images:
            first.setdefault(image.image_id, image.hash)
        photos[name] = list(first.values())
    having: dict[str, set[str]] = defaultdict(set)
    for name, hashes in photos.items():
        for one in hashes:
            having[one].add(name)
    near = {
        one: set().union(*(names for other, names in having.items() if distance(one, other) <= radius))
        for one in having
    }
    counting = {
        name: [near[one] for one in hashes if len(near[one] - {name}) <= most_copies] for name, hashes in photos.items()
    }
    links: Links = {name: set() for name in photos}
    for name, mine in counting.items():
        for other in set().union(*mine) - {name}:
            theirs = counting[other]
            both = min(sum(other in one for one in mine), sum(name in one for one in theirs))
            if both and 2 * both >= min(len(mine), len(theirs)):
                links[name].add(other)
    return links


def _by_product(belongs: Mapping[str, Membership]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for name, one in belongs.items():
        found[one.product_id].add(name)
    return found
