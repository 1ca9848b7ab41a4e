import json
from urllib.parse import urlsplit

from odoo.exceptions import AccessError
from odoo.tests import HttpCase, tagged
from odoo.tools import mute_logger

from odoo.addons.mail_matrix.tests.homeserver import TOKEN, Homeserver

from .inbound import ANNA, BOT, AppServiceCase, InboundCase


@tagged("post_install", "-at_install")
class TestAppService(AppServiceCase):
    """The homeserver sends what is written in rooms."""

    def test_a_transaction_comes_in_once(self):
        first = self.text("First")

        answers = [self.put([first]), self.put([first]), self.put([first], txn_id="2")]

        self.assertEqual([answer.status_code for answer in answers], [200] * 3)
        self.assertEqual(answers[0].json(), {})
        self.assertEqual(len(self.notes()), 1)

    def test_the_worker_does_not_go_on_from_an_old_position(self):
        """The homeserver has sent what was written since."""
        for age, kept in (("13 hours", None), ("11 hours", "s1")):
            self.backend.inbound_mode = "appservice"
            self.env.cr.execute(
                """
                INSERT INTO matrix_follower (backend_id, since, synced_at)
                VALUES (%s, 's1', now() AT TIME ZONE 'UTC' - %s::interval)
                ON CONFLICT (backend_id) DO UPDATE
                SET since = excluded.since, synced_at = excluded.synced_at
                RETURNING id
                """,
                [self.backend.id, age],
            )
            [row] = self.env.cr.fetchone()

            self.backend.inbound_mode = "follow"

            self.env.cr.execute(
                "SELECT since FROM matrix_follower WHERE id = %s", [row]
            )
            self.assertEqual(self.env.cr.fetchone(), (kept,), age)

    def test_changes_come_in_as_well(self):
        """Odoo asks who writes, and nobody is logged in."""
        self.user.sudo().matrix_user_id = ANNA
        first, second = self.text("Frist"), self.text("Secret")
        answer = self.answer_to(second["event_id"], "Answer")
        changes = [self.edit_of(first, "First"), self.redaction_of(second)]

        self.put([first, second, answer])
        self.put(changes)

        notes = self.notes()
        self.assertIn("First", notes[0].body)
        self.assertNotIn("Secret", notes[1].body or "")
        self.assertEqual(notes[2].parent_id, notes[1])
        self.assertFalse(self.env["matrix.inbound"].search([("error", "!=", False)]))

    def test_the_number_of_a_homeserver_that_was_set_up_anew_hides_nothing(self):
        self.put([self.text("Before")])
        self.put([self.text("After")])

        self.assertEqual(len(self.notes()), 2)

    def test_a_hundred_events_come_in_one_transaction_of_five_megabytes(self):
        large = {"com.example.padding": "x" * 50_000}
        numbers = range(100)

        answer = self.put([self.text(f"Number {number}", large) for number in numbers])

        self.assertEqual(answer.status_code, 200)
        self.assertEqual(len(self.notes()), 100)

    def test_a_wrong_secret_gets_no_further_and_learns_nothing(self):
        for secret in ("wrong", self.secret[:-1], self.secret + "x", "ü"):
            answer = self.put([self.text()], secret=secret.encode().decode("latin-1"))
            self.assertEqual(answer.status_code, 403)
            self.assertEqual(answer.json()["errcode"], "M_FORBIDDEN")
            self.assertNotIn(self.secret, answer.text)
        for shown in ("", "Bearer", "Bearer ", f"Basic {self.secret}", self.secret):
            answer = self.put([self.text()], Authorization=shown)
            self.assertEqual(answer.status_code, 401, shown)
        self.assertFalse(self.notes())

    def test_nothing_is_accepted_where_the_backend_is_not_set_up_for_it(self):
        self.backend.inbound_mode = "none"
        self.assertEqual(self.put([self.text()]).status_code, 404)
        self.backend.inbound_mode = "appservice"
        self.assertEqual(self.put([self.text()]).status_code, 403)
        self.secret = self.backend._inbound_secret()
        self.backend.is_active = False
        self.assertEqual(self.put([self.text()]).status_code, 404)
        self.backend = self.backend.browse(2**31 - 1)
        self.assertEqual(self.put([self.text()]).status_code, 404)
        self.assertFalse(self.notes())

    def test_a_body_that_is_not_a_transaction_is_refused(self):
        for body, status in (
            (b"{", 400),
            (b'{"events": "\xff"}', 400),
            (b"[]", 400),
            (b" " * (9 * 1024 * 1024), 413),
        ):
            self.assertEqual(self.put([], body=body).status_code, status, body[:20])

    def test_a_secret_is_asked_for_before_the_body(self):
        answer = self.put([], body=b" " * (9 * 1024 * 1024), secret="wrong")

        self.assertEqual(answer.status_code, 403)

    def test_odoo_creates_no_users_and_no_rooms(self):
        headers = {"Authorization": f"Bearer {self.secret}"}
        for what in ("users/@x:example.org", "rooms/%23x:example.org"):
            url = f"{self.path()}/{what}"
            answer = self.url_open(url, headers=headers)
            self.assertEqual(answer.status_code, 404)
            self.assertEqual(answer.json()["errcode"], "M_NOT_FOUND")
            self.assertEqual(self.url_open(url).status_code, 401)

    def test_the_homeserver_can_ask_whether_odoo_is_there(self):
        url = f"{self.path()}/ping"
        headers = {"Authorization": f"Bearer {self.secret}"}
        answer = self.url_open(url, data="{}", headers=headers)

        self.assertEqual((answer.status_code, answer.json()), (200, {}))

    # The registration file

    def register(self):
        homeserver = Homeserver()
        self.addCleanup(homeserver.stop)
        self.backend.write(
            {"homeserver_url": homeserver.url, "personal_access_token": TOKEN}
        )
        # A registration belongs to one homeserver.
        self.secret = self.backend._inbound_secret()
        homeserver.answers["GET", "/account/whoami"] = (200, {"user_id": BOT})
        action = self.backend.with_user(self.manager).action_download_registration()
        return action["url"]

    def test_a_manager_downloads_the_registration_file(self):
        url = self.register()
        self.manager.password = "matrix-manager-1"
        self.authenticate("matrix-manager", "matrix-manager-1")

        answer = self.url_open(url)

        self.assertEqual(answer.status_code, 200)
        self.assertIn("attachment", answer.headers["Content-Disposition"])
        self.assertEqual(answer.headers["Cache-Control"], "no-store")
        lines = dict(
            line.strip(" -").split(": ", 1)
            for line in answer.text.splitlines()
            if ": " in line and not line.startswith("#")
        )
        self.assertEqual(json.loads(lines["hs_token"]), self.secret)
        self.assertEqual(json.loads(lines["regex"]), "^@odoo:example\\.org$")
        self.assertEqual(
            urlsplit(json.loads(lines["url"])).path,
            f"/mail_matrix/appservice/{self.backend.id}",
        )
        self.assertNotIn(self.secret, lines["as_token"])
        self.assertEqual(lines["rate_limited"], "false")

    def test_nobody_else_downloads_it(self):
        url = self.register()
        self.assertNotIn(self.secret, self.url_open(url).text)
        self.user.password = "matrix-user-1234"
        self.authenticate("matrix-user", "matrix-user-1234")
        with mute_logger("odoo.http"):
            answer = self.url_open(url)
        self.assertNotEqual(answer.status_code, 200)
        self.assertNotIn(self.secret, answer.text)
        with self.assertRaises(AccessError):
            self.backend.with_user(self.user).action_download_registration()


@tagged("post_install", "-at_install")
class TestWebhook(HttpCase, InboundCase):
    """The worker sends what it read on the homeserver."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.backend.inbound_mode = "follow"
        cls.secret = cls.backend._inbound_secret()

    def post(self, events, names=None, secret=None, body=None):
        headers = {
            "Authorization": f"Bearer {secret or self.secret}",
            "Content-Type": "application/json",
        }
        body = body or json.dumps({"events": events, "names": names})
        url = urlsplit(self.backend.inbound_url).path
        return self.url_open(url, data=body, headers=headers, timeout=300)

    def test_a_batch_comes_in_once_with_the_names_of_its_senders(self):
        batch = [self.text("First")]

        answers = [self.post(batch, {ANNA: "Anna Smith"}) for _ in range(2)]

        self.assertEqual([answer.status_code for answer in answers], [200, 200])
        self.assertIn("<b>Anna Smith</b>", self.notes().body)

    def test_invalid_names_are_ignored(self):
        for names in ([], "x", {ANNA: 7}, {ANNA: ""}):
            self.assertEqual(self.post([self.text()], names).status_code, 200, names)
            self.assertIn("<b>anna</b>", self.notes()[-1].body)

    def test_what_is_too_large_or_not_the_workers_is_refused(self):
        self.assertEqual(self.post([], body="[]").status_code, 400)
        self.assertEqual(self.post([{}] * 101).status_code, 413)
        large = b" " * (5 * 1024 * 1024)
        self.assertEqual(self.post([], body=large).status_code, 413)
        self.assertEqual(self.post([self.text()], secret="wrong").status_code, 403)
        self.backend.inbound_mode = "appservice"
        answer = self.url_open(
            f"/mail_matrix/inbound/{self.backend.id}",
            data="{}",
            headers={"Authorization": f"Bearer {self.backend._inbound_secret()}"},
        )
        self.assertEqual(answer.status_code, 404)
