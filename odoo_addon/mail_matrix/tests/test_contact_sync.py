import time
from datetime import datetime, timedelta
from unittest.mock import patch

from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, tagged

from ..wizards import contact_sync_run
from .common import MatrixCase
from .homeserver import BOT, TOKEN, Homeserver
from .test_people import picture

ANNA, BORIS, CLARA = "@anna:example.org", "@boris:example.org", "@clara:example.org"
ROOM, CASE = "!dm:example.org", "!case:example.org"
DIRECT = ("GET", f"/user/{BOT}/account_data/m.direct")
SEARCH = ("POST", "/user_directory/search")
THUMBNAIL = "/_matrix/client/v1/media/thumbnail/example.org"


def members(room):
    return "GET", f"/rooms/{room}/joined_members"


class ContactSyncCase(MatrixCase):
    def setUp(self):
        super().setUp()
        self.homeserver = Homeserver()
        self.addCleanup(self.homeserver.stop)
        self.backend.write(
            {"homeserver_url": self.homeserver.url, "personal_access_token": TOKEN}
        )
        self.answers = self.homeserver.answers
        self.answers.update(
            {
                DIRECT: (200, {ANNA: [ROOM], "@odd:x": None, "x": [1]}),
                ("GET", "/joined_rooms"): (200, {"joined_rooms": [ROOM, CASE]}),
                members(ROOM): (
                    200,
                    {"joined": {BOT: {}, ANNA: {"display_name": "Anna"}}},
                ),
                members(CASE): (
                    200,
                    {"joined": {BOT: {}, ANNA: {}, BORIS: {"display_name": "Boris"}}},
                ),
            }
        )

    def sync(self, user=None, **values):
        form = Form(self.env["matrix.contact.sync"].with_user(user or self.user))
        for name, value in values.items():
            form[name] = value
        sync = form.save()
        sync.action_sync()
        return sync

    def contacts(self):
        return {
            contact.matrix_user_id: contact
            for contact in self.env["matrix.contact"].search(
                [("backend_id", "=", self.backend.id)]
            )
        }


@tagged("post_install", "-at_install")
class TestContactSync(ContactSyncCase):
    """Looking for people on a homeserver."""

    def test_people_of_direct_chats_become_contacts(self):
        sync = self.sync()

        self.assertEqual(sync.state, "done")
        self.assertIn("Contacts found: 1, of which new: 1", sync.result)
        [(account, contact)] = self.contacts().items()
        self.assertEqual((account, contact.name), (ANNA, "Anna"))
        self.assertTrue(contact.is_direct)

    def test_people_of_the_rooms_are_asked_for(self):
        self.sync(with_rooms=True)

        found = self.contacts()
        self.assertEqual({*found}, {ANNA, BORIS})
        self.assertEqual(found[ANNA].name, "Anna")
        self.assertFalse(found[BORIS].is_direct)

    def test_a_second_run_changes_nothing_and_adds_nobody(self):
        self.sync(with_rooms=True)
        before = {account: contact.id for account, contact in self.contacts().items()}
        sync = self.sync(with_rooms=True)

        after = {account: contact.id for account, contact in self.contacts().items()}
        self.assertEqual(after, before)
        self.assertIn("Contacts found: 2, of which new: 0", sync.result)

    def test_a_sync_counts_whom_it_found_itself(self):
        self.sync(with_rooms=True)

        sync = self.sync(with_rooms=False)

        self.assertEqual(sync.result, "Contacts found: 1, of which new: 0.")

    def test_a_search_of_the_directory_keeps_what_is_valid(self):
        anna = {
            "user_id": ANNA,
            "display_name": "Anna\u202e",
            "avatar_url": "javascript:",
        }
        odd = [anna, {"user_id": 1}, {}, {"user_id": "nobody"}, {"user_id": BOT}, "x"]
        self.answers[SEARCH] = (200, {"results": odd, "limited": True})

        sync = self.sync(term="ann", with_direct=False)

        [(account, contact)] = self.contacts().items()
        self.assertEqual((account, contact.name), (ANNA, "Anna"))
        self.assertFalse(contact.sudo().avatar_url)
        self.assertIn("longer term", sync.result)

    def test_an_empty_directory_is_explained(self):
        self.answers[SEARCH] = (200, {"results": [], "limited": False})

        sync = self.sync(term="nobody", with_direct=False)

        self.assertIn("Nobody was found", sync.result)
        self.assertIn("search_all_users", sync.result)

    def test_a_directory_that_is_switched_off_is_named(self):
        for refusal in (
            (403, {"errcode": "M_FORBIDDEN", "error": "no"}),
            (404, {"errcode": "M_UNRECOGNIZED", "error": "no"}),
        ):
            self.answers[SEARCH] = refusal
            sync = self.sync(term="ann")

            self.assertIn("does not let the account search", sync.result)
            self.assertEqual(sync.state, "done")
            self.assertIn(ANNA, self.contacts())

    def test_ten_thousand_people_are_bounded(self):
        many = [{"user_id": f"@p{number}:example.org"} for number in range(10_000)]
        self.answers[SEARCH] = (200, {"results": many})

        self.sync(term="p", with_direct=False)

        self.assertEqual(len(self.contacts()), 1000)

    def test_a_matrix_id_is_looked_up_whatever_the_directory_shows(self):
        account = "@Mixed.Case👋:example.org"
        self.answers["GET", f"/profile/{account}"] = (200, {"displayname": "Mixed"})

        self.sync(term=f"  {account} ", with_direct=False)

        self.assertEqual(self.contacts()[account].name, "Mixed")
        self.assertFalse(self.homeserver.asked(*SEARCH))

    def test_an_account_that_does_not_exist_is_named(self):
        for status in (404, 410):
            gone = (status, {"errcode": "M_NOT_FOUND", "error": "No such account"})
            self.answers["GET", f"/profile/{CLARA}"] = gone

            sync = self.sync(term=CLARA, with_direct=False)

            self.assertIn(f"There is no account {CLARA}", sync.result)
            self.assertEqual(self.contacts(), {})

    def test_who_vanished_stays_and_is_marked(self):
        contacts = self.env["matrix.contact"]
        old = {"backend_id": self.backend.id, "last_seen": "2020-01-01 00:00:00"}
        contacts.create({**old, "matrix_user_id": CLARA, "is_direct": True})
        contacts.create({**old, "matrix_user_id": BORIS, "is_direct": True})
        self.answers["GET", f"/profile/{BORIS}"] = (200, {"displayname": "Boris"})

        self.sync()

        found = self.contacts()
        self.assertTrue(found[CLARA].is_gone)
        self.assertFalse(found[BORIS].is_gone)
        self.assertFalse(found[BORIS].is_direct)
        self.answers["GET", f"/profile/{CLARA}"] = (200, {})
        self.sync(term=CLARA, with_direct=False)
        self.assertFalse(found[CLARA].is_gone)

    def test_a_room_that_refuses_does_not_end_the_sync(self):
        self.answers[members(ROOM)] = (403, {"errcode": "M_FORBIDDEN", "error": "Out"})

        sync = self.sync(with_rooms=True)

        self.assertEqual(sync.state, "done")
        self.assertIn("Out", sync.result)
        self.assertEqual({*self.contacts()}, {ANNA, BORIS})

    def test_a_sync_that_was_limited_or_interrupted_can_be_continued(self):
        limited = {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 5000}
        sound = self.answers[members(ROOM)]
        self.answers[members(ROOM)] = (429, limited)

        sync = self.sync(with_rooms=True)

        self.assertEqual(sync.state, "stopped")
        self.assertIn("Not finished", sync.result)
        self.assertEqual({*self.contacts()}, {ANNA, BORIS})
        self.assertFalse(self.contacts()[ANNA].name)
        self.answers[members(ROOM)] = sound
        sync.action_sync()
        self.assertEqual(sync.state, "done")
        self.assertEqual(self.contacts()[ANNA].name, "Anna")

    def test_no_call_is_begun_when_the_time_is_over(self):
        now = time.monotonic()
        clock = iter([now, now + 1, now + 2])

        with patch.object(contact_sync_run.time, "monotonic") as monotonic:
            monotonic.side_effect = lambda: next(clock, now + 3600)
            sync = self.env["matrix.contact.sync"].with_user(self.user).create({})
            with patch.object(contact_sync_run, "_SECONDS", -1):
                sync.action_sync()

        self.assertEqual(sync.state, "stopped")
        self.assertIn("The time limit was reached", sync.result)
        self.assertEqual(self.homeserver.requests, [])

    def test_a_homeserver_without_an_answer_is_explained_in_plain_words(self):
        self.homeserver.stop()

        sync = self.sync()

        self.assertEqual(sync.state, "stopped")
        self.assertIn("Is the homeserver running", sync.result)

    def test_a_slow_directory_keeps_nobody_waiting(self):
        # Nobody ever answers.
        self.answers[SEARCH] = lambda _body: None
        began = time.monotonic()

        with patch.object(contact_sync_run, "_CALL_SECONDS", 0.3):
            sync = self.sync(term="ann")

        self.assertLess(time.monotonic() - began, 20)
        self.assertEqual(sync.state, "stopped")
        self.assertIn("Not finished", sync.result)

    def test_ids_of_every_length_and_case_are_kept_apart(self):
        long = "@" + "a" * 252 + ":x"
        sound = {long, "@Anna:example.org", ANNA}
        found = [*sound, long[:1] + "a" + long[1:], "@" + "ä" * 127 + ":x"]
        people = [{"user_id": user_id, "display_name": "A"} for user_id in found]
        self.answers[SEARCH] = (200, {"results": people})

        sync = self.sync(term="a", with_direct=False)

        self.assertEqual({*self.contacts()}, sound)
        self.assertEqual(sync.state, "done")

    def test_an_avatar_is_fetched_again_after_a_month(self):
        anna = {"display_name": "Anna", "avatar_url": "mxc://example.org/abc"}
        self.answers[members(ROOM)] = (200, {"joined": {ANNA: anna}})
        self.answers["GET", f"{THUMBNAIL}/abc"] = (200, picture())
        self.sync()
        contact = self.contacts()[ANNA]
        for days, fetched in ((29, 1), (31, 2)):
            contact.sudo().avatar_fetched_at = datetime.now() - timedelta(days=days)

            self.sync()

            asked = self.homeserver.asked("GET", f"{THUMBNAIL}/abc")
            self.assertEqual(len(asked), fetched, days)

    def test_an_avatar_is_fetched_with_the_token_and_kept(self):
        anna = {"display_name": "Anna", "avatar_url": "mxc://example.org/abc"}
        self.answers[members(ROOM)] = (200, {"joined": {ANNA: anna}})
        self.answers["GET", f"{THUMBNAIL}/abc"] = (200, picture("JPEG"))

        self.sync()
        self.sync()

        contact = self.contacts()[ANNA]
        self.assertTrue(contact.image_128)
        self.assertEqual(len(self.homeserver.asked("GET", f"{THUMBNAIL}/abc")), 1)
        self.assertEqual({*self.homeserver.tokens}, {TOKEN})
        # Another one is fetched again, and what is not a picture is ignored.
        anna["avatar_url"] = "mxc://example.org/new"
        self.answers["GET", f"{THUMBNAIL}/new"] = (200, b"<svg onload='alert(1)'/>")
        self.sync()
        self.assertFalse(contact.image_128)
        # Odoo draws the initial where there is no picture.
        self.assertTrue(contact.avatar_128)

    def test_an_avatar_that_cannot_be_had_is_not_asked_for_again_and_again(self):
        anna = {"display_name": "Anna", "avatar_url": "mxc://example.org/gone"}
        self.answers[members(ROOM)] = (200, {"joined": {ANNA: anna}})

        self.sync()
        self.sync()

        self.assertEqual(len(self.homeserver.asked("GET", f"{THUMBNAIL}/gone")), 1)

    def test_nothing_to_look_for_and_no_backend_are_explained(self):
        with self.assertRaisesRegex(UserError, "choose where to look"):
            self.sync(with_direct=False)
        sync = self.env["matrix.contact.sync"].with_user(self.user)
        sync = sync.create({"backend_id": self.backend.id})
        self.backend.is_active = False
        with self.assertRaisesRegex(UserError, "turned off"):
            sync.action_sync()

    def test_users_cannot_write_the_steps(self):
        sync = self.sync()
        for name in ("todo", "notes", "new_count"):
            with self.assertRaises(AccessError):
                sync.write({name: [["room", CASE, []]]})
