"""Gives groups of listings their ids, so that an id stays with its product.

Every listing can found a product, whose id is made of the listing and the time from which it is known. Of all ids whose
founders are in a group, the oldest is its id: the earliest founding time, then the smallest id. So

- without removals, a group's id follows from its listings alone, whatever the order in which they came;
- when products are merged, the older id stays, and the other becomes an alias of it;
- when a product is divided, its id stays with the part that has its founder; the other part gets its own oldest id,
  which is an alias no longer;
- when a founder leaves, or its photos are changed to those of something else, the id stays with the members: the one
  that is known for longest becomes the founder;
- naming the same groups again changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from schemas.products import Membership, Product, first_id


@dataclass(slots=True)
class Changes:
    """What must be written: products and memberships that are new or different, and what must be deleted."""

    products: dict[str, Product] = field(default_factory=dict)
    memberships: dict[str, Membership] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    """Products without a listing, and the aliases of such products."""
    left: set[str] = field(default_factory=set)
    """Listings that have no product any more."""

    def __bool__(self) -> bool:
        return bool(self.products or self.memberships or self.ended or self.left)


@dataclass(frozen=True, slots=True)
class _Situation:
    """The arguments of `Book.named`: `present` are the listings of the groups, `group_of` has their groups' numbers."""

    present: Set[str]
    gone: set[str]
    alive: Container[str]
    edited: Collection[str]
    group_of: Mapping[str, int]


class Book:
    """All products and memberships, as the store has them. `named` plans changes, and `take` makes them here."""

    def __init__(self, products: Iterable[Product] = (), memberships: Iterable[Membership] = ()) -> None:
        self.products: dict[str, Product] = {}
        self.memberships: dict[str, Membership] = {}
        self._founded_by: dict[str, set[str]] = {}
        self._members: dict[str, set[str]] = {}
        self._aliases: dict[str, set[str]] = {}
        self.take(Changes({one.product_id: one for one in products}, {one.listing_id: one for one in memberships}))

    def __len__(self) -> int:
        """The number of products, without aliases."""
        return len(self._members)

    def members(self, product_id: str) -> Collection[str]:
        """The listings of a product."""
        return self._members.get(product_id, ())

    def take(self, changes: Changes) -> None:
        """Make changes that the store has now."""
        for listing_id in changes.left:
            self._unseat(listing_id)
        for product_id in changes.ended:
            self._drop(product_id)
        for product in changes.products.values():
            self._drop(product.product_id)
            self.products[product.product_id] = product
            self._founded_by.setdefault(product.founder, set()).add(product.product_id)
            if product.survivor is not None:
                self._aliases.setdefault(product.survivor, set()).add(product.product_id)
        for membership in changes.memberships.values():
            self._unseat(membership.listing_id)
            self.memberships[membership.listing_id] = membership
            self._members.setdefault(membership.product_id, set()).add(membership.listing_id)

    def _drop(self, product_id: str) -> None:
        old = self.products.pop(product_id, None)
        if old is not None:
            _discard(self._founded_by, old.founder, product_id)
            if old.survivor is not None:
                _discard(self._aliases, old.survivor, product_id)

    def _unseat(self, listing_id: str) -> None:
        old = self.memberships.pop(listing_id, None)
        if old is not None:
            _discard(self._members, old.product_id, listing_id)

    def named(
        self,
        groups: Sequence[Collection[str]],
        times: Mapping[str, int],
        gone: Collection[str] = (),
        alive: Container[str] = (),
        edited: Collection[str] = (),
    ) -> Changes:
        """Plan the ids of groups.

        Args:
            groups: disjoint; the listings whose group may have changed, or a part of them.
            times: by listing of the groups, the event time (UTC microseconds) of what is known of it now.
            gone: listings that have no photo any more, or were removed.
            alive: all other listings that are known now; those that are in neither have not been read yet.
            edited: listings of the groups whose photos have changed. The other members of their products are here too.
        """
        group_of = {listing_id: number for number, group in enumerate(groups) for listing_id in group}
        now = _Situation(group_of.keys(), set(gone), alive, edited, group_of)
        changes = Changes(left={one for one in gone if one in self.memberships})
        founders = self._founders(now, changes)
        since = {listing_id: self._since(listing_id, times[listing_id], founders) for listing_id in sorted(group_of)}
        founded_by: dict[str, list[str]] = {}
        for product_id, founder in founders.items():
            founded_by.setdefault(founder, []).append(product_id)
        for group in groups:
            self._name(group, since, founded_by, changes)
        return changes

    def _founders(self, now: _Situation, changes: Changes) -> dict[str, str]:
        """The founder of each product and alias that the groups may claim. Notes those that end."""
        present, gone = now.present, now.gone
        concerned = {self.memberships[one].product_id for one in present | gone if one in self.memberships}
        concerned |= {name for one in present | gone for name in self._founded_by.get(one, ())}
        known = [self.products[name] for name in sorted(concerned) if name in self.products]
        founders: dict[str, str] = {}
        for product in known:
            if product.survivor is not None:
                continue
            if product.founder not in present and product.founder in now.alive:
                continue  # its part has the id, and these listings leave it
            heir = self._heir(product, now)
            if heir is not None:
                followers = self._with_aliases(product.product_id) if heir != product.founder else {product.product_id}
                founders |= {name: heir for name in followers if self.products[name].founder == product.founder}
            elif gone.issuperset(self.members(product.product_id)):
                changes.ended |= self._with_aliases(product.product_id)
        for product in known:
            if product.survivor is None or product.product_id in founders:
                continue
            if product.founder in present:
                founders[product.product_id] = product.founder
            elif product.founder in gone:
                self._orphaned(product, founders, changes)
        return founders

    def _heir(self, product: Product, now: _Situation) -> str | None:
        """The founder of a product. If it is not here any more, or an edit has taken it away from all members that were
        not edited, it is the member that is known for longest."""
        members = [self.memberships[one] for one in self.members(product.product_id) if one in now.present]
        if product.founder in now.present:
            steady = [one for one in members if one.listing_id not in now.edited]
            group = now.group_of[product.founder]
            stays = any(now.group_of[one.listing_id] == group for one in steady)
            if product.founder not in now.edited or not steady or stays:
                return product.founder
            members = steady
        return min(members, key=lambda one: (one.since, one.listing_id)).listing_id if members else None

    def _orphaned(self, alias: Product, founders: dict[str, str], changes: Changes) -> None:
        """The founder of an alias has left: from now on the alias goes with the product that it stands for."""
        end = alias
        while end.survivor is not None and end.survivor in self.products:
            end = self.products[end.survivor]  # a survivor is older than its alias, so there is no circle
        name = alias.product_id
        if end.product_id in founders:
            founders[name] = founders[end.product_id]
        elif end.survivor is None and end.product_id not in changes.ended:
            self._note(_with(alias, end.founder, alias.survivor), changes)
        else:
            changes.ended.add(name)

    def _with_aliases(self, product_id: str) -> set[str]:
        found, waiting = set(), [product_id]
        while waiting:
            name = waiting.pop()
            found.add(name)
            waiting += self._aliases.get(name, set()) - found
        return found

    def _since(self, listing_id: str, event_time: int, founders: Mapping[str, str]) -> int:
        """The time from which a listing is known. It changes if another listing has the id that this one founded."""
        held = self.memberships.get(listing_id)
        since = event_time if held is None else held.since
        while True:
            name = first_id(listing_id, since)
            product = self.products.get(name)
            if product is None or founders.get(name, product.founder) == listing_id:
                return since
            since = max(since + 1, event_time)

    def _name(
        self,
        group: Collection[str],
        since: Mapping[str, int],
        founded_by: Mapping[str, Sequence[str]],
        changes: Changes,
    ) -> None:
        held = {name: one for one in sorted(group) for name in founded_by.get(one, ())}
        claims = {name: (self.products[name].founded, founder) for name, founder in held.items()}
        for listing_id in group:
            claims.setdefault(first_id(listing_id, since[listing_id]), (since[listing_id], listing_id))
        winner = min(claims, key=lambda name: (claims[name][0], name))
        founded, founder = claims[winner]
        self._note(Product(product_id=winner, founded=founded, founder=founder), changes)
        for name, heir in held.items():
            if name != winner:
                self._note(_with(self.products[name], heir, winner), changes)
        for listing_id in group:
            membership = Membership(listing_id=listing_id, product_id=winner, since=since[listing_id])
            if self.memberships.get(listing_id) != membership:
                changes.memberships[listing_id] = membership

    def _note(self, product: Product, changes: Changes) -> None:
        if self.products.get(product.product_id) != product:
            changes.products[product.product_id] = product


def _with(product: Product, founder: str, survivor: str | None) -> Product:
    return Product(product_id=product.product_id, founded=product.founded, founder=founder, survivor=survivor)


def _discard(table: dict[str, set[str]], key: str, value: str) -> None:
    held = table.get(key)
    if held is not None:
        held.discard(value)
        if not held:
            del table[key]
