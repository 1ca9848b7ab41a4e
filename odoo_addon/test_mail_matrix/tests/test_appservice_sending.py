import hmac

from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from odoo.addons.mail_matrix.tests.homeserver import TOKEN, Homeserver
from odoo.addons.mail_matrix.tools import token as tokens

from .inbound import BOT, InboundCase


@tagged("post_install", "-at_install")
class TestAppServiceSending(InboundCase):
    """Messages are sent with the token of the registration file."""

    def setUp(self):
        super().setUp()
        self.env.cr.execute("DELETE FROM matrix_worker")
        self.homeserver = Homeserver()
        self.addCleanup(self.homeserver.stop)
        self.backend.write(
            {
                "homeserver_url": self.homeserver.url,
                "personal_access_token": TOKEN,
                "inbound_mode": "appservice",
            }
        )
        self.office = self.backend.with_user(self.manager)
        self.office.action_download_registration()
        self.as_token = self.backend._appservice_token()
        self.device = self.backend._appservice_device()
        self.homeserver.accepted.add(self.as_token)
        answers = self.homeserver.answers
        answers["GET", "/account/whoami"] = self.whoami
        answers["PUT", f"/devices/{self.device}"] = (201, {})

    def whoami(self, _body):
        """Answer as Synapse does: on the device that the request names."""
        query = self.homeserver.queries[-1]
        device = query.get("device_id")
        if self.homeserver.tokens[-1] == TOKEN:
            device = "ODOO"
        return 200, {"user_id": BOT, **({"device_id": device} if device else {})}

    def stored(self):
        """Return what the worker reads: the account's own token, then that of the
        application service, account and device if messages are sent through it, and
        the number of changes."""
        self.env.flush_all()
        self.env.cr.execute(
            "SELECT token_sealed, appservice_token_sealed, appservice_user_id, "
            "appservice_device_id, config_version FROM matrix_backend WHERE id = %s",
            [self.backend.id],
        )
        own, acting, user, device, version = self.env.cr.fetchone()
        acting = acting and user and tokens.unseal(acting)
        return own and tokens.unseal(own), acting, user, device, version

    def test_the_registrations_token_sends_as_the_account_on_a_device(self):
        *_stored, before = self.stored()

        self.office.action_send_as_appservice()

        *stored, after = self.stored()
        self.assertEqual(stored, [TOKEN, self.as_token, BOT, self.device])
        self.assertGreater(after, before, "Workers must notice it")
        self.assertTrue(self.office.sends_as_appservice)
        self.assertEqual(self.office.test_result, "ok")
        self.assertEqual(self.office.test_device, self.device)
        self.assertFalse(self.office.test_outdated or self.office.test_hint)

        self.homeserver.tokens.clear()
        self.homeserver.queries.clear()
        self.office.action_test_connection()
        asked = zip(self.homeserver.tokens, self.homeserver.queries, strict=True)
        acting = {"user_id": BOT, "device_id": self.device}
        signed = [(token, query) for token, query in asked if token]
        self.assertEqual(signed, [(self.as_token, acting)])

    def test_files_are_asked_for_with_the_accounts_own_token(self):
        """Workers of every release have that one."""
        self.office.action_send_as_appservice()
        until = str(int(self.env.cr.now().timestamp()) + 60)
        text = f"org.odoo.file {self.backend.id} txn {until}"

        for token, is_known in ((TOKEN, True), (self.as_token, False)):
            proof = hmac.new(token.encode(), text.encode(), "sha256").hexdigest()
            known = self.backend._knows_file_proof("txn", f"{until}.{proof}")
            self.assertEqual(known, is_known)

    def test_who_knows_one_secret_of_the_file_does_not_know_the_other(self):
        secret = self.backend._inbound_secret()
        derived = hmac.new(secret.encode(), b"as_token", "sha256").hexdigest()
        self.assertNotIn(self.as_token, (secret, derived))
        self.office.action_renew_inbound_secret()
        self.assertNotEqual(self.backend._appservice_token(), self.as_token)

    def test_a_file_that_the_homeserver_has_stays_valid_after_the_upgrade(self):
        """Its token was derived from the other one and had no column."""
        self.backend.appservice_token_sealed = False
        secret = self.backend._inbound_secret()
        derived = hmac.new(secret.encode(), b"as_token", "sha256").hexdigest()
        self.homeserver.accepted.add(derived)
        self.assertIn(derived, self.office._appservice_registration())

        self.office.action_send_as_appservice()

        self.assertEqual(self.stored()[1], derived)

    def test_nothing_changes_before_the_homeserver_has_the_file(self):
        before = self.stored()
        self.homeserver.accepted.discard(self.as_token)

        with self.assertRaisesRegex(UserError, "does not know the present regist"):
            self.office.action_send_as_appservice()

        self.assertEqual(self.stored(), before)
        self.assertFalse(self.office.sends_as_appservice)

    def test_nothing_changes_while_a_worker_of_an_earlier_release_runs(self):
        before = self.stored()
        for version in (None, "0.1.0", "0.1.0+encryption", "0.1.0+contract12.debian"):
            self.worker_runs(version)

            with self.assertRaisesRegex(UserError, r"stop these workers.*: early\."):
                self.office.action_send_as_appservice()

            self.assertEqual(self.stored(), before)
            self.assertFalse(self.homeserver.asked("PUT", f"/devices/{self.device}"))

    def test_workers_that_know_it_or_run_no_more_are_no_reason(self):
        self.worker_runs("0.1.0", ago="3 minutes")
        for number, version in enumerate(
            ("0.1.0+contract13", "0.1.0+contract14.encryption", "1.0.0+deb.contract99")
        ):
            self.worker_runs(version, name=f"w{number}")

        self.office.action_send_as_appservice()

        self.assertTrue(self.office.sends_as_appservice)

    def worker_runs(self, version, name="early", ago="0 seconds"):
        self.worker_seen(ago, name)
        self.env.cr.execute(
            "UPDATE matrix_worker SET version = %s WHERE name = %s", [version, name]
        )
        self.env.invalidate_all()

    def test_nothing_changes_where_an_application_service_gets_no_device(self):
        before = self.stored()
        answers = self.homeserver.answers
        answers["GET", "/account/whoami"] = (200, {"user_id": BOT})
        self.backend.inbound_account = BOT

        with self.assertRaisesRegex(UserError, "could arrive twice"):
            self.office.action_send_as_appservice()

        self.assertEqual(self.stored(), before)

    def test_an_older_homeserver_makes_the_device_by_a_login(self):
        answers = self.homeserver.answers
        answers.pop(("PUT", f"/devices/{self.device}"))
        answers["POST", "/login"] = (200, {"access_token": "unused"})

        self.office.action_send_as_appservice()

        [body] = self.homeserver.asked("POST", "/login")
        self.assertEqual(body["device_id"], self.device)
        self.assertEqual(body["identifier"]["user"], BOT)
        self.assertTrue(self.office.sends_as_appservice)

    def test_without_a_registration_nothing_changes(self):
        before = self.stored()
        for mode in ("none", "follow"):
            self.office.inbound_mode = mode

            with self.assertRaisesRegex(UserError, "homeserver sends messages to Odoo"):
                self.office.action_send_as_appservice()

            self.assertNotIn(self.as_token, self.homeserver.tokens)
            self.assertEqual(self.stored()[:4], before[:4])
            with self.assertRaisesRegex(UserError, "homeserver sends messages to Odoo"):
                self.office._appservice_registration()

    def test_a_file_of_another_account_is_not_used(self):
        self.backend.inbound_account = "@other:example.org"

        with self.assertRaisesRegex(UserError, "Download Registration File"):
            self.office.action_send_as_appservice()

    def test_the_access_token_comes_back(self):
        for end in (
            self.office.action_send_with_own_token,
            self.office.action_renew_inbound_secret,
            lambda: self.office.write({"inbound_mode": "none"}),
        ):
            self.office.write({"inbound_mode": "appservice"})
            self.homeserver.accepted.add(self.backend._appservice_token())
            self.office.action_send_as_appservice()

            end()

            self.assertEqual(self.stored()[:4], (TOKEN, None, None, None))

    def test_another_access_token_or_homeserver_ends_it(self):
        self.office.action_send_as_appservice()
        self.office.write({"personal_access_token": "syt_another"})
        self.assertEqual(self.stored()[:4], ("syt_another", None, None, None))

        self.office.write({"personal_access_token": TOKEN})
        self.office.action_send_as_appservice()
        self.office.write({"homeserver_url": "https://elsewhere.example.org"})

        self.assertFalse(self.office.sends_as_appservice)
        self.assertEqual(self.office.token_state, "none")

    def test_another_homeserver_neither_gets_the_old_file_nor_is_the_old_one_heard(
        self,
    ):
        secret = self.backend._inbound_secret()
        for values in (
            {"homeserver_url": "https://elsewhere.example.org"},
            {"verify_ssl": False},
        ):
            self.office.write({**values, "personal_access_token": TOKEN})

            self.assertNotEqual(self.backend._appservice_token(), self.as_token)
            self.assertFalse(self.backend._knows_inbound_secret(secret))
            with self.assertRaisesRegex(UserError, "Download Registration File"):
                self.office._appservice_registration()
            self.as_token = self.backend._appservice_token()
            secret = self.backend._inbound_secret()
            self.office.inbound_account = BOT

    def test_the_same_homeserver_keeps_the_file(self):
        for url in (f"{self.homeserver.url}/", self.homeserver.url):
            self.office.write({"homeserver_url": url, "personal_access_token": TOKEN})
        self.backend.homeserver_url = "https://matrix.example.org"
        kept = self.backend._appservice_token()
        self.office.homeserver_url = "matrix.example.org"

        self.assertEqual(self.backend._appservice_token(), kept)

    def test_who_enters_another_homeserver_hears_that_the_file_is_replaced(self):
        for url, is_other in (("https://other.example.org", True), (None, False)):
            form = self.office.new(
                {"homeserver_url": url or self.homeserver.url, "verify_ssl": True},
                origin=self.office,
            )
            said = form._onchange_registered_homeserver()
            self.assertEqual(bool(said), is_other)

    def test_users_neither_choose_nor_read_it(self):
        theirs = self.backend.with_user(self.user)
        for act in (
            theirs.action_send_as_appservice,
            theirs.action_send_with_own_token,
            lambda: theirs.read(["sends_as_appservice"]),
            lambda: self.office.read(["appservice_token_sealed"]),
            lambda: self.office.write({"appservice_user_id": "@x:example.org"}),
        ):
            with self.assertRaises(AccessError):
                act()
