from odoo.exceptions import AccessError
from odoo.tests import TransactionCase, new_test_user

from .homeserver import BOT, TOKEN, Homeserver


class TestConnection(TransactionCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["matrix.backend"].search([]).is_active = False

    def backend(self, certificate=False, **values):
        self.homeserver = Homeserver(certificate)
        self.addCleanup(self.homeserver.stop)
        return self.env["matrix.backend"].create(
            {
                "name": "Office",
                "homeserver_url": self.homeserver.url,
                "personal_access_token": TOKEN,
                **values,
            }
        )

    def shown(self, backend):
        """Return the notifications that the button shows, as ``[(type, text), …]``."""
        action = backend.action_test_connection()
        self.assertNotIn(TOKEN, repr(action))
        found = []
        while action["type"] == "ir.actions.client":
            params = action["params"]
            found.append((params["type"], params["message"]))
            action = params["next"]
        # Ends with what makes the form read the record again.
        self.assertEqual(action["type"], "ir.actions.act_window_close")
        return found

    def test_a_good_account_is_green_and_named(self):
        (kind, text), (hints_kind, hints) = self.shown(self.backend())

        self.assertEqual((kind, hints_kind), ("success", "info"))
        for word in (BOT, "ODOO", "Synapse 1.163.2", "v1.15"):
            self.assertIn(word, text)
        self.assertIn(f"/users/{BOT}/override_ratelimit", hints)
        self.assertNotIn("device", hints)
        self.assertNotIn("encrypted", hints)

    def test_a_token_without_a_device_is_warned_of(self):
        backend = self.backend()
        self.homeserver.answers["GET", "/account/whoami"] = (200, {"user_id": BOT})

        (kind, _text), (warning_kind, warnings), _hint = self.shown(backend)

        self.assertEqual((kind, warning_kind), ("success", "warning"))
        self.assertIn("does not belong to a device", warnings)

    def test_http_is_warned_of_where_it_leaves_the_machine(self):
        backend = self.backend()
        for url, warned in (
            ("http://matrix.example.org", True),
            ("http://192.0.2.7:8008", True),
            ("http://localhost:8008", False),
            ("http://[::1]:8008", False),
            ("https://matrix.example.org", False),
        ):
            backend.homeserver_url = url

            self.assertEqual(bool(backend._warning_about_encryption()), warned, url)

    def test_a_server_that_hides_its_version_is_no_failure(self):
        backend = self.backend()
        del self.homeserver.answers["GET", "/_matrix/federation/v1/version"]

        (kind, text), _hints = self.shown(backend)

        self.assertEqual(kind, "success")
        self.assertIn("unknown", text)

    def test_the_sender_name_becomes_the_name_of_the_account(self):
        backend = self.backend(default_sender_display="Law Office")
        path = f"/profile/{BOT}/displayname"
        self.homeserver.answers["PUT", path] = (200, {})

        self.shown(backend)
        self.homeserver.answers["GET", path] = (200, {"displayname": "Law Office"})
        self.shown(backend)

        self.assertEqual(
            self.homeserver.asked("PUT", path), [{"displayname": "Law Office"}]
        )

    def test_a_refused_sender_name_is_a_warning(self):
        backend = self.backend(default_sender_display="Law Office")
        self.homeserver.answers["PUT", f"/profile/{BOT}/displayname"] = (
            403,
            {"errcode": "M_FORBIDDEN", "error": "Changing names is off"},
        )

        (kind, _text), (_, warnings), _hint = self.shown(backend)

        self.assertEqual(kind, "success")
        self.assertIn("Changing names is off (M_FORBIDDEN)", warnings)

    def test_failures_are_red_with_their_reason(self):
        backend = self.backend()
        self.homeserver.answers["GET", "/account/whoami"] = (
            401,
            {"errcode": "M_UNKNOWN_TOKEN", "error": f"Unknown token {TOKEN}"},
        )

        ((kind, text),) = self.shown(backend)

        self.assertEqual(kind, "danger")
        self.assertIn("does not know the access token", text)

    def test_a_backend_without_a_token_is_red(self):
        backend = self.backend(personal_access_token=False)

        ((kind, text),) = self.shown(backend)

        self.assertEqual(kind, "danger")
        self.assertIn("has no access token yet", text)

    def test_the_token_is_not_sent_to_what_is_no_homeserver(self):
        backend = self.backend()
        self.homeserver.answers["GET", "/_matrix/client/versions"] = (200, b"<html>")

        ((kind, text),) = self.shown(backend)

        self.assertEqual(kind, "danger")
        self.assertIn("not a Matrix homeserver", text)
        self.assertEqual(set(self.homeserver.tokens), {""})

    def test_a_self_signed_certificate_needs_a_decision(self):
        backend = self.backend(certificate=True)

        ((kind, text),) = self.shown(backend)
        self.assertEqual(kind, "danger")
        self.assertIn("certificate", text)

        backend.write({"verify_ssl": False, "personal_access_token": TOKEN})
        (kind, _text), (_, warnings), _hint = self.shown(backend)
        self.assertEqual(kind, "success")
        self.assertIn("certificate of the homeserver is not verified", warnings)

    def test_only_managers_test_the_connection(self):
        backend = self.backend()
        user = new_test_user(
            self.env,
            login="matrix_user",
            groups="base.group_user,mail_matrix.group_matrix_user",
        )

        with self.assertRaises(AccessError):
            backend.with_user(user).action_test_connection()

        self.assertEqual(self.homeserver.requests, [])
