from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.tests import tagged

from odoo.addons.mail_matrix.models.matrix_thread_mixin import people
from odoo.addons.mail_matrix.tests.homeserver import TOKEN, Homeserver

from .common import ROOM
from .test_follow import BEA, LOGGER, FollowCase
from .test_invite import LIMITED
from .test_room import FORBIDDEN, state


@tagged("post_install", "-at_install")
class TestLooks(FollowCase):
    """When the homeserver is asked about a room, and who is invited then."""

    def later(self):
        """Let the postponed looks be due, and follow."""
        self.looks.search([]).again_at = fields.Datetime.now()
        self.follow()

    def assert_postponed(self):
        look = self.looks.search([])
        self.assertEqual(look.res_id, self.case.id)
        self.assertGreater(look.again_at, fields.Datetime.now())

    def test_a_comment_of_who_follows_already_asks_nobody(self):
        comment = {"message_type": "comment", "subtype_xmlid": "mail.mt_comment"}
        self.case.message_post(body="First", **comment)
        self.assertTrue(self.follow(), "Its author follows now")

        self.case.message_post(body="Second", **comment)

        self.assertIn(self.lawyer.partner_id, self.case.message_partner_ids)
        self.assertEqual(self.follow(), [])

    def test_who_left_the_room_is_invited_again_by_the_button_only(self):
        self.case.lawyer_ids |= self.bea
        self.follow()
        self.members.discard(BEA)

        for _look in range(2):
            self.look()
            self.assertEqual(self.asked("invite"), [])

        self.case.action_matrix_invite_people()
        self.assertEqual(self.asked("invite"), [BEA])

    def test_another_account_of_who_left_is_invited(self):
        self.case.lawyer_ids |= self.bea
        self.follow()
        self.members.discard(BEA)
        self.answers["GET", "/profile/@bee:example.org"] = (200, {})

        self.bea.matrix_user_id = "@bee:example.org"
        self.follow()

        self.assertEqual(self.asked("invite"), ["@bee:example.org"])

    def test_a_homeserver_that_is_away_holds_up_no_other(self):
        away = Homeserver()
        self.addCleanup(away.stop)
        away.answers["GET", "/account/whoami"] = (503, b"")
        branch = self.env["res.company"].create({"name": "Branch"})
        self.env["matrix.backend"].create(
            {
                "name": "Branch",
                "company_id": branch.id,
                "homeserver_url": away.url,
                "personal_access_token": TOKEN,
            }
        )
        values = {"partner_id": self.partner.id, "company_id": branch.id}
        theirs = self.env["legal.case"].create(
            [
                {**values, "name": str(number), "matrix_room_id": f"!{number}:b.org"}
                for number in range(3)
            ]
        )
        self.commit()
        self.case.lawyer_ids |= self.bea

        self.follow()

        self.assertEqual(len(away.asked("GET", "/account/whoami")), 1)
        self.assertEqual(self.asked("invite"), [BEA])
        looks = self.looks.search([])
        self.assertCountEqual(looks.mapped("res_id"), theirs.ids)
        now = fields.Datetime.now()
        self.assertTrue(all(look.again_at > now for look in looks))

        looks.again_at = now
        self.case._matrix_look_later()
        self.commit()
        ours = self.looks.search([]) - looks
        ours.noted_at = now - timedelta(minutes=1)
        away.requests.clear()
        self.looks._cron_look()
        self.assertFalse(away.requests, "Who has waited longest comes first")
        self.assertFalse(ours.exists())

    def test_a_room_that_always_fails_holds_up_no_other(self):
        self.answers["GET", f"/rooms/{ROOM}/joined_members"] = (500, b"")
        other = "!other:example.org"
        self.answers["GET", "/joined_rooms"] = (200, {"joined_rooms": [ROOM, other]})
        base = f"/rooms/{other}"
        self.answers["GET", f"{base}/joined_members"] = (200, {"joined": {}})
        self.answers["GET", f"{base}/members"] = (200, {"chunk": []})
        self.answers["POST", f"{base}/invite"] = (200, {})
        self.case._matrix_look_later()
        self.commit()
        self.create_case(lawyer_ids=self.bea.ids, matrix_room_id=other)
        self.follow()

        for look in self.looks.search([]):
            look.again_at -= timedelta(minutes=6)
        self.follow()

        bodies = self.homeserver.asked("POST", f"{base}/invite")
        self.assertEqual([body["user_id"] for body in bodies], [BEA])

    def test_a_backend_that_is_off_for_a_moment_loses_nobody(self):
        self.backend.is_active = False
        self.case.lawyer_ids |= self.bea
        self.assertEqual(self.follow(), [])
        self.assert_postponed()

        self.backend.is_active = True
        self.later()

        self.assertEqual(self.asked("invite"), [BEA])
        self.assertFalse(self.looks.search([]))

    def test_what_allows_messages_lets_the_room_follow(self):
        self.case.matrix_enabled = False
        self.case.lawyer_ids |= self.bea
        self.assertEqual(self.follow(), [])

        self.case.matrix_enabled = True
        self.follow()

        self.assertEqual(self.asked("invite"), [BEA])

    def test_consent_lets_an_encrypted_room_follow(self):
        self.room_state("m.room.encryption", state({"algorithm": "m.megolm.v1"}))
        self.case.lawyer_ids |= self.bea
        self.follow()
        self.assertEqual(self.asked("invite"), [])

        self.case.matrix_send_unencrypted = True
        self.follow()

        self.assertEqual(self.asked("invite"), [BEA])

    def test_a_room_where_the_button_invites_follows_too(self):
        for event_type, content in (
            ("m.room.join_rules", {"join_rule": "public"}),
            ("m.room.power_levels", {"events_default": 50}),
        ):
            self.case.lawyer_ids -= self.bea
            self.members.discard(BEA)
            self.look()
            self.room_state(event_type, state(content))
            self.case.lawyer_ids |= self.bea

            self.follow()

            self.assertEqual(self.asked("invite"), [BEA], event_type)

    def test_who_was_not_invited_because_of_a_limit_is_invited_later(self):
        invite = self.answers["POST", f"/rooms/{ROOM}/invite"]
        self.answers["POST", f"/rooms/{ROOM}/invite"] = LIMITED
        self.case.lawyer_ids |= self.bea
        self.follow()
        self.assert_postponed()
        with patch.object(people, "_INVITING_SECONDS", -1):
            self.later()
        self.assertEqual(self.asked("invite"), [])
        self.assert_postponed()
        self.answers["POST", f"/rooms/{ROOM}/invite"] = invite

        self.later()

        self.assertEqual(self.asked("invite"), [BEA])
        self.assertFalse(self.looks.search([]))

    def test_a_room_that_can_be_used_again_follows_once_it_is_checked(self):
        path = f"/rooms/{ROOM}/join"
        for refusal in (FORBIDDEN, (403, {"errcode": "M_BAD_STATE", "error": "No"})):
            self.case.lawyer_ids -= self.bea
            self.members.discard(BEA)
            self.look()
            self.answers["GET", "/joined_rooms"] = (200, {"joined_rooms": []})
            self.answers["POST", path] = refusal
            self.case.lawyer_ids |= self.bea
            self.follow()
            self.assertEqual(self.asked("invite"), [])
            self.case.action_matrix_check_room()
            self.assertEqual(self.follow(), [], "There is nobody to invite yet")

            self.answers["POST", path] = (200, {})
            self.case.action_matrix_check_room()
            self.follow()

            self.assertEqual(self.asked("invite"), [BEA], refusal)

    def test_a_refusal_is_logged_without_the_token(self):
        self.answers["GET", f"/rooms/{ROOM}/joined_members"] = FORBIDDEN
        self.case.lawyer_ids |= self.bea

        with self.assertLogs(LOGGER, "WARNING") as logs:
            self.follow()

        self.assertEqual(len(logs.output), 1)
        self.assertIn(f"legal.case,{self.case.id}", logs.output[0])
        self.assertIn("You may not", logs.output[0])
        self.assertNotIn(TOKEN, logs.output[0])
        self.assertFalse(self.looks.search([]))
