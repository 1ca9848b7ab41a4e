from odoo.exceptions import UserError, ValidationError
from odoo.tests import tagged

from odoo.addons.mail_matrix.models.matrix_thread_mixin.create import MARKER
from odoo.addons.mail_matrix.tests.homeserver import BOT

from .common import ROOM
from .test_room import NEW_ROOM, RoomCase, state

STRANGER = "@mallory:example.org"


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
        with self.assertRaisesRegex(UserError, "has no room with"):
            self.case.action_matrix_resolve_alias()
        self.assertEqual(self.case.matrix_room_id, ROOM)

        self.answers["GET", "/joined_rooms"] = (200, {"joined_rooms": [NEW_ROOM]})
        self.resolve(NEW_ROOM)

        self.assertEqual(self.case.matrix_room_id, NEW_ROOM)
        self.assertEqual(self.case.matrix_resolved_alias, "#ida:example.org")
        self.case.matrix_room_id = ROOM
        self.assertFalse(self.case.matrix_resolved_alias)

    def test_the_creator_of_a_strangers_room_is_named(self):
        self.only_alias("#ida:example.org")
        for creator, is_said in ((STRANGER, True), (BOT, False)):
            self.room_state("m.room.create", state({}, creator))

            said = self.resolve()["params"]["message"]

            self.assertEqual(f"created by {creator}" in said, is_said)

    def test_an_alias_of_odoos_own_must_lead_to_a_room_of_odoos_own(self):
        marker = self.case._matrix_room_localpart()
        other = f"{self.case._matrix_alias_prefix()}-legal-case-999"
        for localpart, sender, content, is_linked in (
            (marker, BOT, {MARKER: marker}, True),
            (f"{marker}~0123456789ab", BOT, {MARKER: marker}, True),
            (other, BOT, {MARKER: other}, True),
            (marker, BOT, {MARKER: other}, False),
            (other, BOT, {MARKER: marker}, False),
            (marker, BOT, {}, False),
            (marker, STRANGER, {MARKER: marker}, False),
        ):
            alias = f"#{localpart}:example.org"
            self.only_alias(alias)
            self.answers["GET", f"/directory/room/{alias}"] = (200, {"room_id": ROOM})
            self.room_state("m.room.create", state(content, sender))
            if is_linked:
                self.case.action_matrix_resolve_alias()
                self.assertEqual(self.case.matrix_room_id, ROOM)
            else:
                with self.assertRaisesRegex(UserError, "did not create.*!case"):
                    self.case.action_matrix_resolve_alias()
                self.assertFalse(self.case.matrix_room_id)

    def test_an_unknown_alias_is_reported(self):
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

    def test_a_link_of_matrix_to_says_where_the_room_is(self):
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
