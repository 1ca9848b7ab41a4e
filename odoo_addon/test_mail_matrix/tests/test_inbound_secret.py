from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import tagged

from .inbound import InboundCase


@tagged("post_install", "-at_install")
class TestInboundSecret(InboundCase):
    """The secret of the feed belongs to it alone."""

    def test_each_change_of_the_feed_makes_another_secret(self):
        self.assertFalse(self.backend._inbound_secret())
        self.backend.inbound_mode = "appservice"
        first = self.backend._inbound_secret()
        self.backend.with_user(self.manager).action_renew_inbound_secret()
        second = self.backend._inbound_secret()
        self.backend.inbound_mode = "none"

        self.assertEqual(len({first, second}), 2)
        self.assertGreater(len(first), 40)
        self.assertFalse(self.backend._inbound_secret())

    def test_a_new_backend_has_one_and_its_address(self):
        values = {"name": "New", "homeserver_url": "https://m.example.org"}
        values |= {"inbound_mode": "appservice", "is_active": False}
        backend = self.env["matrix.backend"].create(values)

        self.assertTrue(backend._inbound_secret())
        self.assertTrue(backend.inbound_url.endswith(f"/appservice/{backend.id}"))

    def test_it_is_stored_sealed_and_read_by_nobody(self):
        self.backend.inbound_mode = "appservice"
        secret = self.backend._inbound_secret()
        self.env.flush_all()
        self.env.cr.execute("SELECT inbound_secret_sealed FROM matrix_backend")
        stored = [sealed for (sealed,) in self.env.cr.fetchall() if sealed]

        self.assertEqual(len(stored), 1)
        if not stored[0].startswith("plain:"):
            self.assertNotIn(secret, stored[0])
        for user in (self.user, self.manager):
            with self.assertRaises(AccessError):
                self.backend.with_user(user).read(["inbound_secret_sealed"])

    def test_a_user_neither_chooses_nor_renews(self):
        theirs = self.backend.with_user(self.user)
        for act in (
            lambda: theirs.write({"inbound_mode": "appservice"}),
            theirs.action_renew_inbound_secret,
        ):
            with self.assertRaises(AccessError):
                act()

    def test_a_copy_of_a_backend_accepts_no_events(self):
        self.backend.inbound_mode = "appservice"

        copy = self.backend.copy()

        self.assertEqual(copy.inbound_mode, "none")
        self.assertFalse(copy._inbound_secret())

    def test_what_is_not_an_address_is_refused(self):
        for url in (
            "odoo",
            "ftp://a",
            "https://",
            "https://a/?b",
            "https://a:b@c",
            "h t",
        ):
            with self.assertRaisesRegex(ValidationError, "not a valid address"):
                self.backend.inbound_url = url

    def test_there_is_no_file_before_the_account_is_known(self):
        with self.assertRaisesRegex(UserError, "Download Registration"):
            self.backend._appservice_registration()
