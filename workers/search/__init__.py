"""The search service: takes a photo, answers with calibrated predictions and similar listings, and serves a page.

`build_search` builds the ASGI application. `http/` has the routes, `find/` recognises photos and finds listings, and
`page/` has the files of the page. The engine runs here behind a bounded queue. Neighbours come from the indexers over
HTTP, and the content of a listing from the store. Nothing here writes to the stream, the store or the index.
"""

from workers.search.http.app import build_search
from workers.search.settings import SearchSettings
from workers.search.typed.text_model import TextTower, load_text_tower

__all__ = ["SearchSettings", "TextTower", "build_search", "load_text_tower"]
