"""A stand-in for HashiCorp Vault: the endpoints of transit and of logins as its API documentation describes them.

It really seals: a ciphertext is `vault:v<version>:` and base64 of nonce, AES-256-GCM ciphertext and tag.
No real Vault was at hand; what is here is read from the documentation, not observed.
"""

import base64
import json
import re
import secrets
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12


class Refused(Exception):
    """An answer that is an error: a status and what Vault says with it."""

    def __init__(self, status: int, *errors: str) -> None:
        super().__init__(status)
        self.status = status
        self.errors = list(errors)


class VaultDouble:
    """One key of one transit engine, and who may use it. Close it."""

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        self.versions = [secrets.token_bytes(32)]
        self.min_decryption_version = 1
        self.tokens = {"hvs." + secrets.token_hex(12)}
        self.role_id, self.secret_id = "role-" + secrets.token_hex(4), secrets.token_hex(16)
        self.pods = {"ostraka": "jwt." + secrets.token_hex(16)}
        self.sealed = False
        self.delay_s = 0.0
        self.raw: tuple[int, bytes] | None = None  # answered instead of everything
        self.requests: list[tuple[str, dict[str, str]]] = []
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                double.requests.append((self.path, dict(self.headers)))
                time.sleep(double.delay_s)
                status, answer = double.answer(self.path, self.headers.get("X-Vault-Token", ""), body)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                if status == 307:
                    self.send_header("Location", f"http://localhost:{self.server.server_port}/elsewhere")
                self.end_headers()
                try:
                    self.wfile.write(answer)
                except OSError:  # the client did not wait
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._server.handle_error = lambda *_: None  # handshakes that clients break off
            scheme = "https"
        self.address = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def token(self) -> str:
        return next(iter(self.tokens))

    def rotate(self) -> None:
        """`POST /transit/keys/ostraka/rotate`, as an operator does it."""
        self.versions.append(secrets.token_bytes(32))

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, path: str, token: str, body: bytes) -> tuple[int, bytes]:
        if self.raw:
            return self.raw
        try:
            answer = self._answer(path, token, json.loads(body or b"{}"))
        except Refused as refused:
            return refused.status, json.dumps({"errors": refused.errors}).encode()
        return 200, json.dumps({"request_id": secrets.token_hex(8), "lease_id": "", **answer}).encode()

    def _answer(self, path: str, token: str, given: dict[str, Any]) -> dict[str, Any]:
        if self.sealed:
            raise Refused(503, "Vault is sealed")
        if login := re.fullmatch(r"/v1/auth/(approle|kubernetes)/login", path):
            return {"auth": {"client_token": self._log_in(login[1], given), "lease_duration": 3600}}
        if token not in self.tokens:
            raise Refused(403, "permission denied")
        match re.fullmatch(r"/v1/transit/(datakey/wrapped|datakey/plaintext|decrypt)/([\w.-]+)", path):
            case None:
                raise Refused(404)
            case found if found[2] != "ostraka":
                raise Refused(400, "encryption key not found")
            case found if found[1] == "decrypt":
                return {"data": {"plaintext": base64.b64encode(self._open(given.get("ciphertext", ""))).decode()}}
            case found:
                key = secrets.token_bytes(given.get("bits", 256) // 8)
                data = {"ciphertext": self.seal(key), "key_version": len(self.versions)}
                plaintext = {"plaintext": base64.b64encode(key).decode()} if found[1].endswith("plaintext") else {}
                return {"data": data | plaintext}

    def _log_in(self, method: str, given: dict[str, Any]) -> str:
        if method == "approle" and (given["role_id"], given["secret_id"]) != (self.role_id, self.secret_id):
            raise Refused(400, "invalid role or secret ID")
        if method == "kubernetes" and self.pods.get(given["role"]) != given["jwt"]:
            raise Refused(403, "permission denied")
        token = "hvs." + secrets.token_hex(12)
        self.tokens.add(token)
        return token

    def seal(self, key: bytes) -> str:
        """Return the ciphertext of a key, under the newest version."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = AESGCM(self.versions[-1]).encrypt(nonce, key, None)
        return f"vault:v{len(self.versions)}:{base64.b64encode(nonce + sealed).decode()}"

    def _open(self, ciphertext: str) -> bytes:
        parts = re.fullmatch(r"vault:v(\d+):([A-Za-z0-9+/=]+)", ciphertext)
        if not parts:
            raise Refused(400, "invalid ciphertext: no prefix")
        version = int(parts[1])
        if not self.min_decryption_version <= version <= len(self.versions):
            raise Refused(400, "ciphertext or signature version is disallowed by policy (too old)")
        content = base64.b64decode(parts[2])
        try:
            return AESGCM(self.versions[version - 1]).decrypt(content[:NONCE_BYTES], content[NONCE_BYTES:], None)
        except InvalidTag:
            raise Refused(400, "cipher: message authentication failed") from None
