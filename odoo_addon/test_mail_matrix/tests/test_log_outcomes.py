from unittest.mock import patch

from odoo.tests import tagged

from .common import TicketCase


@tagged("post_install", "-at_install")
class TestLogOutcomes(TicketCase):
    """What the lists and the record say became of a message."""

    def setUp(self):
        super().setUp()
        self.ticket._matrix_enqueue("manual", "Hello")

    def outcomes(self):
        self.env.invalidate_all()
        rows = self.as_user(self.ticket).get_matrix_deliveries()["rows"]
        return [row["outcome"] for row in rows]

    def logs(self):
        return self.env["matrix.log"].with_user(self.manager).search([])

    def test_what_was_discarded_has_not_failed(self):
        self.env["matrix.outbox"].with_user(self.manager).search([]).action_discard()

        self.assertEqual(self.outcomes(), ["discarded"])
        self.assertEqual(self.backend.with_user(self.manager).failed_count, 0)
        overview = self.env["matrix.log"].with_user(self.manager).get_overview()
        self.assertEqual(overview["failed"], "0")

    def test_a_retried_message_is_found_where_it_is_now(self):
        self.log(self.outbox()[0], error_message="Not in this room")
        failed = self.logs()
        self.assertFalse(failed.was_retried)

        failed.action_retry()

        self.env.invalidate_all()
        self.assertTrue(failed.was_retried)
        waiting = failed.action_view_retried()
        self.assertEqual(waiting["res_model"], "matrix.outbox")
        found = self.env["matrix.outbox"].search(waiting["domain"])
        self.assertEqual(found.body, "Hello")
        sent = self.log(self.outbox()[0], status="ok")
        self.assertEqual(failed.action_view_retried()["res_id"], self.logs()[0].id)
        self.assertEqual(self.logs()[0].outcome, "ok", sent)

    def test_the_outcome_of_a_retried_message_is_found_by_an_index(self):
        self.log(self.outbox()[0], error_message="Not in this room")
        self.env.cr.execute(
            """
            INSERT INTO matrix_log (status, txn_id, res_model, res_id)
            SELECT 'ok', 'old-' || n, 'test.matrix.ticket', n
            FROM generate_series(1000000, 1020000) AS n;
            ANALYZE matrix_log
            """
        )
        failed = self.logs().filtered(lambda log: log.outcome == "failed")
        read = []
        execute = type(self.env.cr).execute

        def noting(cursor, query, *args, **kwargs):
            read.append(cursor.mogrify(query, *args).decode())
            return execute(cursor, query, *args, **kwargs)

        with patch.object(type(self.env.cr), "execute", noting):
            failed.action_view_retried()

        searches = [query for query in read if failed.txn_id in query]
        searches = [query for query in searches if '"matrix_log"' in query]
        self.assertTrue(searches)
        for query in searches:
            self.env.cr.execute(f"EXPLAIN {query}")
            plan = "\n".join(line for (line,) in self.env.cr.fetchall())
            self.assertIn("matrix_log_res_idx", plan)

    def test_a_record_says_why_nothing_is_sent_at_the_moment(self):
        mine = self.as_user(self.ticket)
        self.assertFalse(mine.matrix_trouble)
        self.backend_state("down", reason="No answer")
        self.env.invalidate_all()
        self.assertIn("Homeserver unreachable: No answer", mine.matrix_trouble)
        self.backend.is_active = False
        self.env.invalidate_all()
        self.assertIn("No Matrix backend is active", mine.matrix_trouble)
