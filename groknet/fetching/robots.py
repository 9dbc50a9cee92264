"""What a host allows to robots, by its robots.txt (RFC 9309).

No such file (4xx): everything is allowed. A file that cannot be had for now (5xx, no answer): nothing is, until it can.
"""

from __future__ import annotations

AGENT = "groknet-intake"
"""Our name in robots.txt, and in the User-Agent header of the intake."""
MOST_BYTES = 500 * 1024
"""So much of a robots.txt is read (RFC 9309, section 2.5)."""
_MOST_DELAY_S = 600.0


class Rules:
    """The rules of one host."""

    def __init__(self, data: bytes) -> None:
        """`data`: the bytes of robots.txt; empty if there is none."""
        from protego import Protego

        self._rules = Protego.parse(data[:MOST_BYTES].decode("utf-8", "replace"))

    def allows(self, url: str) -> bool:
        """Whether an address may be fetched."""
        return bool(self._rules.can_fetch(url, AGENT))

    @property
    def delay_s(self) -> float:
        """The pause between two requests that the host asks for (`Crawl-delay`), at most ten minutes."""
        delay = self._rules.crawl_delay(AGENT)
        return min(float(delay or 0.0), _MOST_DELAY_S)
