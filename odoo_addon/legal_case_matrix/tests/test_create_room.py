from odoo.exceptions import UserError
from odoo.tests import tagged

from odoo.addons.mail_matrix.models.matrix_thread_mixin.create import MARKER
from odoo.addons.mail_matrix.tests.homeserver import BOT

from .test_room import FORBIDDEN, RoomCase, state

STRANGER = "@mallory:example.org"
ENCRYPTION = state({"algorithm": "m.megolm.v1"})


class CreateRoomCase(RoomCase):
    """A case without a room, and a homeserver that remembers what was created."""

    def setUp(self):
        super().setUp()
        self.case.matrix_room_id = False
        self.created = []
        # By alias: what it leads to.
        self.rooms = {}
        self.encrypts = False
        self.answers["GET", "/joined_rooms"] = lambda body: (
            200,
            {"joined_rooms": list(self.created)},
        )
        self.answers["POST", "/createRoom"] = self.create_room
        self.profile("matrix-lawyer")

    def profile(self, *logins):
        for login in logins:
            self.answers["GET", f"/profile/@{login}:example.org"] = (200, {})

    def create_room(self, body):
        name = body.get("room_alias_name")
        alias = name and f"#{name}:example.org"
        if alias in self.rooms:
            return 400, {"errcode": "M_ROOM_IN_USE", "error": "Taken"}
        room = f"!new{len(self.created)}"
        self.created.append(room)
        if alias:
            self.point(alias, room)
        self.room_state("m.room.create", state(body["creation_content"], BOT), room)
        if self.encrypts or "initial_state" in body:
            self.room_state("m.room.encryption", ENCRYPTION, room)
        members = {"joined": {BOT: {}}}
        self.answers.setdefault(
            ("GET", f"/rooms/{room}/joined_members"), (200, members)
        )
        self.answers.setdefault(("GET", f"/rooms/{room}/members"), (200, {"chunk": []}))
        self.answers.setdefault(("POST", f"/rooms/{room}/invite"), (200, {}))
        return 200, {"room_id": room}

    def point(self, alias, room):
        self.rooms[alias] = room
        found = (200, {"room_id": room, "servers": []})
        self.answers["GET", f"/directory/room/{alias}"] = found

    def first_alias(self):
        return f"#{self.case._matrix_room_localpart()}:example.org"

    def create_and_unlink(self):
        self.case.action_matrix_create_room()
        self.case.write({"matrix_room_id": False, "matrix_room_alias": False})

    def click(self):
        """Click Create Room; return the kind and the text of the notification."""
        params = self.case.action_matrix_create_room()["params"]
        return params["type"], params["message"]

    def invited(self, room="!new0"):
        return self.homeserver.asked("POST", f"/rooms/{room}/invite")


@tagged("post_install", "-at_install")
class TestCreateRoom(CreateRoomCase):
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
        self.assertEqual(self.case.matrix_room_id, "!new0")
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

    def test_an_alias_that_was_taken_meanwhile_leads_to_the_room(self):
        """As after a click whose answer did not come in time."""
        create = self.create_room

        def create_late(body):
            create(body)
            return 409, {"errcode": "M_UNKNOWN", "error": "Room alias already exists"}

        self.answers["POST", "/createRoom"] = create_late

        self.click()

        self.assertEqual(self.case.matrix_room_id, "!new0")
        self.assertEqual(self.created, ["!new0"])

    def test_clicks_for_one_record_wait_for_each_other(self):
        self.answers["GET", "/account/whoami"] = self.locked_for_others

        self.click()

        self.assertEqual(self.was_locked, [True, False])

    def locked_for_others(self, _body):
        """Ask as another transaction would, for this case and for another one."""
        self.was_locked = []
        with self.registry.cursor() as cursor:
            for number in (self.case.id, self.case.id + 1):
                key = f"{MARKER}/legal.case/{number}"
                cursor.execute(
                    "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [key]
                )
                self.was_locked.append(not cursor.fetchone()[0])
        return 200, {"user_id": BOT}

    def test_a_room_whose_transaction_was_rolled_back_is_found_again(self):
        with self.assertRaises(ZeroDivisionError), self.env.cr.savepoint():
            self.case.action_matrix_create_room()
            raise ZeroDivisionError
        self.assertFalse(self.case.matrix_room_id)

        self.case.action_matrix_create_room()

        self.assertEqual(self.case.matrix_room_id, "!new0")
        self.assertEqual(self.created, ["!new0"])

    def test_a_room_that_was_unlinked_is_found_again(self):
        self.create_and_unlink()

        self.assertEqual(self.click()[0], "warning", "Nobody has an account yet")
        self.assertEqual(self.case.matrix_room_id, "!new0")
        self.assertEqual(self.created, ["!new0"])

    def test_a_strangers_room_behind_the_alias_is_never_linked(self):
        marker = self.case._matrix_room_localpart()
        own, other = {MARKER: marker}, {MARKER: marker + "1"}
        for joined, create in (
            # A member of another case's room moves the alias to a room of his.
            (True, state(own, STRANGER)),
            (True, state({}, STRANGER)),
            # Our own room, but another record's, or one that somebody asked for.
            (True, state(other, BOT)),
            (True, state({}, BOT)),
            # Servers that do not tell who created it.
            (True, (200, own)),
            (True, (404, {"errcode": "M_NOT_FOUND", "error": "No"})),
            (False, FORBIDDEN),
        ):
            self.created, self.rooms = ["!theirs"] if joined else [], {}
            self.point(self.first_alias(), "!theirs")
            self.room_state("m.room.create", create, "!theirs")

            _kind, text = self.click()

            self.assertEqual(self.case.matrix_room_id, self.created[-1])
            self.assertNotEqual(self.case.matrix_room_id, "!theirs")
            self.assertIn(f"{self.first_alias()} leads to a room that Odoo", text)
            self.assertNotEqual(self.case.matrix_room_alias, self.first_alias())
            self.case.write({"matrix_room_id": False, "matrix_room_alias": False})

    def test_nobody_can_take_all_aliases_in_advance(self):
        self.point(self.first_alias(), "!theirs")
        self.create_and_unlink()
        second = next(alias for alias in self.rooms if alias != self.first_alias())
        self.assertRegex(second, r"^#odoo-.*-legal-case-\d+~[0-9a-f]{12}:example.org$")

        self.click()

        self.assertEqual(self.case.matrix_room_alias, second, "The same room again")
        self.assertEqual(self.created, ["!new0"])

    def test_when_every_alias_is_taken_the_error_says_what_to_do(self):
        for localpart in self.case._matrix_room_localparts():
            self.point(f"#{localpart}:example.org", "!theirs")

        with self.assertRaisesRegex(UserError, "invite @odoo:example.org and enter"):
            self.case.action_matrix_create_room()
        self.assertFalse(self.case.matrix_room_id)

    def test_an_alias_whose_room_is_gone_is_not_a_dead_end(self):
        self.rooms[self.first_alias()] = "!gone"
        self.answers["GET", f"/directory/room/{self.first_alias()}"] = (
            404,
            {"errcode": "M_NOT_FOUND", "error": "No"},
        )

        self.click()

        self.assertEqual(self.case.matrix_room_id, "!new0")

    def test_a_room_that_was_replaced_or_encrypted_is_not_used_again(self):
        for number, event_type in enumerate(("m.room.tombstone", "m.room.encryption")):
            self.create_and_unlink()
            self.room_state(event_type, ENCRYPTION, f"!new{number}")

        _kind, text = self.click()

        self.assertEqual(self.case.matrix_room_id, "!new2")
        self.assertIn("encrypted or was replaced, so it was not used", text)

    def test_a_homeserver_that_allows_no_alias_gives_a_room_without_one(self):
        create = self.create_room
        refused = (
            403,
            {"errcode": "M_UNKNOWN", "error": "Not allowed to create alias"},
        )
        self.answers["POST", "/createRoom"] = lambda body: (
            refused if "room_alias_name" in body else create(body)
        )
        stored = (
            f"/user/{BOT}/account_data/{MARKER}.{self.case._matrix_room_localpart()}"
        )

        def store(body):
            self.answers["GET", stored] = (200, body)
            return 200, {}

        self.answers["PUT", stored] = store
        for _click in range(2):
            _kind, text = self.click()

            self.assertEqual(self.case.matrix_room_id, "!new0")
            self.assertFalse(self.case.matrix_room_alias)
            self.assertIn("only be found by its room ID", text)
            # As after a transaction that was rolled back.
            self.case.matrix_room_id = False
        self.assertEqual(self.created, ["!new0"])

    def test_a_homeserver_that_lets_the_account_create_no_room_says_so(self):
        self.answers["POST", "/createRoom"] = FORBIDDEN

        with self.assertRaisesRegex(UserError, "You may not"):
            self.case.action_matrix_create_room()

    def test_the_people_of_the_case_are_invited(self):
        colleague = self.make_user("colleague", "legal_case.legal_case_group_user")
        portal = self.make_user("matrix-guest", "base.group_portal")
        there = self.make_user("there", "legal_case.legal_case_group_user")
        for user in self.lawyer | colleague | portal | there:
            user.sudo().matrix_user_id = f"@{user.login}:example.org"
        self.profile("colleague")
        self.case.lawyer_ids = colleague | there
        self.case.message_subscribe(portal.partner_id.ids)
        self.answers["GET", "/rooms/!new0/joined_members"] = (
            200,
            {"joined": {BOT: {}, "@there:example.org": {}}},
        )

        self.case.action_matrix_create_room()

        self.assertCountEqual(
            self.invited(),
            [
                {"user_id": "@matrix-lawyer:example.org"},
                {"user_id": "@colleague:example.org"},
            ],
        )

    def test_who_could_not_be_invited_is_named_and_the_room_is_linked(self):
        colleague = self.make_user("colleague", "legal_case.legal_case_group_user")
        colleague.matrix_user_id = "@colleague:example.org"
        self.profile("colleague")
        self.case.lawyer_ids = colleague
        self.answers["POST", "/rooms/!new0/invite"] = FORBIDDEN

        action = self.case.action_matrix_create_room()

        self.assertEqual(action["params"]["type"], "warning")
        message = action["params"]["message"]
        self.assertIn("Not invited: colleague (@colleague:example.org). ", message)
        self.assertIn("no Matrix account is entered: matrix-lawyer.", message)
        self.assertEqual(self.case.matrix_room_id, "!new0")

    def test_nobody_is_invited_before_being_warned_of_an_encrypting_homeserver(self):
        self.encrypts = True
        self.lawyer.sudo().matrix_user_id = "@matrix-lawyer:example.org"

        kind, text = self.click()

        self.assertEqual((kind, self.invited()), ("danger", []))
        self.assertEqual(self.case.matrix_room_health, "encrypted")
        for way in ("Send Unencrypted", "Invite People", "empty Room ID"):
            self.assertIn(way, text)
        self.assertEqual(
            self.case.action_matrix_invite_people()["params"]["type"], "danger"
        )
        self.assertEqual(self.invited(), [])

        self.case.matrix_send_unencrypted = True
        self.case.action_matrix_invite_people()
        self.assertEqual(len(self.invited()), 1)

    def test_once_the_homeserver_stops_encrypting_another_room_is_created(self):
        self.encrypts = True
        self.create_and_unlink()
        self.encrypts = False

        self.click()

        self.assertEqual(self.case.matrix_room_id, "!new1")
        self.assertEqual(self.case.matrix_room_health, "ok")

    def test_a_homeserver_that_always_encrypts_does_not_get_a_room_for_each_click(self):
        self.encrypts = True
        for _click in range(6):
            self.create_and_unlink()

        self.assertEqual(len(self.created), 4)

    def test_without_a_backend_the_error_says_how_to_set_one_up(self):
        self.backend.is_active = False

        with self.assertRaisesRegex(UserError, "Matrix → Backends"):
            self.case.action_matrix_create_room()
