from unittest.mock import patch

from odoo.exceptions import AccessError
from odoo.tests import tagged

from .common import TicketCase

MODULE = "odoo.addons.mail_matrix.models.matrix_message"


def rows_read(node, table):
    """Return how many rows of ``table`` a node of a plan and those below it read."""
    count = sum(rows_read(child, table) for child in node.get("Plans", ()))
    if node.get("Relation Name") == table:
        passed = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        count += passed * node["Actual Loops"]
    return count


@tagged("post_install", "-at_install")
class TestMessage(TicketCase):
    """All messages of a record in one list."""

    def setUp(self):
        super().setUp()
        for text in ("Sent", "Failed", "Discarded", "Waiting", "Held"):
            self.ticket._matrix_enqueue("manual", text)
        sent, failed, discarded, _waiting, held = self.outbox()
        self.log(sent, status="ok")
        self.log(failed, error_message="Not in this room")
        self.env["matrix.outbox"].browse(discarded["id"]).with_user(
            self.manager
        ).action_discard()
        self.log(held, is_final=False, error_message="No answer")
        self.env.cr.execute(
            "UPDATE matrix_lane SET head_id = %s, first_failed_at = now(), "
            "last_error = 'No answer', retry_at = '2030-01-01' WHERE lane = %s",
            [held["id"], held["lane"]],
        )
        self.worker_seen()

    def messages(self, user):
        action = self.ticket.with_user(user).action_view_matrix_messages()
        return self.env["matrix.message"].with_user(user).search(action["domain"])

    def test_the_worker_is_looked_for_once_for_a_whole_list(self):
        other = self.ticket.create({"name": "Other", "matrix_room_id": "!other"})
        other._matrix_enqueue("manual", "Waits too")
        workers = self.env.registry["matrix.worker"]
        for model in ("matrix.lane", "matrix.message"):
            rows = self.env[model].search([])
            self.assertGreater(len(rows), 1)
            with patch.object(workers, "_all_silent", return_value=True) as asked:
                self.assertIn("No worker is running", str(rows.mapped("reason")))
            self.assertEqual(asked.call_count, 1)

    def test_the_list_holds_every_message_once(self):
        found = self.messages(self.user)

        self.assertEqual(
            {row.payload: row.outcome for row in found},
            {
                "Sent": "ok",
                "Failed": "failed",
                "Discarded": "discarded",
                "Waiting": "waiting",
                "Held": "held",
            },
        )
        self.assertEqual(self.as_user(self.ticket).matrix_message_count, 5)
        deliveries = self.as_user(self.ticket).get_matrix_deliveries()
        self.assertEqual(deliveries["count"], 5)

    def test_each_says_why_and_opens(self):
        rows = {row.payload: row for row in self.messages(self.user)}

        self.assertEqual(rows["Failed"].reason, "Not in this room")
        self.assertEqual(rows["Held"].reason, "No answer")
        self.assertEqual(rows["Held"].retry_at.year, 2030)
        self.assertFalse(rows["Waiting"].reason)
        self.assertFalse(rows["Sent"].reason)
        self.assertEqual(rows["Sent"].action_open()["res_model"], "matrix.log")
        opened = rows["Waiting"].action_open()
        self.assertEqual(opened["res_model"], "matrix.message")
        waiting = self.env["matrix.message"].with_user(self.user)
        self.assertEqual(waiting.browse(opened["res_id"]).payload, "Waiting")
        self.assertEqual(rows["Waiting"].record_ref, self.as_user(self.ticket))

    def test_each_has_an_id_that_an_address_can_contain(self):
        rows = self.messages(self.user)

        self.assertEqual(len(set(rows.ids)), 5)
        self.assertGreater(min(rows.ids), 0, "“-1” is not an id for the web client")
        for row in rows:
            self.env.invalidate_all()
            again = row.browse(row.id)
            self.assertEqual(again.waiting_id or again.log_id, row.id // 2)

    def test_a_manager_discards_what_waits(self):
        rows = {row.payload: row for row in self.messages(self.manager)}
        rows["Waiting"].action_discard()

        self.env.invalidate_all()
        outcomes = {row.payload: row.outcome for row in self.messages(self.manager)}
        self.assertEqual(outcomes["Waiting"], "discarded")
        with self.assertRaises(AccessError):
            self.messages(self.user).action_discard()

    def test_who_may_not_read_the_record_reads_none_of_its_messages(self):
        rows = self.messages(self.user).sudo(False)
        branch = self.env["res.company"].create({"name": "Branch"})
        self.ticket.sudo().company_id = branch
        self.commit()
        self.env.invalidate_all()

        messages = self.env["matrix.message"].with_user(self.user)
        self.assertFalse(messages.search([("res_model", "=", self.ticket._name)]))
        for row in rows:
            with self.assertRaises(AccessError):
                row.read(["payload"])
        employee = self.make_user("employee", "base.group_user")
        with self.assertRaises(AccessError):
            messages.with_user(employee).search([])

    def test_a_record_and_an_id_are_found_by_indexes(self):
        domain = self.env["matrix.message"]._domain_of(self.ticket)
        ids = self.messages(self.user).ids
        self.env.cr.execute("SET LOCAL enable_seqscan = off")
        messages = self.env["matrix.message"].sudo()
        for look in (domain, [("id", "in", ids)]):
            query = messages._search(look, limit=80).select("matrix_message.id")
            self.env.cr.execute("EXPLAIN " + query.code, query.params)
            plan = "\n".join(line for (line,) in self.env.cr.fetchall())
            for table in ("outbox", "log"):
                self.assertNotIn(f"Seq Scan on matrix_{table}", plan)

    def test_a_long_queue_in_the_default_room_is_not_read(self):
        shared = "!shared:example.org"
        self.backend.default_room_id = shared
        self.enqueue(3000, room_id=shared)
        self.env.cr.execute("ANALYZE matrix_outbox")
        for room in (False, shared):
            self.ticket.matrix_room_id = room
            self.commit()
            with patch(f"{MODULE}._NEWEST_WAITING", 10):
                domain = self.env["matrix.message"]._domain_of(self.ticket)
            query = self.env["matrix.message"].sudo()._search(domain).select()
            self.env.cr.execute(
                "EXPLAIN (ANALYZE, FORMAT JSON) " + query.code, query.params
            )
            ((found,),) = self.env.cr.fetchone()
            self.assertLess(rows_read(found["Plan"], "matrix_outbox"), 100)

    def test_waiting_rooms_name_their_record_and_say_why(self):
        room = self.env["matrix.lane"].with_user(self.manager).search([])

        self.assertEqual(room.record_ref, self.ticket.with_user(self.manager))
        self.assertEqual((room.reason, room.waiting), ("No answer", 2))
