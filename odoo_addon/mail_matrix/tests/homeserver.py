"""A homeserver for one test, on a free loopback port: it answers as the test wants."""

import contextlib
import datetime
import http.server
import ipaddress
import json
import socket
import ssl
import tempfile
import threading
from urllib.parse import parse_qsl, unquote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

TOKEN = "syt_secret_of_the_bot"
BOT = "@odoo:example.org"


class Homeserver:
    """Answers by ``(method, path)``: a status, a JSON body and perhaps headers.

    Or by a function of the request's parsed body that returns these, or None to stay
    silent. A path that ends with ``*`` has any last segment. Requests are recorded in
    ``requests``, as ``(method, path, body)``; paths are unquoted and begin after
    ``/_matrix/client/v3`` where they begin with it.

    :param certificate: serve TLS with a certificate of its own.
    """

    def __init__(self, certificate=False):
        self.requests = []
        self.tokens = []
        # Those it knows, and the queries of the requests, as dicts.
        self.accepted = {TOKEN}
        self.queries = []
        self.answers = {
            ("GET", "/_matrix/client/versions"): (
                200,
                {"versions": ["v1.11", "v1.15"]},
            ),
            ("GET", "/_matrix/federation/v1/version"): (
                200,
                {"server": {"name": "Synapse", "version": "1.163.2"}},
            ),
            ("GET", "/account/whoami"): (
                200,
                {"user_id": BOT, "device_id": "ODOO"},
            ),
        }
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.server.homeserver = self
        # A silent answer waits for this, so that stopping ends its thread.
        self.stopped = threading.Event()
        scheme = "http"
        if certificate:
            scheme = "https"
            self.server.socket = _tls(self.server.socket)
        self.url = f"{scheme}://127.0.0.1:{self.server.server_port}"
        # The interval in seconds at which it looks whether it was stopped.
        self.thread = threading.Thread(
            target=self.server.serve_forever, args=(0.01,), daemon=True
        )
        self.thread.start()

    def stop(self):
        self.stopped.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def offer_login(self, user, password):
        """Give TOKEN to who logs in as ``user`` with ``password``."""

        def answer(body):
            given = (body["identifier"]["user"], body["password"])
            if given != (user, password):
                # A server may quote what it was sent.
                said = f"Wrong password {body['password']}"
                return 403, {"errcode": "M_FORBIDDEN", "error": said}
            return 200, {"user_id": BOT, "access_token": TOKEN, "device_id": "ODOO"}

        flows = [{"type": "m.login.token"}, {"type": "m.login.password"}]
        self.answers["GET", "/login"] = (200, {"flows": flows})
        self.answers["POST", "/login"] = answer

    def answer_to(self, method, path):
        """Return what is to be answered."""
        unknown = (404, {"errcode": "M_NOT_FOUND", "error": "No such thing"})
        any_last = f"{path.rpartition('/')[0]}/*"
        known = self.answers.get((method, any_last), unknown)
        return self.answers.get((method, path), known)

    def asked(self, method, path):
        """Return the bodies of the requests to this endpoint."""
        return [
            body
            for asked_method, asked_path, body in self.requests
            if (asked_method, asked_path) == (method, path)
        ]


class Dripping:
    """Answers one request with ``at_once`` and then a byte each 20 ms, for 10 s."""

    def __init__(self, at_once, certificate=False):
        self.at_once = at_once
        self.stopped = threading.Event()
        self.socket = socket.create_server(("127.0.0.1", 0))
        # Nobody may come at all.
        self.socket.settimeout(10)
        if certificate:
            self.socket = _tls(self.socket)
        scheme = "https" if certificate else "http"
        self.url = f"{scheme}://127.0.0.1:{self.socket.getsockname()[1]}"
        self.thread = threading.Thread(target=self._drip, daemon=True)
        self.thread.start()

    def _drip(self):
        # Who is dripped at may leave at any time.
        with contextlib.suppress(OSError):
            connection, _address = self.socket.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(self.at_once)
                for _byte in range(500):
                    if self.stopped.wait(0.02):
                        return
                    connection.sendall(b"x")

    def stop(self):
        self.stopped.set()
        self.thread.join()
        self.socket.close()


class Raw:
    """Answers one request with these bytes and hangs up."""

    def __init__(self, answer):
        self.answer = answer
        self.socket = socket.create_server(("127.0.0.1", 0))
        # Nobody may come at all.
        self.socket.settimeout(5)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        with contextlib.suppress(OSError):
            connection, _address = self.socket.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(self.answer)

    def stop(self):
        self.thread.join()
        self.socket.close()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        homeserver = self.server.homeserver
        parts = urlsplit(self.path)
        path = unquote(parts.path).removeprefix("/_matrix/client/v3")
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(raw) if raw else None
        homeserver.requests.append((self.command, path, body))
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        homeserver.tokens.append(token)
        homeserver.queries.append(dict(parse_qsl(parts.query)))
        is_public = path.startswith(("/_matrix/", "/.well-known/", "/login"))
        signed = is_public or token in homeserver.accepted
        if signed:
            answer = homeserver.answer_to(self.command, path)
        else:
            said = {"errcode": "M_UNKNOWN_TOKEN", "error": f"Unknown token {token}"}
            answer = (401, said)
        if callable(answer):
            answer = answer(body)
        if answer is None:
            homeserver.stopped.wait()
            return
        status, payload, *headers = answer
        if not isinstance(payload, bytes):
            payload = json.dumps(payload).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if "Content-Length" not in dict(headers):
            self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    do_POST = do_PUT = do_GET

    def log_message(self, *_args):
        """The output of the tests belongs to the tests."""


def _tls(server_socket):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [x509.NameAttribute(x509.NameOID.COMMON_NAME, "homeserver of a test")]
    )
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as pem:
        pem.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        pem.flush()
        context.load_cert_chain(pem.name)
    return context.wrap_socket(server_socket, server_side=True)
