"""A loopback HTTP(S) server that answers each path with a script of raw bytes, well-behaved or hostile."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

# Self-signed for the name photos.test, valid for a hundred years; of no worth outside these tests.
CERTIFICATE = Path(__file__).with_name("photos_test.pem")

Script = Callable[[socket.socket, str], None]


def answer(status: int, body: bytes = b"", *headers: str, length: int | None = None) -> Script:
    """A complete answer; `length` is a Content-Length that may lie."""
    head = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body) if length is None else length}"]
    raw = "\r\n".join([*head, *headers, "", ""]).encode() + body
    return lambda sock, _: sock.sendall(raw)


class Loopback:
    """Serves `scripts` by path (without the query string); counts requests and keeps their text."""

    def __init__(self, *, tls: bool = False) -> None:
        self.scripts: dict[str, Script] = {}
        self.hits: Counter[str] = Counter()
        self.requests: list[str] = []
        self.stopped = threading.Event()
        self._context: ssl.SSLContext | None = None
        if tls:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(CERTIFICATE)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        return f"http://{self.address}{path}"

    def close(self) -> None:
        self.stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self.stopped.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            sock.settimeout(20)
            plain = self._context.wrap_socket(sock, server_side=True) if self._context else sock
            with plain:
                request = b""
                while b"\r\n\r\n" not in request:
                    piece = plain.recv(65536)
                    if not piece:
                        return
                    request += piece
                text = request.decode()
                path = text.split(" ")[1].partition("?")[0]
                self.hits[path] += 1
                self.requests.append(text)
                self.scripts.get(path, answer(404))(plain, text)

    def drip(self, first: bytes, piece: bytes, pause_s: float) -> Script:
        """`first`, then `piece` again and again with a pause, until the client has gone or 15 s have."""

        def script(sock: socket.socket, _: str) -> None:
            sock.sendall(first)
            end = time.monotonic() + 15
            while time.monotonic() < end and not self.stopped.wait(pause_s):
                sock.sendall(piece)

        return script


@contextlib.contextmanager
def serving(*, tls: bool = False) -> Iterator[Loopback]:
    server = Loopback(tls=tls)
    try:
        yield server
    finally:
        server.close()
