import json
import logging
import os
from unittest.mock import patch

from odoo import http
from odoo.exceptions import AccessError, UserError
from odoo.tests import HttpCase, tagged

from ..models.matrix_backend.encryption_setup import SigningKeysExist
from ..tools import token as tokens
from .homeserver import BOT, TOKEN
from .test_encryption import EncryptionCase

PASSWORD = "correct horse battery staple"
RECOVERY_KEY = "EsTc 5rMn 9hpA"
SIGNED = {"master_keys": {BOT: {"keys": {"ed25519:master": "master"}}}}


class SetupCase(EncryptionCase):
    def setUp(self):
        super().setUp()
        self.homeserver.offer_login(BOT, PASSWORD)
        self.answers["POST", "/keys/query"] = (200, {})
        self.answers["POST", "/logout"] = (200, {})
        self.answers["GET", "/.well-known/matrix/client"] = (
            200,
            {"io.element.e2ee": {"default": True}},
        )

    def ask(self, purpose="new_device", user=BOT, password=PASSWORD, **values):
        backend = self.backend.with_user(self.manager)
        backend._set_up_encryption(purpose, user=user, password=password, **values)

    def request(self):
        """Return kind and secret of the only request."""
        (row,) = self.requests()
        sealed = row["secret_sealed"]
        self.assertTrue(sealed is None or sealed.startswith("fernet:"))
        return row["kind"], sealed and tokens.unseal(sealed)


class TestEncryptionSetup(SetupCase):
    """What the dialog asks a worker for."""

    def refused(self, kind=UserError, **values):
        """Return why nothing is asked; nothing is stored, and nothing says secrets."""
        with self.assertRaises(kind) as caught, self.env.cr.savepoint():
            self.ask(**values)
        for secret in (PASSWORD, RECOVERY_KEY, TOKEN):
            self.assertNotIn(secret, repr(caught.exception))
        self.assertEqual(self.requests(), [])
        self.assertNotEqual(self.backend.encryption_mode, "encrypt")
        return str(caught.exception)

    def test_a_login_makes_a_device_and_the_worker_gets_the_password(self):
        self.ask()

        self.assertEqual(self.request(), ("password", PASSWORD))
        self.assertEqual(self.backend.encryption_mode, "encrypt")
        self.assertEqual(len(self.homeserver.asked("POST", "/login")), 1)
        self.assertEqual(self.backend.encryption_state, "setup")

    def test_the_worker_notices_each_request(self):
        for _click in range(2):
            before = self.backend.config_version, self.backend.encryption_asked_at

            self.ask()

            after = self.backend.config_version, self.backend.encryption_asked_at
            self.assertGreater(after[0], before[0])
            self.assertNotEqual(after[1], before[1])
        self.assertEqual(len(self.requests()), 1, "The second replaces the first")

    def test_a_token_makes_a_device_without_a_secret(self):
        self.ask(user="", password="", token=TOKEN)
        self.assertEqual(self.request(), ("new_device", None))

        self.ask(user="", password="", token="")
        self.assertEqual(self.request(), ("new_device", None), "The stored token")
        self.assertEqual(self.backend._token(), TOKEN)
        self.assertFalse(self.homeserver.asked("POST", "/login"))

    def test_an_account_with_signing_keys_asks_for_the_recovery_key(self):
        self.answers["POST", "/keys/query"] = (200, SIGNED)

        for user, password in ((BOT, PASSWORD), ("", "")):
            text = self.refused(SigningKeysExist, user=user, password=password)
            self.assertIn("Enter its recovery key", text)
        self.assertFalse(self.homeserver.asked("POST", "/login"), "Logins are few")

        self.ask(recovery_key=f" {RECOVERY_KEY}\n")
        self.assertEqual(self.request(), ("recovery_key", RECOVERY_KEY))

    def test_a_new_login_that_cannot_be_signed_is_logged_out(self):
        self.answers["POST", "/keys/query"] = (200, SIGNED)
        self.backend.action_forget_token()

        self.refused(SigningKeysExist)

        self.assertEqual(len(self.homeserver.asked("POST", "/login")), 1)
        self.assertEqual(self.homeserver.asked("POST", "/logout"), [{}])

    def test_signing_keys_are_replaced_only_with_the_password(self):
        self.answers["POST", "/keys/query"] = (200, SIGNED)

        self.assertIn("Enter the password", self.refused(password="", replace=True))

        self.ask(replace=True)
        self.assertEqual(self.request(), ("reset", PASSWORD))

    def test_a_token_with_replaced_signing_keys_is_not_a_login(self):
        self.ask(user="", token=TOKEN, replace=True)

        self.assertEqual(self.request(), ("reset", PASSWORD))
        self.assertFalse(self.homeserver.asked("POST", "/login"))

    def test_signing_keys_that_the_worker_has_need_nothing(self):
        self.answers["POST", "/keys/query"] = (200, SIGNED)
        self.keys(state="moved")

        self.ask()

        self.assertEqual(self.request(), ("password", PASSWORD))

    def test_a_device_that_is_there_is_verified_without_a_login(self):
        self.set_up(signature="missing")

        self.ask("sign", password="", recovery_key=RECOVERY_KEY)
        self.assertEqual(self.request(), ("recovery_key", RECOVERY_KEY))

        self.ask("sign", replace=True)
        self.assertEqual(self.request(), ("reset", PASSWORD))
        self.assertFalse(self.homeserver.asked("POST", "/login"))

    def test_verifying_needs_the_key_or_the_password(self):
        for values in ({}, {"password": ""}, {"password": "", "replace": True}):
            self.assertIn("Enter the", self.refused(purpose="sign", **values))

    def test_a_wrong_password_leaves_everything_as_it_was(self):
        self.assertIn("does not accept", self.refused(password="wrong"))

    def test_a_token_of_nobody_is_refused(self):
        text = self.refused(user="", password="", token="syt_of_nobody")

        self.assertIn("does not know the access token", text)
        self.assertEqual(self.backend._token(), TOKEN)

    def test_without_a_key_nothing_is_stored_unsealed(self):
        with patch.dict(os.environ, {tokens.KEY_VARIABLE: ""}):
            self.assertIn("Set matrix_token_key", self.refused())
        self.assertFalse(self.homeserver.asked("POST", "/login"))

    def test_without_a_worker_that_encrypts_nothing_is_asked(self):
        self.worker("1.0.0")

        self.assertIn("built without encryption", self.refused())
        self.assertFalse(self.homeserver.requests)

    def test_while_a_worker_runs_that_cannot_encrypt_nothing_is_asked(self):
        self.worker("1.0.0", name="w2")

        text = self.refused()

        self.assertIn("Upgrade or stop these workers, then try again: w2.", text)
        self.assertFalse(self.homeserver.requests)

    def test_where_the_homeserver_sends_the_messages_every_worker_must_pass_them_on(
        self,
    ):
        self.backend.inbound_mode = "appservice"
        self.worker("1.0.0+contract14.encryption")
        self.worker("1.0.0+contract13.encryption", name="early")
        by_token = {"user": "", "password": ""}
        for values in ({}, {**by_token, "token": TOKEN}, {**by_token, "token": ""}):
            text = self.refused(**values)
            self.assertIn("stop these workers, then try again: early.", text)
        self.assertFalse(self.homeserver.requests)

        self.worker("1.0.0+contract14.encryption", name="early")
        self.ask()
        self.assertEqual(self.request(), ("password", PASSWORD))

    def test_a_worker_without_encryption_does_not_hold_up_a_new_device(self):
        self.set_up(state="lost")
        self.worker("1.0.0", name="w2")

        self.ask()

        self.assertEqual(self.request(), ("password", PASSWORD))

    def test_only_managers_set_it_up(self):
        with self.assertRaises(AccessError):
            self.backend.with_user(self.user)._set_up_encryption("new_device")
        for action in ("set_up_encryption", "verify_device", "turn_off_encryption"):
            with self.assertRaises(AccessError):
                getattr(self.backend.with_user(self.user), f"action_{action}")()
        self.assertFalse(self.homeserver.requests)

    def test_new_rooms_are_encrypted_as_clients_of_the_homeserver_do(self):
        for asked, encrypted in ((True, True), (False, False)):
            self.answers["GET", "/.well-known/matrix/client"] = (
                200,
                {"io.element.e2ee": {"default": asked}},
            )
            self.backend.encryption_mode = "refuse"

            self.ask()

            self.assertIs(self.backend.encrypt_new_rooms, encrypted)

    def test_a_new_device_keeps_the_choice_for_new_rooms(self):
        self.set_up()
        self.backend.encrypt_new_rooms = False

        self.ask()

        self.assertFalse(self.backend.encrypt_new_rooms)

    def test_turning_it_off_withdraws_the_request(self):
        self.ask()

        self.backend.with_user(self.manager).action_turn_off_encryption()

        self.assertEqual(self.backend.encryption_mode, "refuse")
        self.assertEqual(self.requests(), [])


@tagged("post_install", "-at_install")
class TestEncryptionRoute(HttpCase, SetupCase):
    """What the dialog calls."""

    def setUp(self):
        super().setUp()
        for user in (self.user, self.manager):
            user.password = user.login

    def post(self, login="matrix-manager", **values):
        self.authenticate(login, login)
        values = {
            "csrf_token": http.Request.csrf_token(self),
            "backend_id": self.backend.id,
            "purpose": "new_device",
            "user": BOT,
            "password": PASSWORD,
            **values,
        }
        return self.url_open("/mail_matrix/encryption", data=values)

    def test_it_asks_the_worker_and_answers_nothing_secret(self):
        answer = self.post(recovery_key=RECOVERY_KEY)

        self.assertEqual(answer.json(), {"problem": False})
        self.assertEqual(self.request(), ("recovery_key", RECOVERY_KEY))

    def test_it_says_that_the_recovery_key_is_missing(self):
        self.answers["POST", "/keys/query"] = (200, SIGNED)

        answer = self.post().json()

        self.assertTrue(answer["asks_for_key"])
        self.assertEqual(self.requests(), [])

    def test_who_is_not_a_manager_is_refused(self):
        answer = self.post("matrix-user").json()

        self.assertTrue(answer["problem"])
        self.assertFalse(self.homeserver.requests)

    def test_a_page_of_somebody_else_cannot_call_it(self):
        with self.assertLogs("odoo.http", "WARNING"):
            answer = self.post(csrf_token="guessed")

        self.assertEqual(answer.status_code, 400)

    def test_the_secrets_are_in_no_log_and_in_no_table(self):
        logger = logging.getLogger("odoo")
        with self.assertLogs(logger, "DEBUG") as logs:
            logger.debug("The least that is logged")
            self.post(recovery_key=RECOVERY_KEY, replace="false")

        self.env.cr.execute(
            """
            SELECT to_jsonb(b), to_jsonb(r) FROM matrix_backend AS b
            JOIN matrix_crypto_request AS r ON r.backend_id = b.id
            """
        )
        stored = json.dumps(self.env.cr.fetchall())
        for secret in (PASSWORD, RECOVERY_KEY):
            self.assertFalse([line for line in logs.output if secret in line])
            self.assertNotIn(secret, stored)
