import os
import socket
import ssl
import tempfile
from unittest.mock import patch
from urllib.parse import urlsplit

from ..tools.matrix_client import MatrixClient
from .homeserver import BOT, TOKEN
from .test_matrix_client import MatrixClientCase


class TestMatrixClientNetwork(MatrixClientCase):
    """Certificates and proxies."""

    def test_a_self_signed_certificate_is_refused_unless_allowed(self):
        homeserver = self.homeserver(certificate=True)

        text = self.refused(self.client(homeserver).versions)
        self.assertRegex(text, "certificate of 127.0.0.1 .*self.signed.*Verify TLS")

        trusting = self.client(homeserver, verify_ssl=False)
        self.assertEqual(trusting.whoami()["user_id"], BOT)

    def test_tls_with_a_server_that_has_none_is_explained(self):
        homeserver = self.homeserver()
        homeserver.url = homeserver.url.replace("http:", "https:")

        text = self.refused(self.client(homeserver).versions)

        self.assertIn("does not use TLS", text)

    def test_an_authority_in_the_store_of_the_system_is_trusted(self):
        homeserver = self.homeserver(certificate=True)
        url = urlsplit(homeserver.url)
        address = (url.hostname, url.port)
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as store:
            store.write(ssl.get_server_certificate(address))
            store.flush()
            given = {"REQUESTS_CA_BUNDLE": "", "CURL_CA_BUNDLE": ""}
            with patch.dict(os.environ, {**given, "SSL_CERT_FILE": store.name}):
                self.assertTrue(self.client(homeserver).versions())

    def test_a_proxy_of_the_environment_never_sees_a_token_in_clear(self):
        homeserver = self.homeserver()
        with socket.create_server(("127.0.0.1", 0)) as proxy:
            address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
            names = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
            given = {"no_proxy": "", "NO_PROXY": ""}
            with patch.dict(os.environ, {**given, **dict.fromkeys(names, address)}):
                self.assertEqual(self.client(homeserver).whoami()["user_id"], BOT)

    def test_a_proxy_that_refuses_to_connect_is_named(self):
        with socket.create_server(("127.0.0.1", 0)) as proxy:
            address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        client = MatrixClient(self.env, "https://127.0.0.1:1", TOKEN)
        names = ("https_proxy", "HTTPS_PROXY")
        given = {"no_proxy": "", "NO_PROXY": ""}
        with patch.dict(os.environ, {**given, **dict.fromkeys(names, address)}):
            text = self.refused(client.whoami)

        self.assertRegex(text, "proxy.*HTTPS_PROXY.*127.0.0.1")

    def test_missing_certificate_files_become_a_readable_error(self):
        homeserver = self.homeserver(certificate=True)
        with patch.dict("os.environ", {"REQUESTS_CA_BUNDLE": "/nowhere/ca.pem"}):
            self.assertTrue(self.refused(self.client(homeserver).whoami))
