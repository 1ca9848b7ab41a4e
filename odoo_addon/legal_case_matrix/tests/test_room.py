from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from odoo.addons.mail_matrix.tests.homeserver import BOT, TOKEN, Homeserver

from .common import ROOM, LegalMatrixCase

NEW_ROOM = "!new"
NOT_FOUND = (404, {"errcode": "M_NOT_FOUND", "error": "Not found"})
FORBIDDEN = (403, {"errcode": "M_FORBIDDEN", "error": "You may not"})


def state(content, sender="@owner:example.org"):
    return 200, {"event_id": "$1", "sender": sender, "content": content}


class RoomCase(LegalMatrixCase):
    """A linked case, and a homeserver in whose room ROOM the account may post."""

    def setUp(self):
        super().setUp()
        self.homeserver = Homeserver()
        self.addCleanup(self.homeserver.stop)
        self.backend.write(
            {
                "homeserver_url": self.homeserver.url,
                "personal_access_token": TOKEN,
            }
        )
        self.answers = self.homeserver.answers
        self.answers["GET", "/joined_rooms"] = (200, {"joined_rooms": [ROOM]})

    def room_state(self, event_type, answer, room=ROOM):
        self.answers["GET", f"/rooms/{room}/state/{event_type}/"] = answer

    def check(self):
        """Click Check Room; return what the chip says and the kind of notification."""
        action = self.case.action_matrix_check_room()
        self.assertNotIn(TOKEN, repr(action))
        return self.case.matrix_room_health, action["params"]["type"]


@tagged("post_install", "-at_install")
class TestCheckRoom(RoomCase):
    def test_a_room_that_can_be_posted_in_is_ready(self):
        self.room_state("m.room.power_levels", state({"events_default": 0}))

        self.assertEqual(self.check(), ("ok", "success"))
        self.assertIn(BOT, self.case.matrix_room_health_note)

    def test_the_room_state_is_shown_in_the_users_language(self):
        self.env["res.lang"]._activate_lang("de_DE")
        modules = self.env["ir.module.module"].search(
            [("name", "in", ["mail_matrix", "legal_case_matrix"])]
        )
        modules._update_translations(["de_DE"])
        case = self.case.with_context(lang="de_DE")

        states = case.fields_get(["matrix_room_health"])["matrix_room_health"]

        self.assertEqual(dict(states["selection"])["not_joined"], "Nicht im Raum")
        self.check()
        self.assertIn("is in the room and can post", self.case.matrix_room_health_note)
        self.assertIn("ist im Raum", case.matrix_room_health_note)

    def test_an_invited_account_joins(self):
        self.answers["GET", "/joined_rooms"] = (200, {"joined_rooms": []})
        self.answers["POST", f"/rooms/{ROOM}/join"] = (200, {"room_id": ROOM})

        self.assertEqual(self.check(), ("ok", "success"))
        self.assertEqual(self.homeserver.asked("POST", f"/rooms/{ROOM}/join"), [{}])

    def test_a_public_room_is_joined_with_a_warning(self):
        self.room_state("m.room.join_rules", state({"join_rule": "public"}))
        self.answers["GET", "/joined_rooms"] = (200, {"joined_rooms": []})
        self.answers["POST", f"/rooms/{ROOM}/join"] = (200, {"room_id": ROOM})

        self.assertEqual(self.check(), ("public", "warning"))
        self.assertIn("has joined", self.case.matrix_room_health_note)

        self.answers["GET", "/joined_rooms"] = (200, {"joined_rooms": [ROOM]})

        self.assertEqual(self.check(), ("public", "warning"))
        self.assertNotIn("joined", self.case.matrix_room_health_note)

    def test_an_account_that_is_not_in_the_room_is_named(self):
        self.answers["GET", "/joined_rooms"] = (200, {"joined_rooms": []})
        for answer in (FORBIDDEN, NOT_FOUND):
            self.answers["POST", f"/rooms/{ROOM}/join"] = answer

            self.assertEqual(self.check(), ("not_joined", "danger"))
            self.assertIn(f"{BOT} is not in", self.case.matrix_room_health_note)

    def test_a_banned_account_is_reported(self):
        self.answers["GET", "/joined_rooms"] = (200, {"joined_rooms": []})
        banned = {"errcode": "M_BAD_STATE", "error": "You are banned"}
        self.answers["POST", f"/rooms/{ROOM}/join"] = (403, banned)

        self.assertEqual(self.check(), ("banned", "danger"))

    def test_a_replaced_room_is_reported_with_its_successor_and_not_followed(self):
        self.room_state("m.room.tombstone", state({"replacement_room": "!evil"}))

        self.assertEqual(self.check(), ("replaced", "danger"))
        self.assertIn("!evil", self.case.matrix_room_health_note)
        self.assertEqual(self.case.matrix_room_id, ROOM)

    def test_power_levels_decide_who_may_post(self):
        for levels, health in (
            ({"events_default": 50}, "no_power"),
            ({"events_default": 50, "users_default": 50}, "ok"),
            ({"events_default": 50, "users": {BOT: 50}}, "ok"),
            ({"events": {"m.room.message": 10}}, "no_power"),
            ({"events_default": 50, "events": {"m.room.message": 0}}, "ok"),
            ({"events_default": "rubbish", "users": [BOT], "events": None}, "ok"),
        ):
            self.room_state("m.room.power_levels", state(levels))

            self.assertEqual(self.check()[0], health, levels)

    def test_creators_of_new_rooms_rule_them_without_a_level(self):
        self.room_state("m.room.power_levels", state({"events_default": 50}))
        for create, sender, health in (
            ({"room_version": "12"}, BOT, "ok"),
            ({"room_version": "11"}, BOT, "no_power"),
            ({"room_version": "12"}, "@owner:example.org", "no_power"),
            (
                {"room_version": "12", "additional_creators": [BOT]},
                "@owner:example.org",
                "ok",
            ),
        ):
            self.room_state("m.room.create", state(create, sender))

            self.assertEqual(self.check()[0], health, create)

    def test_an_encrypted_room_is_refused_without_consent(self):
        self.room_state("m.room.encryption", state({"algorithm": "m.megolm.v1"}))

        self.assertEqual(self.check(), ("encrypted", "danger"))
        with self.assertRaisesRegex(UserError, "encrypted.*Send Unencrypted"):
            self.case.action_matrix_send_test()
        self.case.stage_id = self.stages[1]
        self.assertEqual(self.said(), [])
        self.assertIn("encrypted", self.failures()[-1]["error_message"])
        self.assertEqual(self.failures()[-1]["error_code"], "org.odoo.encrypted")

        self.case.matrix_send_unencrypted = True
        self.case.action_matrix_send_test()
        self.assertEqual(self.said(), ["Hello from Odoo"])
        # The worker refuses encrypted rooms unless the message says that it may.
        self.assertIs(self.outbox()[-1]["content"]["org.odoo.unencrypted"], True)

    def test_consent_can_be_taken_back_after_the_room_was_checked(self):
        self.room_state("m.room.encryption", state({"algorithm": "m.megolm.v1"}))
        self.case.matrix_send_unencrypted = True

        self.assertEqual(self.check(), ("encrypted", "warning"))

        self.case.matrix_send_unencrypted = False
        with self.assertRaisesRegex(UserError, "encrypted"):
            self.case.action_matrix_send_test()

    def test_consent_is_for_one_room(self):
        self.case.matrix_send_unencrypted = True

        self.case.matrix_room_id = ROOM
        self.assertTrue(self.case.matrix_send_unencrypted, "The same room as before")
        self.case.matrix_room_id = NEW_ROOM
        self.assertFalse(self.case.matrix_send_unencrypted)

    def test_another_room_is_unknown_until_it_was_checked(self):
        self.check()

        self.case.matrix_room_id = NEW_ROOM

        self.assertFalse(self.case.matrix_room_health)
        self.assertFalse(self.case.matrix_room_health_note)

    def test_a_homeserver_that_fails_changes_nothing(self):
        self.check()
        self.answers["GET", "/joined_rooms"] = (502, b"")

        with self.assertRaisesRegex(UserError, "HTTP 502"):
            self.case.action_matrix_check_room()

        self.assertEqual(self.case.matrix_room_health, "ok")

    def test_only_who_may_write_the_case_can_check(self):
        stranger = self.make_user("stranger", "legal_case.legal_case_group_user")

        for button in (
            "check_room",
            "create_room",
            "invite_people",
            "resolve_alias",
        ):
            with self.assertRaises(AccessError):
                getattr(self.case.with_user(stranger), f"action_matrix_{button}")()
        self.assertEqual(self.homeserver.requests, [])
