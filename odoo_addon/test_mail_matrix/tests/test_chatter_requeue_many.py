from odoo.tests import tagged

from .test_chatter_changes import ChatterChangesCase


@tagged("post_install", "-at_install")
class TestChatterRequeueMany(ChatterChangesCase):
    """Many failed chatter messages are queued again with few queries."""

    def fail_posts(self, count):
        """Return the failed log rows of messages, each of another record."""
        tickets = self.as_user(self.ticket).create(
            [
                {
                    "name": f"Ticket {number}",
                    "matrix_room_id": f"!{number}:example.org",
                    "matrix_mirror_chatter": True,
                }
                for number in range(count)
            ]
        )
        for ticket in tickets:
            ticket.message_post(
                body="Text", message_type="comment", subtype_xmlid="mail.mt_comment"
            )
        self.commit()
        logs = self.env["matrix.log"]
        for row in self.outbox():
            if row["event_type"] == "chatter":
                logs |= self.log(row, error_code="M_FORBIDDEN", error_message="No")
        self.assertEqual(len(logs), count)
        self.clear_waiting()
        return logs.with_user(self.manager)

    def clear_waiting(self):
        self.env.cr.execute("DELETE FROM matrix_outbox")

    def queries(self, act, logs):
        """Return how many queries ``act`` and the commit need."""
        self.env.flush_all()
        self.env.invalidate_all()
        before = self.env.cr.sql_log_count
        getattr(logs, act)()
        acted = self.env.cr.sql_log_count
        self.commit()
        return acted - before, self.env.cr.sql_log_count - acted

    def test_many_messages_cost_no_more_queries_than_few(self):
        for act in ("action_retry", "action_send_again"):
            counts = {}
            for count in (2, 3, 30):
                counts[count] = self.queries(act, self.fail_posts(count))
                self.assertEqual(len(self.outbox()), count)
                self.clear_waiting()
            with self.subTest(act):
                self.assertEqual(counts[30], counts[3], counts)
