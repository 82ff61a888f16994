"""A server that answers every S3 request in one way, and notes what it was asked: for what no real server can be made
to say, and to prove that nothing was asked at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Recorded:
    """`address` is for AWS_ENDPOINT_URL; `asked`: method and path of each request."""

    def __init__(self, status: int, code: str, region: str) -> None:
        self.status, self.region, self.asked = status, region, list[str]()
        self.body = (
            f"<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>".encode() if code else b""
        )
        self.address = ""


@contextmanager
def answering(status: int, code: str = "", region: str = "") -> Iterator[Recorded]:
    """A server that answers everything with one status, and states a region if one is given."""
    recorded = Recorded(status, code, region)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            recorded.asked.append(f"{self.command} {self.path}")
            length = int(self.headers.get("Content-Length", 0))
            self.rfile.read(length)
            self.send_response(recorded.status)
            if recorded.region:
                self.send_header("x-amz-bucket-region", recorded.region)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(recorded.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(recorded.body)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    recorded.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield recorded
    finally:
        server.shutdown()
        server.server_close()
