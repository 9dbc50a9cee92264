"""The search service: a photo in, calibrated predictions and the listings that look like it out, and a page for people.

`build_search` gives the ASGI application. The engine runs here, behind a bounded queue; neighbours come from the
indexers over HTTP and what a listing shows from the store. Nothing here writes to stream, store or index.
"""

from workers.search.http.app import build_search
from workers.search.settings import SearchSettings

__all__ = ["SearchSettings", "build_search"]
