from datetime import timedelta

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

    def click(self, backend):
        """Click Test Connection; return the kind of the notification."""
        action = backend.action_test_connection()
        self.assertNotIn(TOKEN, repr(action))
        stored = [name for name in backend._fields if name.startswith("test_")]
        self.assertNotIn(TOKEN, repr(backend.read(stored)))
        params = action["params"]
        self.assertFalse(params.get("sticky"), "It would cover the buttons")
        # What makes the form read the record again.
        self.assertEqual(params["next"]["type"], "ir.actions.act_window_close")
        return params["type"]

    def test_a_good_account_is_green_and_what_was_found_stays(self):
        backend = self.backend()

        self.assertEqual(self.click(backend), "success")

        self.assertEqual(backend.test_result, "ok")
        self.assertTrue(backend.tested_at)
        self.assertEqual(backend.test_account, BOT)
        self.assertEqual(backend.test_device, "ODOO")
        self.assertEqual(backend.test_server, "Synapse 1.163.2")
        self.assertEqual(backend.test_specification, "v1.15")
        self.assertFalse(backend.test_warnings or backend.test_problem)
        self.assertIn(f"/users/{BOT}/override_ratelimit", backend.test_hint)

    def test_the_result_before_is_replaced(self):
        backend = self.backend()
        self.click(backend)
        self.homeserver.answers["GET", "/account/whoami"] = (401, {})

        self.assertEqual(self.click(backend), "danger")

        self.assertEqual(backend.test_result, "failed")
        self.assertTrue(backend.test_problem)
        self.assertFalse(backend.test_account or backend.test_server)

    def test_a_change_makes_the_result_old(self):
        backend = self.backend()
        self.click(backend)
        backend.tested_at -= timedelta(hours=1)
        backend.homeserver_url = f"{self.homeserver.url}/path"
        backend.flush_recordset()
        # The database notes when the address was changed.
        backend.invalidate_recordset()
        self.assertTrue(backend.test_outdated)

        self.click(backend)

        self.assertFalse(backend.test_outdated)

    def test_a_token_without_a_device_gives_a_warning(self):
        backend = self.backend()
        self.homeserver.answers["GET", "/account/whoami"] = (200, {"user_id": BOT})

        self.assertEqual(self.click(backend), "success")
        self.assertEqual(backend.test_result, "warning")
        self.assertIn("does not belong to a device", backend.test_warnings)

    def test_http_gives_a_warning_where_it_leaves_the_machine(self):
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

    def test_a_server_that_hides_its_version_is_not_a_failure(self):
        backend = self.backend()
        del self.homeserver.answers["GET", "/_matrix/federation/v1/version"]

        self.assertEqual(self.click(backend), "success")
        self.assertFalse(backend.test_server)

    def test_the_sender_name_becomes_the_name_of_the_account(self):
        backend = self.backend(default_sender_display="Law Office")
        path = f"/profile/{BOT}/displayname"
        self.homeserver.answers["PUT", path] = (200, {})

        self.click(backend)
        self.homeserver.answers["GET", path] = (200, {"displayname": "Law Office"})
        self.click(backend)

        self.assertEqual(
            self.homeserver.asked("PUT", path), [{"displayname": "Law Office"}]
        )

    def test_a_refused_sender_name_is_a_warning(self):
        backend = self.backend(default_sender_display="Law Office")
        self.homeserver.answers["PUT", f"/profile/{BOT}/displayname"] = (
            403,
            {"errcode": "M_FORBIDDEN", "error": "Changing names is off"},
        )

        self.assertEqual(self.click(backend), "success")
        self.assertIn("Changing names is off (M_FORBIDDEN)", backend.test_warnings)

    def test_failures_are_red_with_their_reason(self):
        backend = self.backend()
        self.homeserver.answers["GET", "/account/whoami"] = (
            401,
            {"errcode": "M_UNKNOWN_TOKEN", "error": f"Unknown token {TOKEN}"},
        )

        self.assertEqual(self.click(backend), "danger")
        self.assertIn("does not know the access token", backend.test_problem)

    def test_a_backend_without_a_token_is_red(self):
        backend = self.backend(personal_access_token=False)

        self.assertEqual(self.click(backend), "danger")
        self.assertIn("has no access token yet", backend.test_problem)

    def test_the_token_is_not_sent_to_another_kind_of_server(self):
        backend = self.backend()
        self.homeserver.answers["GET", "/_matrix/client/versions"] = (200, b"<html>")

        self.assertEqual(self.click(backend), "danger")
        self.assertIn("not a Matrix homeserver", backend.test_problem)
        self.assertEqual(set(self.homeserver.tokens), {""})

    def test_a_self_signed_certificate_needs_a_decision(self):
        backend = self.backend(certificate=True)

        self.assertEqual(self.click(backend), "danger")
        self.assertIn("certificate", backend.test_problem)

        backend.write({"verify_ssl": False, "personal_access_token": TOKEN})
        self.assertEqual(self.click(backend), "success")
        self.assertIn("homeserver is not verified", backend.test_warnings)

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
