"""The connection to an indexer: one that was closed while it was idle is no reason to refuse a search."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest

from schemas.errors import Transient
from workers.indexer.wire import IndexAnswer, RecentAnswer
from workers.search.find.indexers import Indexers

EPOCH = "0123456789ab"
ABOUT = IndexAnswer(
    epoch=EPOCH, partitions=[0], ready=True, stale=False, listings=0, vectors=0, tombstones=0, pending=0
)


class Indexer(ThreadingHTTPServer):
    """Answers so many requests of each connection, then closes it as the next request comes."""

    daemon_threads = True

    def __init__(self, answers: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.connections = 0
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Indexer

    def setup(self) -> None:
        super().setup()
        self.left = self.server.answers
        self.server.connections += 1

    def do_GET(self) -> None:
        if not self.left:
            self.close_connection = True
            return
        self.left -= 1
        body = msgspec.json.encode(ABOUT if self.path == "/v1/index" else RecentAnswer(recent=[]))
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(params=[1, 2])
def indexer(request: pytest.FixtureRequest) -> Iterator[Indexer]:
    made = Indexer(request.param)
    yield made
    made.close()


def test_a_connection_that_was_closed_between_two_requests_is_opened_again(indexer: Indexer) -> None:
    indexers = Indexers([indexer.url], timeout_s=10, callers=1, epoch=EPOCH)
    for _ in range(4):
        assert indexers.recent(3) == RecentAnswer(recent=[])
    assert indexer.connections > 1
    indexers.close()


def test_an_indexer_that_closes_every_connection_is_out_of_reach() -> None:
    silent = Indexer(0)
    indexers = Indexers([silent.url], timeout_s=10, callers=1, epoch=EPOCH)
    with pytest.raises(Transient, match="cannot be reached"):
        indexers.recent(3)
    assert silent.connections == 2
    indexers.close()
    silent.close()


def test_an_indexer_that_moved_is_asked_where_it_is_now() -> None:
    gone, here = Indexer(0), Indexer(2)
    places = [[gone.url]]
    indexers = Indexers([gone.url], timeout_s=10, callers=1, epoch=EPOCH, find=lambda: places[-1])
    assert "cannot be reached" in indexers.state().waiting_for
    places.append([])  # it is between two lives
    assert "cannot be reached" in indexers.state().waiting_for
    places.append([here.url])
    assert "cannot be reached" not in indexers.state().waiting_for
    assert indexers.recent(3) == RecentAnswer(recent=[])
    for one in (indexers, gone, here):
        one.close()


def test_while_one_of_two_indexers_is_away_no_answer_of_the_other_alone_counts() -> None:
    gone, here = Indexer(1), Indexer(9)
    indexers = Indexers([gone.url, here.url], timeout_s=10, callers=1, epoch=EPOCH, find=lambda: [here.url])
    assert "cannot be reached" not in indexers.state().waiting_for
    gone.answers = 0
    assert "cannot be reached" in indexers.state().waiting_for
    with pytest.raises(Transient, match="cannot be reached"):
        indexers.recent(3)
    for one in (indexers, gone, here):
        one.close()
