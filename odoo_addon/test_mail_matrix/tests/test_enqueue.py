from odoo.tests import tagged

from .common import ROOM, TicketCase


@tagged("post_install", "-at_install")
class TestEnqueue(TicketCase):
    def test_an_event_becomes_one_row_at_commit(self):
        ticket = self.as_user(self.ticket)

        ticket.stage = "Doing"
        ticket.stage = "Done"
        self.assertEqual(self.outbox(), [])
        self.commit()

        (row,) = self.outbox()
        self.assertEqual(row["content"]["body"], "Ticket Leaking tap moved to Done")
        self.assertEqual(row["room_id"], ROOM)
        self.assertEqual(row["lane"], f"{self.backend.id}/{ROOM}")
        self.assertEqual(row["event_type"], "ticket_moved")
        self.assertEqual(row["matrix_type"], "m.room.message")
        self.assertEqual(row["content"]["org.odoo.outbox"], row["txn_id"])
        self.assertEqual(row["content"]["m.mentions"], {})
        self.assertEqual((row["res_model"], row["res_id"]), (ticket._name, ticket.id))
        self.assertEqual(row["user_id"], self.user.id)
        self.assertIsNone(row["expires_at"])

    def test_the_text_links_to_the_record(self):
        self.ticket.stage = "Done"
        self.commit()

        (row,) = self.outbox()
        url = f"/mail/view?model=test.matrix.ticket&amp;res_id={self.ticket.id}"
        self.assertIn(f'{url}">Leaking tap</a> moved', row["content"]["formatted_body"])

    def test_another_record_speaks_in_the_room_of_its_ticket(self):
        self.env.company.partner_id.tz = "Europe/Berlin"
        self.as_user(self.env["test.matrix.visit"]).create(
            {"ticket_id": self.ticket.id, "date": "2026-07-01 08:00:00"}
        )
        self.commit()

        (row,) = self.outbox()
        self.assertEqual(row["room_id"], ROOM)
        self.assertEqual(row["res_id"], self.ticket.id)
        self.assertIn("Jul 1, 2026, 10:00", row["content"]["body"])

    def test_a_failing_text_keeps_the_business_write_and_is_logged(self):
        self.backend.template_ticket_moved = "{{ object.no_such_field }}"
        messages = self._tracked("Doing", commit=True)

        failing = self._tracked("Done", commit=True)

        self.assertEqual(self._stage_in_database(), "Done")
        self.assertEqual(failing, messages)
        self.assertEqual(self.outbox(), [])
        failure = self.failures()[-1]
        self.assertEqual(failure["error_code"], "org.odoo.template")
        self.assertIn("no_such_field", failure["error_message"])
        self.assertEqual(failure["room_id"], ROOM)
        self.assertEqual(failure["backend_id"], self.backend.id)
        self.assertEqual(failure["res_id"], self.ticket.id)

    def _tracked(self, stage, commit):
        """Return how many messages the chatter gets by moving the ticket."""
        before = len(self.ticket.message_ids)
        self.ticket.stage = stage
        self.commit()
        self.ticket.invalidate_recordset()
        return len(self.ticket.message_ids) - before

    def _stage_in_database(self):
        self.env.cr.execute(
            "SELECT stage FROM test_matrix_ticket WHERE id = %s", [self.ticket.id]
        )
        return self.env.cr.fetchone()[0]
