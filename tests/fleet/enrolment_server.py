"""A small enrolment server, as an operator may run it: real HTTP, real certificates, one-use tokens."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.broker_example.pki import Authority


class EnrolmentServer:
    """Signs one request for each valid token. ``change_answer`` modifies the answer."""

    def __init__(self, authority: Authority, *tokens: str) -> None:
        self.tokens = set(tokens)
        self.requests: list[dict[str, Any]] = []
        self.change_answer: Callable[[dict[str, Any]], Any] = lambda answer: answer
        self._authority = authority

    def answer(self, body: dict[str, Any]) -> tuple[int, Any]:
        self.requests.append(body)
        if body["token"] not in self.tokens:
            return 403, {"error": "no such token"}
        self.tokens.discard(body["token"])
        csr = x509.load_pem_x509_csr(body["csr"].encode())
        assert csr.is_signature_valid
        assert csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == body["terminal"]
        certificate = self._authority.sign(csr).public_bytes(Encoding.PEM).decode()
        answer = {
            "site": body["site"] or "shop-1",
            "terminal": body["terminal"],
            "certificate": certificate,
            "ca": self._authority.path.read_text(),
        }
        return 200, self.change_answer(answer)


@contextmanager
def running_server(server: EnrolmentServer) -> Iterator[str]:
    """Serve on loopback while the block runs; yields the url."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            code, tree = server.answer(body)
            raw = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{http_server.server_port}/enrol"
        finally:
            http_server.shutdown()
