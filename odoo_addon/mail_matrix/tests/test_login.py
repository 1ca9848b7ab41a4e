import json
import logging

from odoo import http
from odoo.exceptions import AccessError, UserError
from odoo.tests import HttpCase, tagged

from ..models.matrix_backend.login import OtherAddress
from .common import MatrixCase
from .homeserver import BOT, TOKEN, Homeserver

USER = "odoo-bot"
PASSWORD = "correct horse battery staple"


class LoginCase(MatrixCase):
    def setUp(self):
        super().setUp()
        self.homeserver = Homeserver()
        self.addCleanup(self.homeserver.stop)
        self.homeserver.offer_login(USER, PASSWORD)
        self.backends = self.env["matrix.backend"].with_user(self.manager)


class TestLogin(LoginCase):
    def connect(self, backend=None, **values):
        values = {"user": USER, "password": PASSWORD, **values}
        values.setdefault("url", self.homeserver.url)
        values.setdefault("verify_ssl", True)
        backend = self.backends if backend is None else backend
        return backend._connect(**values)

    def refused(self, kind=UserError, **values):
        """Return with what words no connection is made; the password is not in them."""
        before = self.backends.search_count([])
        with self.assertRaises(kind) as caught:
            self.connect(**values)
        self.assertNotIn(PASSWORD, repr(caught.exception))
        self.assertEqual(self.backends.search_count([]), before)
        return str(caught.exception)

    def test_a_password_becomes_the_token_of_a_device_of_its_own(self):
        backend = self.connect()

        self.assertEqual(backend._token(), TOKEN)
        self.assertEqual(backend.test_account, BOT)
        self.assertEqual(backend.test_result, "ok")
        [asked] = self.homeserver.asked("POST", "/login")
        self.assertEqual(
            asked,
            {
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": USER},
                "password": PASSWORD,
                "initial_device_display_name": f"Odoo ({self.env.cr.dbname})",
            },
        )

    def test_the_password_is_stored_nowhere(self):
        backend = self.connect()
        self.env.flush_all()

        self.env.cr.execute(
            "SELECT to_jsonb(b) FROM matrix_backend AS b WHERE id = %s", [backend.id]
        )
        [row] = self.env.cr.fetchone()
        self.assertNotIn(PASSWORD, json.dumps(row))

    def test_an_existing_backend_gets_the_token(self):
        backend = self.backend.with_user(self.manager)

        self.assertEqual(self.connect(backend), backend)

        self.assertEqual(backend.homeserver_url, self.homeserver.url)
        self.assertEqual(backend._token(), TOKEN)

    def test_a_token_can_be_pasted_instead(self):
        backend = self.connect(user="", password="", token=TOKEN)

        self.assertEqual(backend._token(), TOKEN)
        self.assertEqual(backend.test_account, BOT)
        self.assertFalse(self.homeserver.asked("POST", "/login"))

    def test_a_wrong_password_is_reported_without_it(self):
        self.homeserver.offer_login(USER, "another")

        text = self.refused()

        self.assertIn("does not accept this user name and password", text)

    def test_what_the_server_quotes_of_the_password_is_left_out(self):
        self.homeserver.answers["POST", "/login"] = lambda body: (
            400,
            {"errcode": "M_INVALID_PARAM", "error": f"Bad {body['password']}"},
        )

        self.assertIn("refused: Bad … (M_INVALID_PARAM)", self.refused())

    def test_a_server_without_passwords_is_reported_and_not_given_one(self):
        flows = [{"type": "m.login.sso"}]
        self.homeserver.answers["GET", "/login"] = (200, {"flows": flows})

        text = self.refused()

        self.assertIn("offers no login with a password", text)
        self.assertIn("paste", text)
        self.assertFalse(self.homeserver.asked("POST", "/login"))

    def test_what_is_not_a_homeserver_is_not_given_the_password(self):
        self.homeserver.answers["GET", "/_matrix/client/versions"] = (200, b"<html>")

        self.assertIn("not a Matrix homeserver", self.refused())
        self.assertFalse(self.homeserver.asked("POST", "/login"))

    def test_another_address_is_offered_before_the_password_goes_there(self):
        other = Homeserver()
        self.addCleanup(other.stop)
        del self.homeserver.answers["GET", "/_matrix/client/versions"]
        self.homeserver.answers["GET", "/.well-known/matrix/client"] = (
            200,
            {"m.homeserver": {"base_url": other.url}},
        )

        with self.assertRaises(OtherAddress) as caught:
            self.connect()

        self.assertEqual(caught.exception.url, other.url)
        self.assertFalse(other.asked("POST", "/login"))

    def test_a_device_that_nobody_can_use_is_logged_out(self):
        self.homeserver.answers["POST", "/logout"] = (200, {})
        backend = self.backends.create(
            {
                "name": "Second",
                "homeserver_url": "https://b.example",
                "is_active": False,
            }
        )
        self.patch(type(backend), "_store_connection", _refuse)

        with self.assertRaises(ZeroDivisionError):
            self.connect(backend)

        self.assertEqual(self.homeserver.asked("POST", "/logout"), [{}])

    def test_an_account_that_cannot_be_used_is_kept_with_the_reason(self):
        self.homeserver.answers["GET", "/account/whoami"] = (
            403,
            {"errcode": "M_USER_SUSPENDED", "error": "Suspended"},
        )

        backend = self.connect()

        self.assertEqual(backend.test_result, "failed")
        self.assertIn("suspended", backend.test_problem)

    def test_nothing_is_asked_without_name_password_or_address(self):
        for values in ({"user": " "}, {"password": ""}, {"url": "matrix"}):
            with self.subTest(values=values):
                self.refused(**values)
        self.assertFalse(self.homeserver.asked("POST", "/login"))

    def test_only_managers_connect(self):
        for backend in (self.backends, self.backend):
            with self.assertRaises(AccessError):
                self.connect(backend.with_user(self.user))
        self.assertEqual(self.homeserver.requests, [])


def _refuse(*_args):
    raise ZeroDivisionError


@tagged("post_install", "-at_install")
class TestLoginRoute(HttpCase, LoginCase):
    """What the dialog calls."""

    def post(self, login, **values):
        self.authenticate(login, login)
        values = {
            "csrf_token": http.Request.csrf_token(self),
            "backend_id": "",
            "url": self.homeserver.url,
            "verify": "true",
            "user": USER,
            "password": PASSWORD,
            **values,
        }
        return self.url_open("/mail_matrix/connect", data=values)

    def setUp(self):
        super().setUp()
        for user in (self.user, self.manager):
            user.password = user.login

    def test_it_answers_what_was_made_and_nothing_secret(self):
        answer = self.post("matrix-manager")

        found = answer.json()
        backend = self.backends.browse(found["backend"])
        self.assertEqual((found["account"], found["problem"]), (BOT, False))
        self.assertEqual(backend.name, "127.0.0.1")
        self.assertNotIn(TOKEN, answer.text)
        self.assertNotIn(PASSWORD, answer.text)

    def test_a_refusal_leaves_nothing_behind(self):
        before = self.backends.search_count([])

        found = self.post("matrix-manager", password="wrong").json()

        self.assertIn("does not accept", found["problem"])
        self.assertFalse(found.get("backend"))
        self.assertEqual(self.backends.search_count([]), before)

    def test_who_is_not_a_manager_is_refused(self):
        found = self.post("matrix-user").json()

        self.assertFalse(found.get("backend"))
        self.assertFalse(self.homeserver.requests)

    def test_a_page_of_somebody_else_cannot_call_it(self):
        with self.assertLogs("odoo.http", "WARNING"):
            answer = self.post("matrix-manager", csrf_token="guessed")

        self.assertEqual(answer.status_code, 400)
        self.assertFalse(self.homeserver.requests)

    def test_the_password_is_in_no_log_at_all(self):
        logger = logging.getLogger("odoo")
        with self.assertLogs(logger, "DEBUG") as logs:
            logger.debug("The least that is logged")
            found = self.post("matrix-manager").json()

        self.assertTrue(found["backend"])
        self.assertFalse([line for line in logs.output if PASSWORD in line])
