from odoo.exceptions import UserError
from odoo.tests import tagged

from odoo.addons.mail_matrix.tests.homeserver import BOT

from .common import ROOM
from .test_create_room import ENCRYPTION, CreateRoomCase
from .test_room import RoomCase, state


class EncryptingCase(RoomCase):
    """A backend that encrypts, and a room that is encrypted."""

    def setUp(self):
        super().setUp()
        self.backend.encryption_mode = "encrypt"
        self.room_state("m.room.encryption", ENCRYPTION)


@tagged("post_install", "-at_install")
class TestEncryptedRoom(EncryptingCase):
    def test_it_is_ready_and_nobody_has_to_agree(self):
        self.assertEqual(self.check(), ("encrypted", "success"))
        self.assertFalse(self.case.matrix_room_mark)
        self.assertIn("is encrypted as well", self.case.matrix_room_advice)

        self.case._matrix_enqueue("manual", "Secret")
        self.case.stage_id = self.stages[1]

        self.assertEqual(self.said()[0], "Secret")
        self.assertEqual(len(self.outbox()), 2)
        content = self.outbox()[0]["content"]
        self.assertNotIn("org.odoo.unencrypted", content)

    def test_consent_to_send_unencrypted_no_longer_counts(self):
        self.case.matrix_send_unencrypted = True

        self.case._matrix_enqueue("manual", "Secret")
        self.assertNotIn("org.odoo.unencrypted", self.outbox()[0]["content"])

    def test_everybody_who_finds_a_public_room_reads_it(self):
        self.room_state("m.room.join_rules", state({"join_rule": "public"}))

        self.assertEqual(self.check(), ("public", "warning"))

    def test_without_encryption_the_same_room_is_refused_again(self):
        self.check()
        self.backend.encryption_mode = "refuse"
        self.env.invalidate_all()

        with self.assertRaisesRegex(UserError, "cannot encrypt"):
            self.case._matrix_enqueue("manual", "Secret")
        self.assertEqual(self.case.matrix_room_mark, "failed")
        self.assertIn("cannot encrypt", self.case.matrix_room_advice)

    def test_a_worker_that_can_encrypt_is_mentioned(self):
        self.backend.encryption_mode = "refuse"
        self.worker_seen()
        self.env.cr.execute("UPDATE matrix_worker SET version = '1.0.0+encryption'")
        self.env.invalidate_all()

        self.check()

        self.assertIn("Manager can set it up", self.case.matrix_room_advice)

    def test_its_people_are_invited(self):
        self.lawyer.sudo().matrix_user_id = "@matrix-lawyer:example.org"
        self.answers["GET", "/profile/@matrix-lawyer:example.org"] = (200, {})
        base = f"/rooms/{ROOM}"
        self.answers["GET", f"{base}/joined_members"] = (200, {"joined": {BOT: {}}})
        self.answers["GET", f"{base}/members"] = (200, {"chunk": []})
        self.answers["POST", f"{base}/invite"] = (200, {})

        self.case.action_matrix_invite_people()

        self.assertEqual(len(self.homeserver.asked("POST", f"{base}/invite")), 1)

    def test_what_was_refused_before_can_be_retried(self):
        self.case._matrix_enqueue("manual", "Secret")
        values = {"error_code": "org.odoo.encrypted", "error_message": "No"}
        failed = self.log(self.outbox()[0], **values)
        self.check()

        failed.with_user(self.manager).action_retry()

        self.assertEqual(self.bodies(), ["Secret"])


@tagged("post_install", "-at_install")
class TestCreateEncryptedRoom(CreateRoomCase):
    """A backend that encrypts creates its rooms encrypted, if it is set to."""

    def setUp(self):
        super().setUp()
        self.backend.write({"encryption_mode": "encrypt", "encrypt_new_rooms": True})
        self.lawyer.sudo().matrix_user_id = "@matrix-lawyer:example.org"

    def asked_state(self):
        (body,) = self.homeserver.asked("POST", "/createRoom")
        return body.get("initial_state")

    def test_a_new_room_is_encrypted_and_its_people_are_invited(self):
        kind, text = self.click()

        (event,) = self.asked_state()
        self.assertEqual(event["type"], "m.room.encryption")
        self.assertEqual(event["content"]["algorithm"], "m.megolm.v1.aes-sha2")
        self.assertEqual((kind, self.case.matrix_room_health), ("success", "encrypted"))
        self.assertIn("is encrypted as well", text)
        self.assertEqual(len(self.invited()), 1)

    def test_where_the_backend_does_not_ask_for_it_a_room_is_not_encrypted(self):
        for values in (
            {"encrypt_new_rooms": False},
            {"encryption_mode": "refuse", "encrypt_new_rooms": True},
        ):
            self.backend.write(values)
            self.homeserver.requests.clear()

            self.create_and_unlink()

            self.assertIsNone(self.asked_state())
            self.created, self.rooms = [], {}

    def test_a_homeserver_that_encrypts_every_room_is_not_a_problem(self):
        self.backend.encrypt_new_rooms = False
        self.encrypts = True

        self.assertEqual(self.click()[0], "success")
        self.assertEqual(len(self.invited()), 1)

    def test_a_room_that_was_unlinked_is_found_again(self):
        self.create_and_unlink()

        self.click()

        self.assertEqual(self.created, ["!new0"])
        self.assertEqual(self.case.matrix_room_id, "!new0")
