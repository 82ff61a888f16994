"""As much of S3 as reading a bucket takes (ListObjectsV2 with pages, HeadBucket, GetObject), over a folder, for tests.

A real HTTP server: s3fs and botocore talk to it as they talk to S3. It checks that requests are signed, and not how.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 7  # keys to a page: small, so that listings of a few files go over several


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root: Path
    open_to_all: bool

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        at = urlsplit(self.path)
        bucket, _, key = unquote(at.path).lstrip("/").partition("/")
        asked = {name: values[0] for name, values in parse_qs(at.query, keep_blank_values=True).items()}
        if not self.open_to_all and "AWS4-HMAC-SHA256" not in self.headers.get("Authorization", ""):
            self._send(403, _error("AccessDenied"))
        elif not (self.root / bucket).is_dir():
            self._send(404, _error("NoSuchBucket"))
        elif not key:
            self._send(200, self._list(bucket, asked))
        elif not (self.root / bucket / key).is_file():
            self._send(404, _error("NoSuchKey"))
        else:
            body = (self.root / bucket / key).read_bytes()
            self._send(200, body, {"ETag": _tag(body), "Content-Type": "application/octet-stream"})

    def _list(self, bucket: str, asked: dict[str, str]) -> bytes:
        base = self.root / bucket
        keys = sorted(p.relative_to(base).as_posix() for p in base.rglob("*") if p.is_file())
        keys = [key for key in keys if key.startswith(asked.get("prefix", ""))]
        after = asked.get("continuation-token", "")
        rest = [key for key in keys if key > after]
        page = rest[: min(PAGE, int(asked.get("max-keys", PAGE)))]
        more = len(rest) > len(page)
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{(base / key).stat().st_size}</Size>"
            f"<ETag>&quot;{hashlib.md5((base / key).read_bytes()).hexdigest()}&quot;</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
            for key in page
        )
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{bucket}</Name><Prefix>{escape(asked.get('prefix', ''))}</Prefix><KeyCount>{len(page)}</KeyCount>"
            f"<MaxKeys>{PAGE}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>{token}{rows}</ListBucketResult>"
        ).encode()

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/xml", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _tag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


def _error(code: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'.encode()


@contextmanager
def serve_buckets(root: Path, open_to_all: bool = False) -> Iterator[str]:
    """Serves each folder of `root` as a bucket; yields the address for AWS_ENDPOINT_URL."""
    handler = type("Handler", (_Handler,), {"root": root, "open_to_all": open_to_all})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
