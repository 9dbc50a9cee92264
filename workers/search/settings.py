"""What an operator may set on the search service; each limit has a name, a default and a reason."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.boxes import MOST_BOXES
from schemas.units import Count, DecodeMegabytes, NotNegative, Seconds, Share, Whole
from workers.http.connections import HttpLimits

_BODY_MARGIN_S = 10.0  # the route answers 408 first
CATEGORY_COLUMNS = (
    "category",
    "product",
    "coarse",
    "department",
    "label",
    "articleType",
    "subCategory",
    "masterCategory",
)


class SearchSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The worker that answers searches and serves the page."""

    host: str = "127.0.0.1"
    """The address to listen on. Loopback by default: other machines reach the worker only after you change it."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    """0 takes any free port."""
    indexer_urls: list[str] = []
    """The addresses of all indexers. Each holds a part of the index; all are asked and their answers are merged. `run
    all` fills this in."""
    max_upload_bytes: Count = 10_000_000
    """A photo from a phone has 3 to 6 MB."""
    upload_timeout_s: Seconds = 30.0
    """Time limit for the whole body: 10 MB take 27 s over a slow uplink of 3 Mbit/s."""
    max_waiting: Count = 32
    """At most so many photos at work at once; further ones get 503. At 40 ms a photo, the last one waits 1.3 s. A photo
    counts when all of its bytes have arrived. Each photo of a clip, and each part that `detect=all` or
    `detect=nearest` looks at, counts as one."""
    max_client_waiting: Count = 24
    """At most so many of them of one client; further ones get 429. So one client cannot take all. A request with more
    photos or products counts as so many."""
    max_upload_memory: Count = 256_000_000
    """Bytes of photos that have arrived and are not answered yet; one client may fill a quarter."""
    max_requests: Count = 256
    """At most so many requests of all kinds at work at once; further ones get 503. A read takes only milliseconds."""
    max_connections: Count = 512
    """At most so many connections. One more ends the connection that has waited longest for its request."""
    max_client_connections: Count = 128
    """At most so many connections of one address, but for those in `trusted_proxies`. A browser opens six."""
    header_timeout_s: Seconds = 10.0
    """Time limit for the header of a request."""
    idle_timeout_s: Count = 5
    """Seconds that a connection may wait for its next request."""
    allowed_hosts: tuple[str, ...] = ()
    """Names under which browsers and programs call this service, as in the header `Host`. Loopback names, `host` and
    plain addresses are always allowed, and `*` allows every name. A foreign name would let a web page read this service
    (DNS rebinding)."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of proxies whose `X-Forwarded-For` says who the client is. From everybody else the header
    is ignored."""
    tokens: list[Annotated[str, Meta(min_length=16, max_length=256)]] = []
    """Bearer tokens that are accepted; if there are none, everybody who reaches the port may send requests. A token of
    16 characters cannot be guessed."""
    rate_per_s: NotNegative = 0.0
    """Photos that one client may send a second; more get 429. Each photo of a clip, and each part that `detect=all` or
    `detect=nearest` looks at, counts as a photo, and a read as a tenth of one. 0: no limit."""
    rate_burst: Annotated[float, Meta(ge=1)] = 20.0
    """Photos that a client may send at once before the rate limit applies."""
    decode_threads: Count = 2
    """Threads that decode photos, one for each core. They release the interpreter lock."""
    fetch_threads: Whole = 2
    """Threads that fetch a listing's photo for the page's large view (`GET /v1/photo`), within the limits of
    `[intake]`; 0: photos are not fetched, and the page shows thumbnails."""
    decode_memory_mb: DecodeMegabytes = 256
    """Memory for all photos that are decoded at once. A photo that needs more than is free waits; one that needs more
    than all of it is refused (`over-budget`). It is the same limit as the tagger's, so that whatever can be stored can
    be searched with."""
    answer_timeout_s: Seconds = 15.0
    """Time limit from the last byte of a photo to its answer. After that the client gets 503 and the photo is
    dropped."""
    indexer_timeout_s: Seconds = 5.0
    """Time limit for the answer of one indexer. A search among a million hashes takes milliseconds."""
    max_k: Annotated[int, Meta(ge=1, le=100)] = 100
    """Listings in an answer. An indexer returns at most 2,000 photos, 20 for each listing."""
    default_k: Count = 12
    """Listings in an answer if the request does not say how many (`k=`)."""
    vote: bool = True
    """Whether neighbours vote for the category if the request does not say so (`vote=`). On by default: if no head
    knows the shop's categories, only the neighbours do. With a head that knows them, the vote is not significantly
    better."""
    fine: bool = True
    """Whether the 50 nearest listings are ordered by the photo's unrounded bits if the request does not say so
    (`fine=`). On by default: more catalogue pictures come first (.861 instead of .851)."""
    rescore: bool = True
    """Whether this order uses the embeddings that stored rows have (`tagger.keep_embedding`), or the margins that older
    rows have. A row without both is placed by the estimate that its hash gives. On by default: of the validation photos
    of groceries .865 instead of .838 have their product first; on test photos the difference is within chance."""
    rerank: bool = False
    """Whether listings are re-ranked (k-reciprocal) if the request does not say so (`rerank=`). Off by default: fewer
    products come first."""
    close_likeness: Share = 0.48
    """A listing is close to a photo from this likeness (0 to 1) on. If none is, the page says so. Of test photos of
    listed products 98 % (among catalogue pictures) and 99.7 % (among in-store photos) have a close listing, of photos
    of other things 0 to 3 %; see docs/benchmarks/search.md."""
    close_bits: Annotated[int, Meta(ge=0, le=256)] = 82
    """The same limit for stored listings, whose bits are rounded: so many of 256 bits may differ."""
    whole_bits: Annotated[int, Meta(ge=0, le=256)] = 75
    """With `detect=nearest`, a photo counts as a whole if a listing is within so many bits of it. Chosen on validation
    photos, as `nearer_by` is; see docs/benchmarks/detection.md."""
    nearer_by: Annotated[int, Meta(ge=0, le=256)] = 8
    """With `detect=nearest`, a box counts only if a listing is nearer to it than to the whole photo by more than so
    many bits: of many boxes, one is near to some listing by chance."""
    max_typed_words: Whole = 2_000_000
    """Different words of titles that typed queries can find. Strangers write titles, so there must be a bound. A word
    takes about 300 bytes."""
    max_typed_listings: Whole = 1_000_000
    """Listings that typed queries (`q=`) can find. A listing takes about 400 bytes of this process, so a million take
    400 MB. Further ones are left out, and answers say so. 0: there are no typed queries."""
    max_query_chars: Annotated[int, Meta(ge=1, le=1000)] = 200
    """The longest typed query, in characters. Longer ones are refused."""
    text_model: str = ""
    """A text model of your own for words that no label means, as `package.module:factory`. The function makes an object
    whose `embed(text)` is a vector in the bundle's embedding space. Empty: none."""
    typed_titles: bool = True
    """Whether words of titles count for a typed query if the request does not say so (`titles=`). On by default: both
    together find more than photos or titles alone; see docs/benchmarks/typed_queries.md."""
    synonyms: dict[str, list[str]] = {}
    """Further names of labels for typed queries, in any language: `"HEAD/LABEL" = ["word", "two words"]`. A label that
    the bundle does not have stops the worker, and keeps an epoch from being switched to."""
    max_boxes: Annotated[int, Meta(ge=1, le=MOST_BOXES)] = 16
    """The most products of one photo that an answer has (`detect=all`). Each costs the engine as much as a photo."""
    max_frames: Annotated[int, Meta(ge=1, le=16)] = 8
    """The most photos of one clip in a request. All of them together have at most `max_upload_bytes`."""
    category_vote: Share = 0.0
    """The weight of the detector's class in the answer's `category_vote`, 0 to 1; the 20 nearest listings have the
    rest. 0: there is no such vote."""
    duplicate_radius: Annotated[int, Meta(ge=0, le=256)] = 24
    """Two photos are near duplicates if at most so many of 256 bits differ, unless the request says otherwise
    (`radius=`). Of copies (compressed, halved, cropped, mirrored) 76 to 98 % are within 24 bits, and 11 to 56 % within
    12. None of 700 photos of groceries has a photo of another product within 24 bits."""
    max_radius: Annotated[int, Meta(ge=0, le=256)] = 64
    """The largest radius that a request may ask for: a quarter of the bits."""
    category_columns: tuple[str, ...] = CATEGORY_COLUMNS
    """Columns of the training data that say what a product is. The other single-label heads describe attributes."""
    hidden_heads: tuple[str, ...] = ()
    """Ids of heads that no answer names, for example heads that guess a person's gender. Their labels are in no
    prediction, tag, suggestion or vote. `tagger.hidden_heads` keeps them out of the store."""
    max_batch: Annotated[int, Meta(ge=1, le=1000)] = 200
    """Listings in one batch read: two screens of a feed, an answer of about 2 MB."""
    max_recent: Annotated[int, Meta(ge=1, le=1000)] = 64
    """Listings in one answer about the newest ones."""
    keep: Literal["nothing", "hashes", "photos"] = "nothing"
    """What is kept of a search whose client sends `keep=true`, in HOME/kept.db. `hashes`: its hash, time, best category
    and likeness. `photos`: also a copy of the photo, 320 pixels long. With either, `POST /v1/feedback` keeps judgements
    of people who agree. Nothing says who they are."""
    keep_days: Annotated[int, Meta(ge=1, le=365)] = 30
    """After so many days they are deleted."""
    max_kept: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    """At most so many searches, and as many judgements; the oldest are deleted. 10,000 photos take about 200 MB."""
    max_keep_memory: Count = 32_000_000
    """Bytes of photos and answers that wait to be written to HOME/kept.db, but at least two uploads. A search is kept
    after its answer was sent; one that does not fit is not kept."""
    price_support: Annotated[int, Meta(ge=3, le=1000)] = 5
    """So many sellers need a price in one currency before a price is suggested. With fewer, an interval says little,
    and one of them could be read out of it."""
    together_support: Count = 2
    """Two listings go with each other from so many occasions (carts, views, scenes) on. One occasion may be one
    person's, and nobody should read a stranger's cart."""
    max_occasions: Count = 200_000
    """The newest occasions that are counted. Each takes about 1 KB of memory; older ones leave first."""
    language: str = "en"
    """The language of display names if the request names none (`lang=`) and the model has no names in a language that
    the reader's browser asks for (`Accept-Language`)."""
    probe_interval_s: Seconds = 1.0
    """Time between two checks of whether the indexers are ready."""

    def http_limits(self) -> HttpLimits:
        """The limits of its HTTP server."""
        return HttpLimits(
            header_timeout_s=self.header_timeout_s,
            body_timeout_s=self.upload_timeout_s + _BODY_MARGIN_S,
            idle_timeout_s=self.idle_timeout_s,
            max_connections=self.max_connections,
            max_client_connections=self.max_client_connections,
            allowed_hosts=self.allowed_hosts,
            trusted_proxies=self.trusted_proxies,
        )

    def __post_init__(self) -> None:
        if self.default_k > self.max_k:
            raise ValueError(f"default_k: {self.default_k} is above max_k, {self.max_k}; lower it")
        for url in self.indexer_urls:
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"indexer_urls: {url!r} is not an address; give http://HOST:PORT")
