from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.tests import tagged

from odoo.addons.mail_matrix.tools.matrix_call import MatrixCall

from .test_room_request import RoomRequestCase


class Killed(BaseException):
    """Takes the place of kill -9: nothing handles it."""


@tagged("post_install", "-at_install")
class TestRoomRequestSafety(RoomRequestCase):
    """Nothing is lost, doubled or readable by others on the way to the new room."""

    def kill_after(self, number):
        """Run the scheduled action, and end it after request number ``number``."""
        left = [number]
        exchange = MatrixCall._exchange

        def dying(call, *args, **kwargs):
            answer = exchange(call, *args, **kwargs)
            if not left[0]:
                raise Killed
            left[0] -= 1
            return answer

        with patch.object(MatrixCall, "_exchange", dying):
            with self.assertRaises(Killed), self.env.cr.savepoint():
                self.work()
        self.env.invalidate_all()

    def test_killed_after_any_request_there_is_one_room_and_each_message_once(self):
        self.lawyer.sudo().matrix_user_id = "@matrix-lawyer:example.org"
        self.open_case()
        self.work()
        count = len(self.homeserver.requests)
        self.assertGreater(count, 5)
        self.settle()
        for number in range(count):
            case = self.open_case(name=f"Killed at {number}")
            case._matrix_enqueue("manual", "Hello")
            self.commit()
            already = len(self.created)

            self.kill_after(number)
            self.work()

            self.assertEqual(len(self.created), already + 1, f"at {number}")
            self.assertEqual(case.matrix_room_id, self.created[-1])
            rows = [row for row in self.outbox() if row["res_id"] == case.id]
            events = [(row["room_id"], row["event_type"]) for row in rows]
            room = self.created[-1]
            self.assertEqual(events, [(room, "case_summary"), (room, "manual")])

    def test_rolled_back_nothing_is_requested(self):
        with self.assertRaises(ZeroDivisionError), self.env.cr.savepoint():
            self.open_case()
            raise ZeroDivisionError
        self.commit()

        self.assertFalse(self.requests.search([]))
        self.assertEqual(self.env["matrix.early.message"].sudo().search_count([]), 0)

    def test_an_encrypting_homeserver_leads_to_a_room_that_says_so(self):
        self.encrypts = True
        case = self.open_case()

        self.work()

        self.assertEqual(case.matrix_room_health, "encrypted")
        self.assertIn("Nobody was invited yet", case.matrix_room_health_note)
        self.assertEqual(self.waiting(), [("!new0", "case_summary")])
        self.assertFalse(self.outbox()[0]["content"].get("org.odoo.unencrypted"))

    def test_what_waits_for_an_encrypted_room_is_not_sent_unencrypted(self):
        self.encrypts = True
        self.backend.encryption_mode = "encrypt"
        case = self.open_case()
        case.matrix_send_unencrypted = True

        self.work()

        self.assertFalse(self.outbox()[0]["content"].get("org.odoo.unencrypted"))

    def test_an_expired_message_is_left_to_the_worker(self):
        self.backend.expire_hours = 1
        case = self.open_case()
        early = self.env["matrix.early.message"].sudo().search([])
        early.expires_at = fields.Datetime.now() - timedelta(hours=1)

        self.work()

        [row] = self.outbox()
        self.assertLess(row["expires_at"], fields.Datetime.now())
        self.assertEqual(row["res_id"], case.id)
