from unittest.mock import patch

from odoo.exceptions import UserError
from odoo.tests import tagged

from .common import ROOM
from .test_room_request import RoomRequestCase

LOGGER = "odoo.addons.mail_matrix.models.matrix_room_request"
BACKGROUND = "odoo.addons.mail_matrix.models.matrix_background_mixin"
COMMENT = {"subtype_xmlid": "mail.mt_comment"}


@tagged("post_install", "-at_install")
class TestRoomUnused(RoomRequestCase):
    """A room that was created in the background and is then not needed."""

    def case_with_unlinked_room(self, **values):
        case = self.open_case(**values)
        self.work(1)
        self.assertEqual((self.created, case.matrix_room_id), (["!new0"], False))
        return case

    def notes_of(self, case):
        return " ".join(case.message_ids.mapped("body"))

    def test_matrix_turned_off_after_the_room_was_created_keeps_the_room(self):
        case = self.case_with_unlinked_room()
        case.matrix_enabled = False
        self.commit()

        self.work()

        self.assertEqual(case.matrix_room_id, "!new0")
        self.assertEqual(self.waiting(), [])
        self.assertEqual(self.not_posted(), [("case_summary", "org.odoo.off")])
        self.assertFalse(self.requests.search([]))

    def test_a_room_entered_after_another_was_created_is_used_and_both_are_named(self):
        case = self.case_with_unlinked_room(
            matrix_mirror_chatter=True, matrix_mirror_notes=True
        )
        case.matrix_room_id = ROOM
        self.commit()

        self.work()

        self.assertEqual(self.waiting(), [(ROOM, "case_summary")])
        self.assertIn("the room !new0 for this record", self.notes_of(case))
        self.assertFalse(self.requests.search([]))

    def test_matrix_turned_off_ends_the_waiting_even_if_the_room_is_not_accepted(self):
        case = self.case_with_unlinked_room()
        case.matrix_enabled = False
        self.commit()

        with patch.object(type(case), "_matrix_link", side_effect=UserError("No")):
            self.work()

        self.assertFalse(case.matrix_room_id)
        self.assertEqual(self.not_posted(), [("case_summary", "org.odoo.off")])
        self.assertFalse(self.requests.search([]))
        self.assertIn("the room !new0 for this record", self.notes_of(case))

    def test_matrix_turned_off_ends_the_waiting_whatever_goes_wrong(self):
        for error in (ValueError("No"), UserError("No")):
            case = self.case_with_unlinked_room(matrix_mirror_chatter=True)
            case.message_post(body="A", message_type="comment", **COMMENT)
            case._matrix_enqueue("manual", "B")
            self.commit()
            case.matrix_enabled = False
            self.commit()

            linking = patch.object(type(case), "_matrix_link", side_effect=error)
            logging = patch.object(
                self.env.registry["matrix.early.message"],
                "_text_now",
                side_effect=ValueError("Not readable"),
            )
            with linking, logging, self.assertLogs(LOGGER, "ERROR"):
                self.work()

            self.assertFalse(self.requests.search([]))
            logs = self.env["matrix.log"].search([("status", "=", "failed")])
            logged = {log.event_type: log for log in logs}
            self.assertEqual(logged["manual"].payload, "B")
            self.assertIn("turned off", logged["manual"].error_message)
            self.assertFalse(logged["chatter"].payload, "It may have been deleted")
            self.assertIn("for this record", self.notes_of(case))
            self.clear_outbox()
            self.created.clear()

    def test_what_goes_wrong_again_and_again_is_given_up_and_can_be_sent_again(self):
        case = self.case_with_unlinked_room()
        case._matrix_enqueue("manual", "B")
        self.commit()

        refused = patch.object(type(case), "_matrix_link", side_effect=ValueError)
        with refused, self.assertLogs(BACKGROUND, "ERROR"):
            for _try in range(23):
                self.due_now()
                self.work(1)
            self.assertIn("see Odoo's log", case.matrix_room_request_note)
            self.due_now()
            self.work(1)

        self.assertFalse(self.requests.search([]))
        [manual] = self.env["matrix.log"].search([("event_type", "=", "manual")])
        self.assertEqual(manual.outcome, "failed")
        self.assertIn("Odoo tried 24 times", manual.error_message)
        self.assertIn("the room !new0 for this record", self.notes_of(case))
        case.matrix_room_id = ROOM
        self.commit()
        manual.with_user(self.manager).action_send_again()
        self.assertIn("B", self.bodies())

    def test_matrix_turned_off_without_a_backend_names_the_room(self):
        case = self.case_with_unlinked_room()
        case.matrix_enabled = False
        self.backend.is_active = False
        self.commit()

        self.work()

        self.assertFalse(self.requests.search([]))
        self.assertIn("the room !new0 for this record", self.notes_of(case))

    def test_a_chatter_that_takes_no_note_holds_up_no_message(self):
        case = self.case_with_unlinked_room()
        case.matrix_room_id = ROOM
        self.commit()

        refused = patch.object(
            type(case), "_matrix_post_from_bot", side_effect=ValueError("No")
        )
        with refused, self.assertLogs(LOGGER, "ERROR"):
            self.work()

        self.assertEqual(self.waiting(), [(ROOM, "case_summary")])
        self.assertFalse(self.requests.search([]))

    def test_the_log_names_the_room_of_a_case_that_was_deleted_meanwhile(self):
        self.case_with_unlinked_room().sudo().unlink()
        self.commit()

        self.work()

        [row] = self.failures()
        self.assertIn("!new0", row["error_message"])

    def test_a_deleted_case_does_not_wait_for_the_next_try(self):
        self.refused_case().sudo().unlink()
        self.commit()

        self.work(1)

        self.assertFalse(self.requests.search([]))
        self.assertEqual(self.not_posted(), [("case_summary", "org.odoo.no_room")])
