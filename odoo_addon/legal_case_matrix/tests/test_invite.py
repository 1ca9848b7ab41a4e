import threading
from unittest.mock import patch

from odoo.tests import tagged

from odoo.addons.mail_matrix.models.matrix_thread_mixin import people

from .common import ROOM
from .test_room import FORBIDDEN, RoomCase

LIMITED = (429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 7000})


@tagged("post_install", "-at_install")
class TestInvitePeople(RoomCase):
    """Four people of a case whose room is linked; the account is in the room."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.people = cls.env["res.users"]
        for login in ("amy", "bea", "cleo", "dora"):
            cls.people |= cls.make_user(
                login,
                "legal_case.legal_case_group_user",
                matrix_user_id=f"@{login}:example.org",
            )
        cls.case.user_id = False
        cls.case.message_unsubscribe(cls.case.message_partner_ids.ids)
        cls.case.lawyer_ids = cls.people
        cls.settle()

    def setUp(self):
        super().setUp()
        self.there()
        self.answers["GET", f"/rooms/{ROOM}/members"] = (200, {"chunk": []})
        for user in self.people:
            self.answers["GET", f"/profile/{user.matrix_user_id}"] = (200, {})
        self.asked = f"/rooms/{ROOM}/invite"
        self.answers["POST", self.asked] = (200, {})

    def there(self, *logins):
        joined = {f"@{login}:example.org": {} for login in logins}
        path = f"/rooms/{ROOM}/joined_members"
        self.answers["GET", path] = (200, {"joined": joined})

    def invite(self):
        """Click Invite People; return the kind and the text of the notification."""
        params = self.case.action_matrix_invite_people()["params"]
        return params["type"], params["message"]

    def invited(self):
        bodies = self.homeserver.asked("POST", self.asked)
        return [body["user_id"][1:].partition(":")[0] for body in bodies]

    def test_who_is_not_in_the_room_is_invited(self):
        self.there("bea", "dora")

        kind, text = self.invite()

        self.assertEqual(kind, "success")
        self.assertTrue(text.endswith(" Invited: amy, cleo."), text)
        self.assertEqual(self.case.matrix_room_health_note, text)
        self.assertFalse(self.case.matrix_people_note)
        self.assertCountEqual(self.invited(), ["amy", "cleo"])

    def test_nobody_is_invited_twice_when_all_are_there(self):
        self.there("amy", "bea", "cleo", "dora")

        kind, text = self.invite()

        self.assertEqual((kind, self.invited()), ("success", []))
        self.assertIn("All people", text)

    def test_who_was_invited_before_is_not_invited_again(self):
        self.answers["GET", f"/rooms/{ROOM}/members"] = (
            200,
            {"chunk": [{"type": "m.room.member", "state_key": "@amy:example.org"}]},
        )

        kind, text = self.invite()

        self.assertEqual(kind, "success")
        self.assertCountEqual(self.invited(), ["bea", "cleo", "dora"])
        self.assertIn("has not joined yet: amy.", text)

    def test_a_case_without_people_says_what_to_do(self):
        self.case.lawyer_ids = False

        kind, text = self.invite()

        self.assertEqual(kind, "warning")
        self.assertIn("Add followers", text)

    def test_who_has_no_account_is_named_with_the_way_to_one(self):
        self.people[0].matrix_user_id = False

        kind, text = self.invite()

        self.assertEqual(kind, "warning")
        self.assertIn("Invited: bea, cleo, dora.", text)
        self.assertIn("no Matrix account is entered: amy.", text)
        # The form shows it until that is settled.
        note = self.case.matrix_people_note
        self.assertIn("no Matrix account is entered: amy.", note)
        self.assertNotIn("amy", self.case.matrix_room_health_note)

    def test_one_reason_is_given_once_for_everybody(self):
        self.answers["POST", self.asked] = FORBIDDEN

        _kind, text = self.invite()

        self.assertEqual(len(self.invited()), 4)
        self.assertEqual(text.count("You may not"), 1)
        self.assertIn("amy (@amy:example.org), bea (", text)

    def test_one_person_who_was_invited_too_often_does_not_stop_the_others(self):
        self.answers["POST", self.asked] = lambda body: (
            LIMITED if "amy" in body["user_id"] else (200, {})
        )

        _kind, text = self.invite()

        self.assertIn("Invited: bea, cleo, dora.", text)
        self.assertIn("Not invited: amy (@amy:example.org).", text)
        self.assertIn("7 seconds", text)

    def test_a_limited_account_stops_and_says_who_is_left(self):
        self.answers["POST", self.asked] = LIMITED

        with patch.object(people, "_AT_ONCE", 1):
            kind, text = self.invite()

        self.assertEqual((kind, self.invited()), ("warning", ["amy", "bea"]))
        self.assertIn("Not invited yet: cleo, dora.", text)

    def test_one_persons_failing_invitation_stops_nobody_elses(self):
        self.answers["POST", self.asked] = lambda body: (
            (500, b"") if "amy" in body["user_id"] else (200, {})
        )

        with patch.object(people, "_AT_ONCE", 1):
            kind, text = self.invite()

        self.assertEqual(kind, "warning")
        self.assertIn("Invited: bea, cleo, dora.", text)
        self.assertIn("Not invited: amy (@amy:example.org).", text)

    def test_people_are_invited_side_by_side(self):
        others = threading.Barrier(4)

        def answer(body):
            # Nobody is answered before all four are asked.
            others.wait(20)
            return 200, {}

        self.answers["POST", self.asked] = answer

        kind, text = self.invite()

        self.assertEqual(kind, "success")
        self.assertIn("Invited: amy, bea, cleo, dora.", text)

    def test_who_is_invited_does_not_wait_for_silent_servers(self):
        self.answers["POST", self.asked] = lambda body: (
            None if "amy" in body["user_id"] else (200, {})
        )
        client = self.backend._client(read_timeout=1)
        with patch.object(type(self.backend), "_client", return_value=client):
            kind, text = self.invite()

        self.assertEqual(kind, "warning")
        self.assertIn("Invited: bea, cleo, dora.", text)
        self.assertIn("Not invited: amy (@amy:example.org).", text)
        self.assertIn("did not answer in time", text)

    def test_a_slow_homeserver_does_not_hold_the_person_for_ever(self):
        with patch.object(people, "_INVITING_SECONDS", -1):
            _kind, text = self.invite()

        self.assertEqual(self.invited(), [])
        self.assertIn("Not invited yet: amy, bea, cleo, dora.", text)

    def test_an_account_that_our_homeserver_does_not_know_is_named(self):
        self.people[1].matrix_user_id = "@baa:example.org"
        self.people[2].matrix_user_id = "@cleo:elsewhere.org"
        for refusal in ("M_NOT_FOUND", "M_UNKNOWN"):
            path = "/profile/@baa:example.org"
            self.answers["GET", path] = (404, {"errcode": refusal, "error": "No"})
            self.homeserver.requests.clear()

            kind, text = self.invite()

            self.assertEqual(kind, "warning")
            self.assertIn("Not invited: bea (@baa:example.org). 127.0.0.1 has no", text)
            self.assertCountEqual(self.invited(), ["amy", "cleo", "dora"])

    def test_a_homeserver_that_keeps_its_profiles_to_itself_invites_all_the_same(self):
        for answer in (FORBIDDEN, (404, {"errcode": "M_UNRECOGNIZED", "error": "No"})):
            self.answers["GET", "/profile/@amy:example.org"] = answer

            self.assertIn("Invited: amy, bea, cleo, dora.", self.invite()[1])

    def test_without_the_account_in_the_room_nobody_is_asked(self):
        self.answers["GET", "/joined_rooms"] = (200, {"joined_rooms": []})
        self.answers["POST", f"/rooms/{ROOM}/join"] = FORBIDDEN

        kind, text = self.invite()

        self.assertEqual((kind, self.invited()), ("danger", []))
        self.assertIn("is not in this room", text)
        self.assertEqual(self.case.matrix_room_health, "not_joined")
