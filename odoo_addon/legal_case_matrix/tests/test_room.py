from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import tagged

from odoo.addons.mail_matrix.tests.homeserver import BOT, TOKEN, Homeserver

from .common import ROOM, LegalMatrixCase

NEW_ROOM = "!new"
NOT_FOUND = (404, {"errcode": "M_NOT_FOUND", "error": "Not found"})
FORBIDDEN = (403, {"errcode": "M_FORBIDDEN", "error": "You may not"})


def state(content, sender="@owner:example.org"):
    return 200, {"event_id": "$1", "sender": sender, "content": content}


class RoomCase(LegalMatrixCase):
    """A linked case, and a homeserver in whose room ROOM the account may speak."""

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
    def test_a_room_that_can_be_spoken_in_is_ready(self):
        self.room_state("m.room.power_levels", state({"events_default": 0}))

        self.assertEqual(self.check(), ("ok", "success"))
        self.assertIn(BOT, self.case.matrix_room_health_note)

    def test_an_invited_account_joins(self):
        self.answers["GET", "/joined_rooms"] = (200, {"joined_rooms": []})
        self.answers["POST", f"/rooms/{ROOM}/join"] = (200, {"room_id": ROOM})

        self.assertEqual(self.check(), ("ok", "success"))
        self.assertEqual(self.homeserver.asked("POST", f"/rooms/{ROOM}/join"), [{}])

    def test_a_public_room_is_joined_but_told(self):
        self.room_state("m.room.join_rules", state({"join_rule": "public"}))
        self.answers["GET", "/joined_rooms"] = (200, {"joined_rooms": []})
        self.answers["POST", f"/rooms/{ROOM}/join"] = (200, {"room_id": ROOM})

        self.assertEqual(self.check(), ("public", "warning"))
        self.assertIn("has joined", self.case.matrix_room_health_note)

        self.answers["GET", "/joined_rooms"] = (200, {"joined_rooms": [ROOM]})

        self.assertEqual(self.check(), ("public", "warning"))
        self.assertNotIn("joined", self.case.matrix_room_health_note)

    def test_an_account_that_is_not_in_the_room_is_told_by_name(self):
        self.answers["GET", "/joined_rooms"] = (200, {"joined_rooms": []})
        for answer in (FORBIDDEN, NOT_FOUND):
            self.answers["POST", f"/rooms/{ROOM}/join"] = answer

            self.assertEqual(self.check(), ("not_joined", "danger"))
            self.assertIn(f"{BOT} is not in", self.case.matrix_room_health_note)

    def test_a_banned_account_is_told(self):
        self.answers["GET", "/joined_rooms"] = (200, {"joined_rooms": []})
        banned = {"errcode": "M_BAD_STATE", "error": "You are banned"}
        self.answers["POST", f"/rooms/{ROOM}/join"] = (403, banned)

        self.assertEqual(self.check(), ("banned", "danger"))

    def test_a_replaced_room_is_told_with_its_successor_and_not_followed(self):
        self.room_state("m.room.tombstone", state({"replacement_room": "!evil"}))

        self.assertEqual(self.check(), ("replaced", "danger"))
        self.assertIn("!evil", self.case.matrix_room_health_note)
        self.assertEqual(self.case.matrix_room_id, ROOM)

    def test_levels_decide_who_may_speak(self):
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

    def test_only_who_may_write_the_case_asks(self):
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


@tagged("post_install", "-at_install")
class TestLinkRoom(RoomCase):
    def only_alias(self, alias):
        self.case.write({"matrix_room_id": False, "matrix_room_alias": alias})

    def resolve(self, room=ROOM):
        path = "/directory/room/#ida:example.org"
        self.answers["GET", path] = (200, {"room_id": room, "servers": []})
        return self.case.action_matrix_resolve_alias()

    def test_an_alias_is_resolved(self):
        self.only_alias("#ida:example.org")

        self.resolve()

        self.assertEqual(self.case.matrix_room_id, ROOM)
        self.assertEqual(self.case.matrix_room_health, "ok")
        self.assertEqual(self.case.matrix_resolved_alias, "#ida:example.org")

    def test_an_encrypted_room_is_linked_and_waits_for_consent(self):
        self.only_alias("#ida:example.org")
        self.case.matrix_send_unencrypted = True
        self.room_state("m.room.encryption", state({"algorithm": "m.megolm.v1"}))

        action = self.resolve()

        self.assertEqual(action["params"]["type"], "danger")
        self.assertEqual(self.case.matrix_room_id, ROOM)
        self.assertEqual(self.case.matrix_room_health, "encrypted")
        with self.assertRaisesRegex(UserError, "encrypted"):
            self.case.action_matrix_send_test()

        self.case.matrix_send_unencrypted = True
        self.case.action_matrix_send_test()
        self.assertEqual(self.said(), ["Hello from Odoo"])

    def test_the_linked_room_stays_until_another_alias_was_resolved(self):
        self.case.matrix_room_id = "#ida:example.org"
        self.assertEqual(self.case.matrix_room_id, ROOM)
        self.assertFalse(self.case.matrix_resolved_alias)
        with self.assertRaisesRegex(UserError, "knows no room"):
            self.case.action_matrix_resolve_alias()
        self.assertEqual(self.case.matrix_room_id, ROOM)

        self.answers["GET", "/joined_rooms"] = (200, {"joined_rooms": [NEW_ROOM]})
        self.resolve(NEW_ROOM)

        self.assertEqual(self.case.matrix_room_id, NEW_ROOM)
        self.assertEqual(self.case.matrix_resolved_alias, "#ida:example.org")
        self.case.matrix_room_id = ROOM
        self.assertFalse(self.case.matrix_resolved_alias)

    def test_an_unknown_alias_is_told(self):
        self.case.matrix_room_alias = "#nobody:example.org"

        with self.assertRaisesRegex(UserError, "no room with the alias #nobody"):
            self.case.action_matrix_resolve_alias()

    def test_what_people_paste_is_understood(self):
        for pasted, room, alias in (
            (" !new:example.org ", "!new:example.org", False),
            ("#ida:example.org", ROOM, "#ida:example.org"),
            ("https://matrix.to/#/!new:b.org?via=example.org", "!new:b.org", False),
            ("https://matrix.to/#/%21new%3Aexample.org", "!new:example.org", False),
            ("https://matrix.to/#/!new/$event?via=b.org", "!new", False),
            ("https://matrix.to/#/%23ida:example.org", ROOM, "#ida:example.org"),
        ):
            self.case.write({"matrix_room_id": ROOM, "matrix_room_alias": False})
            self.case.matrix_room_id = pasted

            self.assertEqual(self.case.matrix_room_id, room, pasted)
            self.assertEqual(self.case.matrix_room_alias, alias, pasted)

    def test_a_room_of_another_company_is_refused_without_saying_whose(self):
        other = self.env["res.company"].create({"name": "Rival Office"})
        theirs = self.env["legal.case"].create(
            {
                "name": "Their secret",
                "partner_id": self.partner.id,
                "user_id": False,
                "company_id": other.id,
                "matrix_room_id": NEW_ROOM,
                "active": False,
            }
        )

        with self.assertRaises(ValidationError) as caught:
            self.case.matrix_room_id = NEW_ROOM

        self.assertIn("another company", str(caught.exception))
        self.assertNotIn("Rival", str(caught.exception))
        self.assertNotIn("secret", str(caught.exception))
        with self.assertRaises(ValidationError):
            theirs.company_id = self.case.company_id
            self.case.matrix_room_id = NEW_ROOM
            theirs.company_id = other

    def test_cases_of_one_company_may_share_a_room(self):
        second = self.create_case()

        self.assertEqual(second.matrix_room_id, self.case.matrix_room_id)

    def test_matrix_to_is_told_where_the_room_is(self):
        self.assertEqual(
            self.case.action_matrix_open()["url"],
            "https://matrix.to/#/!case:example.org?via=example.org",
        )
        self.case.matrix_room_id = NEW_ROOM
        self.assertEqual(
            self.case.action_matrix_open()["url"], "https://matrix.to/#/!new"
        )
        self.env.cr.execute(
            "INSERT INTO matrix_backend_status (backend_id, matrix_user_id) "
            "VALUES (%s, '@odoo:law.example:8448')",
            [self.backend.id],
        )
        self.assertEqual(
            self.case.action_matrix_open()["url"],
            "https://matrix.to/#/!new?via=law.example%3A8448",
        )
        self.case.matrix_room_id = False
        with self.assertRaisesRegex(UserError, "has no room yet"):
            self.case.action_matrix_open()


@tagged("post_install", "-at_install")
class TestCreateRoom(RoomCase):
    def setUp(self):
        super().setUp()
        self.case.matrix_room_id = False
        self.rooms = {}
        self.answers["GET", "/joined_rooms"] = lambda body: (
            200,
            {"joined_rooms": list(self.rooms.values())},
        )
        self.answers["POST", "/createRoom"] = self.create_room
        self.answers["GET", f"/rooms/{NEW_ROOM}/joined_members"] = (
            200,
            {"joined": {BOT: {}}},
        )
        self.invite = f"/rooms/{NEW_ROOM}/invite"
        self.answers["POST", self.invite] = (200, {})

    def create_room(self, body):
        alias = f"#{body['room_alias_name']}:example.org"
        if alias in self.rooms:
            return 400, {"errcode": "M_ROOM_IN_USE", "error": "Taken"}
        self.rooms[alias] = NEW_ROOM
        found = (200, {"room_id": NEW_ROOM, "servers": []})
        self.answers["GET", f"/directory/room/{alias}"] = found
        return 200, {"room_id": NEW_ROOM}

    def test_a_room_is_created_named_and_linked(self):
        action = self.case.action_matrix_create_room()

        (body,) = self.homeserver.asked("POST", "/createRoom")
        self.assertEqual(body["preset"], "private_chat")
        self.assertEqual(body["visibility"], "private")
        self.assertEqual(body["name"], "Ida v. Rest")
        self.assertIn(f"res_id={self.case.id}", body["topic"])
        self.assertRegex(
            body["room_alias_name"], rf"^odoo-[0-9a-f]{{8}}-legal-case-{self.case.id}$"
        )
        self.assertEqual(self.case.matrix_room_id, NEW_ROOM)
        self.assertEqual(
            self.case.matrix_room_alias, f"#{body['room_alias_name']}:example.org"
        )
        self.assertEqual(self.case.matrix_room_health, "ok")
        self.assertIn("Room created", action["params"]["title"])

    def test_a_second_click_makes_no_second_room(self):
        self.case.action_matrix_create_room()

        action = self.case.action_matrix_create_room()

        self.assertEqual(len(self.homeserver.asked("POST", "/createRoom")), 1)
        self.assertIn("already linked", action["params"]["title"])

    def test_a_room_whose_transaction_was_rolled_back_is_found_again(self):
        with self.assertRaises(ZeroDivisionError), self.env.cr.savepoint():
            self.case.action_matrix_create_room()
            raise ZeroDivisionError
        self.assertFalse(self.case.matrix_room_id)

        self.case.action_matrix_create_room()

        self.assertEqual(self.case.matrix_room_id, NEW_ROOM)
        self.assertEqual(len(self.rooms), 1)

    def test_an_alias_in_a_foreign_room_is_not_trusted(self):
        self.case.action_matrix_create_room()
        self.case.matrix_room_id = False
        self.answers["GET", "/joined_rooms"] = (200, {"joined_rooms": []})

        with self.assertRaisesRegex(UserError, "account is not in"):
            self.case.action_matrix_create_room()
        self.assertFalse(self.case.matrix_room_id)

    def test_the_people_of_the_case_are_invited(self):
        colleague = self.make_user("colleague", "legal_case.legal_case_group_user")
        portal = self.make_user("matrix-guest", "base.group_portal")
        there = self.make_user("there", "legal_case.legal_case_group_user")
        for user in self.lawyer | colleague | portal | there:
            user.sudo().matrix_user_id = f"@{user.login}:example.org"
        self.case.lawyer_ids = colleague | there
        self.case.message_subscribe(portal.partner_id.ids)
        self.answers["GET", f"/rooms/{NEW_ROOM}/joined_members"] = (
            200,
            {"joined": {BOT: {}, "@there:example.org": {}}},
        )

        self.case.action_matrix_create_room()

        self.assertCountEqual(
            self.homeserver.asked("POST", self.invite),
            [
                {"user_id": "@matrix-lawyer:example.org"},
                {"user_id": "@colleague:example.org"},
            ],
        )

    def test_who_could_not_be_invited_is_told_and_the_room_is_linked(self):
        colleague = self.make_user("colleague", "legal_case.legal_case_group_user")
        colleague.matrix_user_id = "@colleague:example.org"
        self.case.lawyer_ids = colleague
        self.answers["POST", self.invite] = FORBIDDEN

        action = self.case.action_matrix_create_room()

        self.assertEqual(action["params"]["type"], "warning")
        message = action["params"]["message"]
        self.assertIn("Not invited: colleague (@colleague:example.org). ", message)
        self.assertIn("no Matrix account is entered: matrix-lawyer.", message)
        self.assertEqual(self.case.matrix_room_id, NEW_ROOM)

    def test_a_homeserver_that_encrypts_every_room_is_noticed(self):
        encryption = state({"algorithm": "m.megolm.v1"})
        self.room_state("m.room.encryption", encryption, NEW_ROOM)

        action = self.case.action_matrix_create_room()

        self.assertEqual(action["params"]["type"], "danger")
        self.assertEqual(self.case.matrix_room_health, "encrypted")

    def test_without_a_backend_the_way_to_one_is_told(self):
        self.backend.is_active = False

        with self.assertRaisesRegex(UserError, "Matrix → Backends"):
            self.case.action_matrix_create_room()
