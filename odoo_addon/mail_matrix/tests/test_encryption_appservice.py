from unittest.mock import patch

from odoo.exceptions import AccessError, UserError

from ..models.matrix_backend.encryption_setup import SigningKeysExist
from .homeserver import BOT, TOKEN
from .test_encryption_setup import PASSWORD, RECOVERY_KEY, SIGNED, SetupCase

WORKER = "1.0.0+contract14.encryption"


class AppServiceCase(SetupCase):
    """A homeserver that has loaded the backend's registration file."""

    def setUp(self):
        super().setUp()
        self.worker(WORKER)
        self.backend.inbound_mode = "appservice"
        self.office = self.backend.with_user(self.manager)
        self.answers["GET", "/account/whoami"] = self.whoami
        self.answers["PUT", "/devices/*"] = (201, {})
        self.office.action_download_registration()
        self.homeserver.accepted.add(self.backend._appservice_token())

    def whoami(self, _body):
        """Answer as Synapse does: on the device that the request names."""
        device = self.homeserver.queries[-1].get("device_id")
        if self.homeserver.tokens[-1] == TOKEN:
            device = "OWN"
        return 200, {"user_id": BOT, **({"device_id": device} if device else {})}

    def sends(self):
        """Send through the application service; return the device."""
        self.office.action_send_as_appservice()
        return self.backend.appservice_device_id

    def ask(self, purpose="new_device", as_appservice=True, **values):
        values = {"user": "", "password": "", **values}
        return super().ask(purpose, as_appservice=as_appservice, **values)

    def made(self):
        """Return the devices that were made, in order."""
        return [
            path.removeprefix("/devices/")
            for method, path, _body in self.homeserver.requests
            if method == "PUT"
        ]


class TestEncryptionAppService(AppServiceCase):
    """The application service's device encrypts, and nobody is asked for a password."""

    def refused(self, reason, act, kind=UserError):
        """``act`` says why it cannot be done, and changes nothing."""
        before = self.backend.read(["encryption_mode", "appservice_device_id"])
        self.homeserver.requests.clear()
        with self.assertRaisesRegex(kind, reason), self.env.cr.savepoint():
            act()
        self.assertEqual(self.requests(), [])
        self.assertEqual(self.made(), [])
        now = self.backend.read(["encryption_mode", "appservice_device_id"])
        self.assertEqual(now, before)

    # Sending through it on a backend that encrypts

    def test_sending_through_it_gives_the_keys_another_device(self):
        self.answers["POST", "/keys/query"] = (200, SIGNED)
        self.set_up()

        device = self.sends()

        self.assertEqual(self.request(), ("new_device", None))
        self.assertEqual(self.made(), [device])
        self.assertEqual(self.backend.encryption_state, "setup")
        self.assertTrue(self.office.sends_as_appservice)
        self.assertFalse(self.homeserver.asked("POST", "/login"))

        self.env.cr.execute("DELETE FROM matrix_crypto_request")
        self.keys(device_id=device)
        self.assertEqual(self.backend.encryption_state, "ready")

    def test_a_new_device_that_is_not_sent_through_after_all_is_removed(self):
        self.set_up()
        backend = type(self.backend)
        for name in ("_seal", "_request_encryption", "_test_and_note"):
            self.homeserver.requests.clear()
            with (
                patch.object(backend, name, side_effect=UserError("No")),
                self.assertRaises(UserError),
                self.env.cr.savepoint(),
            ):
                self.sends()

            self.assertEqual(self.homeserver.asked("POST", "/logout"), [{}], name)
            device = {"user_id": BOT, "device_id": self.made()[-1]}
            self.assertEqual(self.homeserver.queries[-1], device)
            self.assertFalse(self.backend.appservice_device_id)

    def test_the_device_that_unencrypted_messages_share_is_never_removed(self):
        backend, error = type(self.backend), UserError("No")
        with (
            patch.object(backend, "_test_and_note", side_effect=error),
            self.assertRaises(UserError),
            self.env.cr.savepoint(),
        ):
            self.sends()

        self.assertEqual(len(self.made()), 1)
        self.assertFalse(self.homeserver.asked("POST", "/logout"))

    def test_each_device_is_one_that_never_had_keys(self):
        first = self.sends()
        self.set_up()
        for _time in range(2):
            self.backend.appservice_user_id = False
            self.sends()
        self.ask()

        self.assertEqual(self.made()[0], first)
        self.assertEqual(len(set(self.made())), 4)
        self.assertEqual(self.made()[-1], self.backend.appservice_device_id)

    def test_a_device_that_the_worker_could_not_sign_is_not_made(self):
        self.answers["POST", "/keys/query"] = (200, SIGNED)
        for button, values in (
            ("Verify Device", {"signature": "missing"}),
            (
                "Set Up Again",
                {"state": "lost", "signature": None, "setup_state": "failed"},
            ),
            ("New Device", {"state": "lost", "signature": "missing"}),
            ("New Device", {"matrix_user_id": "@other:example.org"}),
        ):
            self.set_up(**values)
            self.refused(f"Click “{button}”", self.office.action_send_as_appservice)

    def test_what_no_worker_could_encrypt_is_not_sent_through_it(self):
        self.set_up()
        for version, reason in (
            ("1.0.0+contract13.encryption", "cannot encrypt where the application"),
            ("1.0.0+contract14", "built without encryption"),
        ):
            self.worker(version)
            self.refused(reason, self.office.action_send_as_appservice)

    # The dialog

    def test_the_dialog_offers_it_where_messages_are_sent_so(self):
        def is_offered(action):
            return action["params"]["asAppservice"]

        self.assertFalse(is_offered(self.office.action_set_up_encryption()))

        self.sends()

        self.assertTrue(is_offered(self.office.action_set_up_encryption()))
        self.assertTrue(is_offered(self.office.action_verify_device()))

    def test_it_is_set_up_without_a_password(self):
        self.sends()

        self.ask()

        self.assertEqual(self.request(), ("new_device", None))
        self.assertEqual(self.backend.encryption_mode, "encrypt")
        self.assertTrue(self.backend.encrypt_new_rooms)
        self.assertEqual(self.backend.appservice_device_id, self.made()[-1])
        self.assertEqual(self.backend._token(), TOKEN)
        self.assertFalse(self.homeserver.asked("POST", "/login"))

    def test_an_account_with_signing_keys_asks_for_its_recovery_key(self):
        self.sends()
        self.answers["POST", "/keys/query"] = (200, SIGNED)
        self.refused("Enter its recovery key", self.ask, SigningKeysExist)

        self.ask(recovery_key=RECOVERY_KEY)

        self.assertEqual(self.request(), ("recovery_key", RECOVERY_KEY))

    def test_signing_keys_are_replaced_without_a_password(self):
        self.sends()
        self.answers["POST", "/keys/query"] = (200, SIGNED)

        self.ask(replace=True)

        self.assertEqual(self.request(), ("reset", None))

    def test_the_device_is_verified_without_a_password(self):
        device = self.sends()
        self.set_up(signature="missing", device_id=device)

        self.ask("sign", replace=True)
        self.assertEqual(self.request(), ("reset", None))

        self.ask("sign", recovery_key=RECOVERY_KEY)
        self.assertEqual(self.request(), ("recovery_key", RECOVERY_KEY))
        self.assertEqual(self.backend.appservice_device_id, device)
        self.assertEqual(self.made(), [device])

    def test_a_device_that_is_gone_is_replaced(self):
        gone = self.sends()
        self.set_up(state="lost", device_id=gone)

        def whoami(body):
            if self.homeserver.queries[-1].get("device_id") == gone:
                return 401, {"errcode": "M_UNKNOWN_DEVICE", "error": "Gone"}
            return self.whoami(body)

        self.answers["GET", "/account/whoami"] = whoami

        self.ask()

        self.assertNotEqual(self.backend.appservice_device_id, gone)
        self.assertEqual(self.request(), ("new_device", None))

    def test_a_device_that_is_not_used_after_all_is_removed(self):
        device = self.sends()
        backend = type(self.backend)

        with (
            patch.object(backend, "_request_encryption", side_effect=UserError("No")),
            self.assertRaises(UserError),
            self.env.cr.savepoint(),
        ):
            self.ask()

        self.assertEqual(self.homeserver.asked("POST", "/logout"), [{}])
        self.assertEqual(
            self.homeserver.queries[-1],
            {"user_id": BOT, "device_id": self.made()[-1]},
        )
        self.assertEqual(self.backend.appservice_device_id, device)

    def test_the_other_ways_end_the_sending_through_it(self):
        for values in (
            {"user": BOT, "password": PASSWORD},
            {"token": TOKEN},
            {"token": ""},
        ):
            self.sends()

            self.ask(as_appservice=False, **values)

            self.assertFalse(self.office.sends_as_appservice, values)
            self.assertEqual(self.backend._token(), TOKEN)
            self.set_up()

    def test_a_dialog_that_was_open_for_long_does_not_turn_it_on_again(self):
        self.refused("no longer sent through", self.ask)

    def test_workers_of_an_earlier_release_are_named(self):
        self.sends()
        self.worker("1.0.0+contract13.encryption", name="early")

        self.refused("stop these workers, then try again: early", self.ask)

    def test_where_messages_are_encrypted_the_access_token_takes_a_new_device(self):
        device = self.sends()
        self.set_up(device_id=device)

        action = self.office.action_send_with_own_token()

        self.assertEqual(action["tag"], "mail_matrix.encryption")
        self.assertEqual(action["params"]["purpose"], "new_device")
        self.assertFalse(action["params"]["asAppservice"])
        self.assertEqual(self.backend.appservice_device_id, device, "Nothing yet")

        self.office.action_turn_off_encryption()
        self.assertFalse(self.office.action_send_with_own_token())
        self.assertFalse(self.office.sends_as_appservice)

    def test_plain_users_ask_for_nothing(self):
        self.sends()
        with self.assertRaises(AccessError):
            self.backend.with_user(self.user)._set_up_encryption(
                "new_device", as_appservice=True
            )
