import os
from unittest.mock import patch

from cryptography.fernet import Fernet

from odoo.tools import SQL

from ..tools import token as tokens
from .common import MatrixCase
from .homeserver import BOT, TOKEN, Homeserver

FINGERPRINT = "r4pOHu9TGTUOMGVYbGyoKXCoFvXbVGvTNBnbXsf4S0A"


class EncryptionCase(MatrixCase):
    """A backend with a token, a homeserver, and what a worker writes."""

    def setUp(self):
        super().setUp()
        self.homeserver = Homeserver()
        self.addCleanup(self.homeserver.stop)
        self.answers = self.homeserver.answers
        self.key = Fernet.generate_key().decode()
        keys = patch.dict(os.environ, {tokens.KEY_VARIABLE: self.key})
        keys.start()
        self.addCleanup(keys.stop)
        self.env.cr.execute("DELETE FROM matrix_worker")
        self.backend.write(
            {
                "homeserver_url": self.homeserver.url,
                "personal_access_token": TOKEN,
            }
        )
        self.worker("1.0.0+encryption")

    def worker(self, version, name="w1"):
        """Let a worker of this version be seen."""
        self.worker_seen(name=name)
        self.env.cr.execute(
            "UPDATE matrix_worker SET version = %s WHERE name = %s", [version, name]
        )
        self.env.invalidate_all()

    def keys(self, **values):
        """Write what a worker says about the keys of the backend's device."""
        values = {
            "backend_id": self.backend.id,
            "matrix_user_id": BOT,
            "device_id": "ODOO",
            "epoch": 1,
            "owner": "w1",
            "database_identity": "here",
            "timeline_id": 1,
            "written_by": 1,
            "fingerprint": FINGERPRINT,
            "signature": "signed",
            "setup_state": "done",
            **values,
        }
        self.env.cr.execute(
            SQL(
                "DELETE FROM matrix_crypto WHERE backend_id = %s;"
                "INSERT INTO matrix_crypto (%s) VALUES %s",
                self.backend.id,
                SQL(", ").join(map(SQL.identifier, values)),
                tuple(values.values()),
            )
        )
        self.env.invalidate_all()

    def set_up(self, **values):
        """Let encryption be on, and the device be ready or as ``values`` say."""
        self.backend.encryption_mode = "encrypt"
        self.backend.flush_recordset()
        self.keys(**values)

    def requests(self):
        self.env.cr.execute("SELECT * FROM matrix_crypto_request")
        return self.env.cr.dictfetchall()


class TestEncryption(EncryptionCase):
    """What the form shows of the device that encrypts."""

    def shown(self):
        self.env.invalidate_all()
        backend = self.backend.with_user(self.manager)
        return backend.encryption_state, backend.encryption_problem

    def test_without_encryption_there_is_nothing_to_show(self):
        self.keys()

        self.assertEqual(self.shown(), (False, False))

    def test_a_worker_says_by_its_version_that_it_was_built_with_encryption(self):
        for version, can in (
            ("1.0.0+encryption", True),
            ("1.0.0-rc.1+debian.encryption", True),
            ("1.0.0", False),
            ("1.0.0-encryption", False),
            (None, False),
        ):
            self.worker(version)

            self.assertIs(self.backend.can_encrypt, can, version)

    def test_a_device_that_is_signed_is_ready(self):
        self.set_up()

        self.assertEqual(self.shown(), ("ready", False))
        self.assertEqual(self.backend.encryption_device, "ODOO")
        self.assertTrue(self.backend.encryption_fingerprint.startswith("r4pO Hu9T "))

    def test_until_a_worker_has_answered_it_is_being_set_up(self):
        self.backend.encryption_mode = "encrypt"
        self.assertEqual(self.shown(), ("setup", False))

        self.keys(signature=None, setup_state="running")
        self.assertEqual(self.shown(), ("setup", False))

        self.keys()
        self.env.cr.execute(
            "INSERT INTO matrix_crypto_request (backend_id, kind) VALUES (%s, %s)",
            [self.backend.id, "new_device"],
        )
        self.assertEqual(self.shown(), ("setup", False), "Asked again")

    def test_each_trouble_has_its_reason_and_a_button(self):
        for button, values in (
            ("Verify Device", {"signature": "missing", "signature_reason": "why"}),
            (
                "Verify Device",
                {
                    "signature": "missing",
                    "setup_state": "failed",
                    "setup_reason": "why",
                },
            ),
            ("New Device", {"state": "refused", "reason": "why"}),
            ("New Device", {"state": "lost", "reason": "why."}),
            ("New Device", {"state": "moved", "reason": "why"}),
            (
                "Set Up Again",
                {"state": "lost", "setup_state": "failed", "setup_reason": "why"},
            ),
        ):
            with self.subTest(**values):
                self.set_up(**values)

                _state, problem = self.shown()

                self.assertTrue(problem.startswith("Why. "), problem)
                self.assertIn(f"Click “{button}”.", problem)

    def test_without_a_worker_that_encrypts_the_form_says_why(self):
        self.set_up()
        self.worker("1.0.0")

        state, problem = self.shown()
        self.assertEqual(state, "no_worker")
        self.assertIn("(w1) was built without encryption", problem)

        self.worker_seen(ago="3 minutes", name="w1")
        self.assertIn("No worker is running", self.shown()[1])

    def test_a_second_worker_that_does_not_encrypt_is_named(self):
        self.set_up()
        self.worker("1.0.0", name="w2")

        state, problem = self.shown()

        self.assertEqual(state, "mixed")
        self.assertIn("that they get: w2.", problem)

    def test_plain_users_do_not_see_the_device(self):
        self.set_up()
        shown = self.backend.with_user(self.user)

        self.assertNotIn("encryption_fingerprint", shown.fields_get())

    # Test Connection

    def warnings(self):
        self.backend.action_test_connection()
        return self.backend.test_warnings or ""

    def published(self, fingerprint=FINGERPRINT, signer="self"):
        """Let the homeserver show these keys of the device."""
        device = {
            "keys": {"ed25519:ODOO": fingerprint},
            "signatures": {BOT: {f"ed25519:{signer}": "x", "ed25519:ODOO": "y"}},
        }
        self.answers["POST", "/keys/query"] = (
            200,
            {
                "device_keys": {BOT: {"ODOO": device}},
                "self_signing_keys": {BOT: {"keys": {"ed25519:self": "self"}}},
            },
        )

    def test_a_connection_with_good_keys_has_no_warning(self):
        self.set_up()
        self.published()

        self.assertEqual(self.warnings(), "")

    def test_the_test_asks_for_no_keys_where_nothing_is_encrypted(self):
        self.warnings()

        self.assertFalse(self.homeserver.asked("POST", "/keys/query"))

    def test_the_test_reports_what_the_worker_says(self):
        self.set_up(state="lost", reason="the keys are gone")

        self.assertIn("Encryption: The keys are gone. ", self.warnings())

    def test_keys_that_another_program_has_replaced_are_noticed(self):
        self.set_up()
        self.published("another")
        self.assertIn("shows people other keys", self.warnings())

        self.answers["POST", "/keys/query"] = (200, {"device_keys": {BOT: {}}})
        self.assertIn("shows people other keys", self.warnings())

    def test_a_signature_that_the_homeserver_does_not_have_is_noticed(self):
        self.set_up()
        self.published(signer="another")

        self.assertIn("without a signature", self.warnings())

    def test_a_token_of_another_device_is_noticed(self):
        self.set_up(device_id="OTHER")
        self.published()

        self.assertIn("are sent from the device ODOO", self.warnings())

    # The key

    def test_what_the_worker_has_sealed_gets_the_new_key_too(self):
        other = Fernet.generate_key().decode()
        self.env.cr.execute(
            """
            INSERT INTO matrix_crypto_item (backend_id, kind, key, sealed)
            VALUES (%(id)s, 'account', 'x', %(sealed)s),
                (%(id)s, 'lost', 'x', 'fernet:x');
            INSERT INTO matrix_upload (txn_id, backend_id, content_uri, file_sealed)
            VALUES ('x', %(id)s, 'mxc://x/y', %(sealed)s)
            """,
            {"id": self.backend.id, "sealed": tokens.seal("secret")},
        )
        with patch.dict(os.environ, {tokens.KEY_VARIABLE: f"{other},{self.key}"}):
            self.backend._rotate_token_key()

        self.env.cr.execute(
            """
            SELECT sealed FROM matrix_crypto_item WHERE kind = 'account'
            UNION ALL SELECT file_sealed FROM matrix_upload WHERE txn_id = 'x'
            """
        )
        sealed = [row[0] for row in self.env.cr.fetchall()]
        with patch.dict(os.environ, {tokens.KEY_VARIABLE: other}):
            self.assertEqual([tokens.unseal(text) for text in sealed], ["secret"] * 2)

    # The log

    def test_a_delivery_names_the_devices_that_cannot_read_it(self):
        note = "delivered; 1 of 3 devices of @ida:x could not get the key"
        values = {"error_code": "org.odoo.no_key", "error_message": note}
        row = self.log_row(backend_id=self.backend.id, status="ok", **values)

        self.assertEqual(row.outcome, "ok")
        self.assertIn("They cannot read this one", row.hint)
        message = self.env["matrix.message"].search([("log_id", "=", row.id)])
        self.assertEqual((message.outcome, message.reason), ("ok", note))

        failed = self.log_row(backend_id=self.backend.id, status="failed", **values)
        self.assertIn("Then click Retry.", failed.hint)

    def test_a_delivery_names_the_devices_that_nobody_has_verified(self):
        note = "delivered; readable on devices that are not verified: 1 of 2 devices of"
        row = self.log_row(
            backend_id=self.backend.id,
            status="ok",
            error_code="org.odoo.unverified",
            error_message=note,
        )

        self.assertEqual(row.outcome, "ok")
        self.assertIn("whether that was them", row.hint)
        message = self.env["matrix.message"].search([("log_id", "=", row.id)])
        self.assertEqual((message.outcome, message.reason), ("ok", note))

    def test_a_message_that_waits_for_the_keys_leads_to_the_backend(self):
        row = self.log_row(
            status="failed", is_final=False, error_code="org.odoo.encryption"
        )

        self.assertIn("page Encryption of the backend", row.hint)
        self.assertTrue(row.hint.endswith("The message will then be sent."))
