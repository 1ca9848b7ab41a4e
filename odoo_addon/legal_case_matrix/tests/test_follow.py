from datetime import timedelta

from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import tagged

from odoo.addons.mail_matrix.tests.homeserver import BOT

from .common import ROOM
from .test_room import FORBIDDEN, RoomCase

LOGGER = "odoo.addons.mail_matrix.models.matrix_room_look"
AMY, BEA = "@amy:example.org", "@bea:example.org"


class FollowCase(RoomCase):
    """Amy is a lawyer of the case and in its room; Bea is neither yet."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.amy, cls.bea = (
            cls.make_user(
                login,
                "legal_case.legal_case_group_user",
                matrix_user_id=f"@{login}:example.org",
            )
            for login in ("amy", "bea")
        )
        cls.case.user_id = False
        cls.case.message_unsubscribe(cls.case.message_partner_ids.ids)
        cls.case.lawyer_ids = cls.amy
        cls.settle()

    def setUp(self):
        super().setUp()
        self.looks = self.env["matrix.room.look"].sudo()
        self.commit()
        self.looks.search([]).unlink()
        self.members = {BOT, AMY}
        base = f"/rooms/{ROOM}"
        self.answers["GET", f"{base}/joined_members"] = lambda _body: (
            200,
            {"joined": {user_id: {} for user_id in self.members}},
        )
        self.answers["GET", f"{base}/members"] = (200, {"chunk": []})
        for account in (AMY, BEA):
            self.answers["GET", f"/profile/{account}"] = (200, {})
        self.answers["POST", f"{base}/invite"] = self.came
        self.answers["POST", f"{base}/kick"] = self.went
        self.look()

    def came(self, body):
        self.members.add(body["user_id"])
        return 200, {}

    def went(self, body):
        self.members.discard(body["user_id"])
        return 200, {}

    def look(self):
        """Note and look, as the scheduled action does."""
        self.case._matrix_look_later()
        return self.follow()

    def follow(self):
        """Commit, and let the scheduled action work off what was noted."""
        self.commit()
        self.homeserver.requests.clear()
        for _look in range(5):
            self.looks._cron_look()
        self.case.invalidate_recordset()
        return [(method, path) for method, path, _body in self.homeserver.requests]

    def asked(self, endpoint):
        bodies = self.homeserver.asked("POST", f"/rooms/{ROOM}/{endpoint}")
        return [body["user_id"] for body in bodies]


@tagged("post_install", "-at_install")
class TestFollowPeople(FollowCase):
    def test_who_is_assigned_is_invited_in_the_background(self):
        case = self.case.sudo()
        for assign in (
            lambda: case.write({"lawyer_ids": [(4, self.bea.id)]}),
            lambda: case.write({"user_id": self.bea.id}),
            lambda: case.message_subscribe(self.bea.partner_id.ids),
        ):
            case.write({"lawyer_ids": [(3, self.bea.id)], "user_id": False})
            case.message_unsubscribe(self.bea.partner_id.ids)
            self.members.discard(BEA)
            self.look()
            self.homeserver.requests.clear()

            assign()

            self.assertEqual(self.homeserver.requests, [], "Saving asks nobody")
            self.follow()
            self.assertEqual(self.asked("invite"), [BEA])
            self.assertIn(BEA, self.members)
            self.assertFalse(case.matrix_people_note)
            self.assertFalse(self.looks.search([]))

    def test_who_was_archived_is_named_as_long_as_they_are_in_the_room(self):
        self.amy.active = False
        self.follow()

        case = self.case.with_user(self.lawyer)
        self.assertIn("still in the room: amy.", case.sudo().matrix_people_left)
        case.sudo().action_matrix_remove_people()
        self.assertEqual(self.members, {BOT})

    def test_an_account_that_somebody_no_longer_has_is_offered_for_removal(self):
        """At once, and still after the room was checked."""
        new, case = "@amy:other.example", self.case.with_user(self.lawyer).sudo()
        note = f"an account that they no longer have: amy ({AMY})."

        self.amy.matrix_user_id = new
        self.assertIn(note, case.matrix_people_left)
        self.follow()

        self.assertEqual(self.asked("invite"), [new])
        self.assertIn(note, case.matrix_people_left)
        self.assertNotIn("No longer on this record", case.matrix_people_left)
        report = case.action_matrix_remove_people()
        self.assertEqual(self.members, {BOT, new})
        self.assertIn(f"amy ({AMY})", report["params"]["message"])
        self.assertFalse(case.matrix_people_left)

    def test_an_account_that_another_person_of_the_case_has_now_is_not_offered(self):
        self.amy.matrix_user_id = False
        self.bea.matrix_user_id = AMY
        self.case.lawyer_ids = self.amy | self.bea
        self.follow()

        self.assertFalse(self.case.sudo().matrix_people_left)

    def test_a_former_account_may_stay_in_the_room(self):
        self.amy.matrix_user_id = "@amy:other.example"
        self.follow()

        self.case.with_user(self.lawyer).action_matrix_keep_people()
        self.look()

        self.assertFalse(self.case.sudo().matrix_people_left)
        self.assertIn(AMY, self.members)

    def test_a_click_and_the_background_store_the_same_people_at_once(self):
        """Neither transaction sees what the other one has stored."""
        people = self.env["matrix.room.person"].sudo()
        stored = people._of(self.case)
        self.assertEqual(stored.user_id, self.amy)

        for state in ("waiting", "in"):
            people._upsert(self.case, ROOM, {self.amy: (state,), self.bea: (state,)})

        self.assertEqual(people._of(self.case).mapped("state"), ["in", "in"])
        self.assertEqual(people._of(self.case)[0], stored)

    def test_one_look_serves_all_changes_of_a_record(self):
        case = self.case.sudo()
        case.user_id = self.bea
        case.lawyer_ids = self.bea
        self.commit()
        case.user_id = False
        self.commit()
        self.assertEqual(len(self.looks.search([])), 2)

        requests = self.follow()

        joined = ("GET", f"/rooms/{ROOM}/joined_members")
        self.assertEqual(requests.count(joined), 1)

    def test_who_has_no_account_is_named_until_one_is_entered(self):
        self.bea.matrix_user_id = False
        self.case.lawyer_ids |= self.bea
        self.follow()
        self.assertEqual(self.asked("invite"), [])
        self.assertIn("account is entered: bea.", self.case.matrix_people_note)

        self.bea.matrix_user_id = BEA
        self.follow()

        self.assertEqual(self.asked("invite"), [BEA])
        self.assertFalse(self.case.matrix_people_note)

    def test_who_could_not_be_invited_is_named_with_the_reason(self):
        self.answers["POST", f"/rooms/{ROOM}/invite"] = FORBIDDEN
        self.case.lawyer_ids |= self.bea

        self.follow()

        self.assertIn(f"Not invited: bea ({BEA}).", self.case.matrix_people_note)
        self.assertIn("You may not", self.case.matrix_people_note)

    def test_who_leaves_the_case_is_offered_for_removal(self):
        self.case.lawyer_ids = self.bea
        self.follow()
        left = "No longer on this record, but still in the room: amy."
        self.assertEqual(self.case.matrix_people_left, left)
        self.assertEqual(self.asked("kick"), [], "Nobody is removed unasked")

        params = self.case.action_matrix_remove_people()["params"]

        self.assertEqual(self.asked("kick"), [AMY])
        self.assertIn("No longer in the room: amy.", params["message"])
        self.case.invalidate_recordset()
        self.assertFalse(self.case.matrix_people_left)

    def test_who_leaves_may_stay_in_the_room(self):
        self.case.lawyer_ids = False
        self.follow()

        self.case.action_matrix_keep_people()

        self.case.invalidate_recordset()
        self.assertFalse(self.case.matrix_people_left)
        self.look()
        self.assertFalse(self.case.matrix_people_left)
        self.assertEqual(self.asked("kick"), [])

    def test_who_came_back_is_not_offered(self):
        self.case.lawyer_ids = False
        self.follow()
        self.case.lawyer_ids = self.amy

        self.case.invalidate_recordset()
        self.assertFalse(self.case.matrix_people_left, "Before the next look, too")
        self.case.action_matrix_remove_people()
        self.assertEqual(self.asked("kick"), [])

    def test_who_belongs_to_another_record_of_the_room_is_not_offered(self):
        self.create_case(lawyer_ids=self.amy.ids, matrix_room_id=ROOM)
        self.case.lawyer_ids = False

        self.follow()

        self.assertFalse(self.case.matrix_people_left)
        self.case.action_matrix_remove_people()
        self.assertEqual(self.asked("kick"), [])

    def test_who_cannot_be_removed_is_named_and_stays_offered(self):
        self.answers["POST", f"/rooms/{ROOM}/kick"] = FORBIDDEN
        self.case.lawyer_ids = False
        self.follow()

        params = self.case.action_matrix_remove_people()["params"]

        self.assertEqual(params["type"], "warning")
        self.assertIn(f"Not removed: amy ({AMY}).", params["message"])
        self.case.invalidate_recordset()
        self.assertIn("amy", self.case.matrix_people_left)

    def test_a_homeserver_that_is_away_is_asked_again(self):
        answer = self.answers["GET", "/account/whoami"]
        self.answers["GET", "/account/whoami"] = (503, b"")
        self.case.lawyer_ids |= self.bea
        self.follow()
        look = self.looks.search([])
        self.assertEqual((look.res_model, look.res_id), ("legal.case", self.case.id))
        self.assertGreater(look.again_at, fields.Datetime.now())
        self.answers["GET", "/account/whoami"] = answer

        self.assertEqual(self.follow(), [], "Not before its time")
        look.again_at = fields.Datetime.now()
        self.follow()

        self.assertEqual(self.asked("invite"), [BEA])
        self.answers["GET", "/account/whoami"] = (503, b"")
        self.look()
        self.looks.search([]).write(
            {"noted_at": fields.Datetime.now() - timedelta(days=2), "again_at": False}
        )
        with self.assertLogs(LOGGER, "WARNING"):
            self.follow()
        self.assertFalse(self.looks.search([]), "Given up after a day")

    def test_nothing_is_asked_where_the_room_follows_nobody(self):
        for values in (
            {"matrix_follow_people": False},
            {"matrix_follow_people": True, "matrix_enabled": False},
            {"matrix_enabled": True, "matrix_room_id": False},
        ):
            self.case.write(values)
            self.case.lawyer_ids = (
                self.amy if self.case.lawyer_ids == self.bea else self.bea
            )

            self.assertEqual(self.follow(), [])

    def test_an_encrypted_room_without_consent_invites_nobody(self):
        encryption = {"event_id": "$1", "content": {"algorithm": "m.megolm.v1"}}
        self.room_state("m.room.encryption", (200, encryption))
        self.case.lawyer_ids |= self.bea

        self.follow()

        self.assertEqual(self.asked("invite"), [])

    def test_a_record_that_is_gone_holds_up_no_other(self):
        gone = self.create_case(matrix_room_id=ROOM)
        self.commit()
        gone.sudo().unlink()
        self.case.lawyer_ids |= self.bea

        self.follow()

        self.assertEqual(self.asked("invite"), [BEA])
        self.assertFalse(self.looks.search([]))

    def test_only_who_may_write_the_case_removes_and_keeps(self):
        stranger = self.make_user("stranger", "mail_matrix.group_matrix_user")
        case = self.case.with_user(stranger)
        for click in (case.action_matrix_remove_people, case.action_matrix_keep_people):
            with self.assertRaises(AccessError):
                click()
