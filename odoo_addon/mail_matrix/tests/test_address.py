from unittest.mock import patch

from odoo.tests import TransactionCase

from ..models.matrix_backend import address
from .homeserver import TOKEN, Homeserver


class TestAddress(TransactionCase):
    """Another address than that of the client API was entered."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["matrix.backend"].search([]).is_active = False

    def setUp(self):
        super().setUp()
        self.homeserver, self.website = Homeserver(), Homeserver()
        for server in (self.homeserver, self.website):
            self.addCleanup(server.stop)
        page = (404, b"<h1>Not found</h1>")
        self.website.answers["GET", "/_matrix/client/versions"] = page
        self.publish(self.homeserver.url)

    def publish(self, url, status=200):
        published = {"m.homeserver": {"base_url": url}}
        self.website.answers["GET", "/.well-known/matrix/client"] = (status, published)

    def backend(self, url):
        return self.env["matrix.backend"].create(
            {"name": "Office", "homeserver_url": url, "personal_access_token": TOKEN}
        )

    def offered(self, backend):
        """Click Test Connection; return the address that it asks about, or nothing."""
        action = backend.action_test_connection()
        if action.get("res_model") != "matrix.address":
            self.assertEqual(action["params"]["type"], "danger")
            return None
        return self.env["matrix.address"].browse(action["res_id"])

    def test_what_the_servers_name_publishes_is_offered_and_asked_before(self):
        for published in (self.homeserver.url, f"{self.homeserver.url}/"):
            self.publish(published)
            backend = self.backend(self.website.url)

            offer = self.offered(backend)

            self.assertEqual(offer.url, self.homeserver.url)
            self.assertEqual(backend.homeserver_url, self.website.url)
            self.assertTrue(offer.needs_token)
            offer.action_use()
            self.assertEqual(backend.homeserver_url, self.homeserver.url)
            self.assertEqual(backend.token_state, "none", "It was for another server")
            self.assertNotIn(TOKEN, self.homeserver.tokens + self.website.tokens)
            backend.is_active = False

    def test_a_path_of_the_api_is_cut_off(self):
        for path in ("/_matrix/client", "/_matrix/client/r0", "/_matrix"):
            wrong = f"{path}/_matrix/client/versions"
            self.homeserver.answers["GET", wrong] = (404, {"errcode": "M_UNRECOGNIZED"})
            backend = self.backend(self.homeserver.url + path)

            offer = self.offered(backend)

            self.assertEqual(offer.url, self.homeserver.url)
            self.assertFalse(offer.needs_token)
            tested = offer.action_use()
            self.assertEqual(tested["params"]["type"], "success")
            backend.is_active = False

    def test_an_address_where_no_homeserver_answers_is_not_offered(self):
        for published in (
            "http://127.0.0.1:1",
            self.website.url,
            "ftp://127.0.0.1",
            "http://user:password@127.0.0.1",
            "rubbish",
            None,
            ["http://127.0.0.1"],
        ):
            self.publish(published)
            backend = self.backend(self.website.url)

            self.assertFalse(self.offered(backend), published)
            backend.is_active = False

    def test_redirects_are_not_followed(self):
        inside = ("Location", f"{self.homeserver.url}/_matrix/client/versions")
        for path in ("/.well-known/matrix/client", "/_matrix/client/versions"):
            self.website.answers["GET", path] = (302, b"", inside)
        backend = self.backend(self.website.url)

        self.assertFalse(self.offered(backend))
        self.assertEqual(self.homeserver.requests, [])

    def test_a_server_outside_does_not_send_odoo_inside(self):
        judge = address._may_be_asked
        outside, inside = "https://8.8.8.8", "https://10.0.0.7"
        for origin, url, is_allowed in (
            (outside, "https://8.8.4.4", True),
            (outside, inside, False),
            (outside, "https://127.0.0.1:8069", False),
            (outside, "https://169.254.169.254", False),
            (outside, "https://[::1]", False),
            (outside, "https://[fe80::1]", False),
            (inside, "https://10.0.0.8", True),
            (outside, "http://8.8.4.4", False),
            (outside, "https://", False),
            (outside, "https://[", False),
        ):
            self.assertEqual(judge(origin, url), is_allowed, (origin, url))

    def test_looking_ends_after_its_time(self):
        backend = self.backend(self.website.url)
        with patch.object(address, "_SECONDS", -1):
            self.assertFalse(self.offered(backend))
        self.assertEqual(self.homeserver.requests, [])
