"""Divides linked listings into products: stars, so that chains of photos do not become one product.

Links are not transitive: photo A is a near copy of B, and B of C, while A and C show different things. Connected
components would join a whole category through such chains. A *star* is one listing, its centre, and listings that are
linked with the centre. So no two photos of a star are more than twice the radius apart. The listing with the most links
becomes the first centre, then the next one that is in no star; equal ones go by id. No two listings of a star may
contradict each other. This is the star clustering of Aslam, Pelekhov and Rus (2004, "The star clustering algorithm for
static and dynamic information organization"), with disjoint stars.

The result is a function of the listings, their links and their attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping

Linked = Callable[[str], Collection[str]]
Agree = Callable[[str, str], bool]


def components(start: Iterable[str], linked: Linked) -> Iterable[dict[str, Collection[str]]]:
    """The connected components that hold the listings of `start`, each once: the listings of a component, with their
    links."""
    seen: set[str] = set()
    for first in sorted(start):
        if first in seen:
            continue
        found: dict[str, Collection[str]] = {}
        seen.add(first)
        waiting = [first]
        while waiting:
            listing_id = waiting.pop()
            found[listing_id] = near = linked(listing_id)
            new = [one for one in near if one not in seen]
            seen.update(new)
            waiting += new
        yield found


def stars(links: Mapping[str, Collection[str]], agree: Agree, kind: Callable[[str], Hashable] = str) -> list[list[str]]:
    """Divide the listings of whole components. `links`: by listing, those linked with it, in both directions. Listings
    of one `kind` agree with the same others, and with each other, so that one of them is asked for all.

    Returns:
        Every listing once. Each group is sorted; the groups are in the order of their centres.
    """
    taken: set[str] = set()
    groups = []
    for centre in sorted(links, key=lambda one: (-len(links[one]), one)):
        if centre in taken:
            continue
        group, kinds = [centre], {kind(centre): centre}
        for other in sorted(set(links[centre]) - taken):
            if all(agree(other, member) for member in kinds.values()):
                group.append(other)
                kinds.setdefault(kind(other), other)
        taken.update(group)
        groups.append(sorted(group))
    return groups
