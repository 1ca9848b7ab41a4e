from odoo.exceptions import UserError, ValidationError
from odoo.tests import tagged

from odoo.addons.mail_matrix.tests.homeserver import BOT

from .common import ROOM
from .test_room import FORBIDDEN, NEW_ROOM, RoomCase, state


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
        self.answers["GET", f"/rooms/{NEW_ROOM}/members"] = (200, {"chunk": []})
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
