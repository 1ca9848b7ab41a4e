from datetime import datetime

from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged
from odoo.tools import SQL

from .common import ROOM, TicketCase


@tagged("post_install", "-at_install")
class TestRequeue(TicketCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.backend.expire_hours = 1

    def send_in_vain(self, **values):
        """Let the worker fail the one waiting message, as complete.sql does."""
        return self.log(
            self.outbox()[-1],
            **{"error_code": "M_FORBIDDEN", "error_message": "Not in this room"},
            **values,
        )

    def failed_message(self, text="Hello", **values):
        self.ticket._matrix_enqueue("manual", text)
        return self.send_in_vain(**values).with_user(self.manager)

    def test_retry_keeps_the_transaction_id_and_the_queue_time(self):
        log = self.failed_message(queued_at=datetime(2026, 1, 2, 3, 4, 5))

        log.action_retry()

        (row,) = self.outbox()
        self.assertEqual(row["txn_id"], log.txn_id)
        self.assertEqual(row["queued_at"], datetime(2026, 1, 2, 3, 4, 5))
        self.assertEqual(row["content"], log.content)
        self.assertEqual(row["room_id"], ROOM)
        self.assertEqual(row["user_id"], self.env.uid)
        self.assertIsNone(row["expires_at"], "It had expired before it was sent")

    def test_a_second_retry_answers_already_queued(self):
        log = self.failed_message()
        log.action_retry()

        with self.assertRaisesRegex(UserError, "Already queued"):
            log.action_retry()
        self.assertEqual(len(self.outbox()), 1)

    def test_a_retry_after_it_was_sent_sends_nothing(self):
        log = self.failed_message()
        log.action_retry()
        self.log(self.outbox()[0], status="ok")

        with self.assertRaisesRegex(UserError, "sent since"):
            log.action_retry()
        self.assertEqual(self.outbox(), [])

    def test_send_again_makes_a_new_message(self):
        log = self.failed_message()

        log.action_send_again()

        (row,) = self.outbox()
        self.assertNotEqual(row["txn_id"], log.txn_id)
        self.assertEqual(row["content"]["body"], "Hello")
        self.assertEqual(row["content"]["org.odoo.outbox"], row["txn_id"])
        self.assertGreater(row["expires_at"], row["queued_at"])

    def test_what_is_queued_again_already_is_not_sent_again(self):
        log = self.failed_message()
        log.action_send_again()
        with self.assertRaisesRegex(UserError, "Already queued"):
            log.action_send_again()

        retried = self.failed_message()
        retried.action_retry()
        self.log(self.outbox()[-1], status="ok")
        with self.assertRaisesRegex(UserError, "sent since"):
            retried.action_send_again()
        self.assertEqual(len(self.outbox()), 1)

    def test_send_again_in_bulk_leaves_out_what_cannot_be_sent_and_says_why(self):
        branch = self.env["res.company"].create({"name": "Branch"})
        foreign = self.backend.copy({"name": "Branch", "company_id": branch.id})
        good = self.failed_message("Good") | self.failed_message("Better")
        held = self.failed_message("Held", is_final=False)
        self.env.cr.execute("DELETE FROM matrix_outbox")
        requeued = self.failed_message("Queued")
        requeued.action_send_again()
        self.env.cr.execute("DELETE FROM matrix_outbox")
        closed = self.ticket.create({"name": "Closed", "matrix_room_id": "!closed"})
        closed._matrix_enqueue("manual", "Secret")
        encrypted = self.send_in_vain()
        closed.sudo().matrix_room_health = "encrypted"
        hidden = self.failed_message("Hidden", backend_id=foreign.id)
        self.ticket._matrix_enqueue("manual", "Sent")
        sent = self.log(self.outbox()[-1], status="ok")
        textless = self.log_row(
            status="failed", backend_id=self.backend.id, user_id=self.user.id
        )
        gone = self.failed_message("Gone")
        self.env.cr.execute("DELETE FROM matrix_log WHERE id = %s", [gone.id])
        rows = good | held | requeued | encrypted | hidden | sent | textless | gone

        said = rows.with_user(self.manager).action_send_again()["params"]

        self.assertEqual(self.bodies(), ["Good", "Better"])
        self.assertEqual((said["type"], said["sticky"]), ("warning", True))
        for part in (
            "Messages queued for sending: 2.",
            "Not queued: 1. You do not have access to these messages.",
            "Not queued: 1. Only failed messages",
            "Not queued: 1. Still queued",
            "Not queued: 1. There is no message to send",
            "Not queued: 1. Already queued",
            "Not queued: 1. This room is encrypted",
        ):
            self.assertIn(part, said["message"])
        self.assertEqual(said["message"].count("Not queued"), 6)

    def test_send_again_in_bulk_goes_on_where_one_backend_is_gone(self):
        branch = self.env["res.company"].create({"name": "Branch"})
        self.manager.company_ids |= branch
        theirs = self.backend.copy(
            {"name": "Branch", "company_id": branch.id, "is_active": False}
        )
        good = self.failed_message("Good")
        lost = self.failed_message(
            "Lost", backend_id=theirs.id, res_model=None, res_id=None
        )
        self.ticket.company_id = self.backend.company_id = self.env.company
        both = (good | lost).with_context(
            allowed_company_ids=(self.env.company | branch).ids
        )

        for action in (both.action_send_again, both.action_retry):
            said = action()["params"]["message"]
            self.assertIn("Messages queued for sending: 1.", said)
            self.assertRegex(said, "Not queued: 1. The backend of these.*Branch")
            self.env.cr.execute("DELETE FROM matrix_outbox; DELETE FROM matrix_requeue")

    def test_a_message_of_the_chatter_that_was_sent_again_can_still_be_edited(self):
        self.ticket.matrix_mirror_chatter = True
        comment = self.ticket.message_post(
            body="First", message_type="comment", subtype_xmlid="mail.mt_comment"
        )
        self.commit()
        log = self.send_in_vain().with_user(self.manager)
        self.ticket.matrix_room_id = "!successor:example.org"
        log.action_send_again()

        comment.body = "Better"
        self.commit()

        (row,) = self.outbox()
        self.assertIn("Better", row["content"]["body"])
        self.assertEqual(row["room_id"], "!successor:example.org")

    def test_send_again_goes_to_the_current_room_and_retry_to_the_old_one(self):
        sent_again, log = self.failed_message(), self.failed_message()
        self.ticket.matrix_room_id = "!successor:example.org"

        sent_again.action_send_again()
        log.action_retry()

        again, retried = self.outbox()
        self.assertEqual(again["room_id"], "!successor:example.org")
        self.assertEqual(again["res_id"], self.ticket.id)
        self.assertEqual((retried["room_id"], retried["txn_id"]), (ROOM, log.txn_id))

    def test_send_again_keeps_a_room_that_is_not_the_record_s(self):
        log = self.failed_message()
        self.ticket.matrix_room_id = False
        log.action_send_again()
        self.assertEqual(self.outbox()[0]["room_id"], ROOM)

        self.clear_outbox()
        self.ticket.matrix_room_id = ROOM
        self.env["ir.actions.server"].create(
            {
                "name": "Tell Matrix",
                "model_id": self.env["ir.model"]._get_id(self.ticket._name),
                "state": "matrix",
                "matrix_room": "!named:example.org",
                "matrix_template": "Ticket {{ object.name }}",
            }
        ).with_context(active_model=self.ticket._name, active_ids=self.ticket.ids).run()
        self.commit()
        self.send_in_vain().with_user(self.manager).action_send_again()
        self.assertEqual(self.outbox()[0]["room_id"], "!named:example.org")

    def test_send_again_asks_for_the_current_consent(self):
        log = self.failed_message()
        self.found(health="encrypted")
        with self.assertRaisesRegex(UserError, "cannot encrypt"):
            log.action_send_again()

        self.ticket.matrix_send_unencrypted = True
        log.action_send_again()
        (row,) = self.outbox()
        self.assertIs(row["content"]["org.odoo.unencrypted"], True)
        self.assertEqual(row["content"]["m.mentions"], {})

        consented = self.send_in_vain().with_user(self.manager)
        self.ticket.matrix_room_id = "!unknown:example.org"
        consented.action_send_again()
        (row,) = self.outbox()
        self.assertNotIn("org.odoo.unencrypted", row["content"])

    def test_retry_asks_for_the_current_consent(self):
        self.ticket.matrix_send_unencrypted = True
        log = self.failed_message()
        self.assertIs(log.content["org.odoo.unencrypted"], True)
        self.ticket.matrix_send_unencrypted = False

        log.action_retry()
        (row,) = self.outbox()
        self.assertNotIn("org.odoo.unencrypted", row["content"], "The worker looks")

        log = self.send_in_vain().with_user(self.manager)
        self.found(health="encrypted")
        with self.assertRaisesRegex(UserError, "cannot encrypt"):
            log.action_retry()
        self.assertEqual(self.outbox(), [])

        self.ticket.matrix_send_unencrypted = True
        log.action_retry()
        (row,) = self.outbox()
        self.assertIs(row["content"]["org.odoo.unencrypted"], True)

    def test_consent_no_longer_counts_once_encryption_is_set_up(self):
        self.ticket.matrix_send_unencrypted = True
        log = self.failed_message()
        self.found(health="encrypted")
        log.backend_id.sudo().encryption_mode = "encrypt"

        log.action_retry()
        (row,) = self.outbox()
        self.assertNotIn("org.odoo.unencrypted", row["content"])

    def test_a_bulk_retry_leaves_out_what_nobody_agreed_to(self):
        log = self.failed_message()
        self.found(health="encrypted")
        other = self.ticket.create({"name": "Other", "matrix_room_id": "!other"})
        other._matrix_enqueue("manual", "Free")
        logs = log | self.send_in_vain().with_user(self.manager)

        message = logs.action_retry()["params"]["message"]

        self.assertEqual(self.bodies(), ["Free"])
        self.assertIn("sending: 1. Not queued: 1. This room is encrypted", message)

    def found(self, health):
        """Let Check Room find this."""
        self.ticket.sudo().matrix_room_health = health

    def test_each_failed_line_is_retried_once(self):
        log = self.failed_message()
        log.action_retry()
        again = self.send_in_vain().with_user(self.manager)
        self.assertEqual(again.txn_id, log.txn_id)

        with self.assertRaisesRegex(UserError, "Already queued"):
            log.action_retry()
        again.action_retry()

        (row,) = self.outbox()
        self.assertEqual(row["txn_id"], log.txn_id)

    def test_retry_reads_no_more_of_a_long_log_than_its_own_lines(self):
        log = self.failed_message()
        self.env.cr.execute(
            """
            INSERT INTO matrix_log (status, txn_id, content, res_model, res_id)
            SELECT 'ok', 'old-' || n, '{}', 'test.matrix.ticket', n
            FROM generate_series(1, 20000) AS n;
            ANALYZE matrix_log
            """
        )
        messages = log.sudo()
        self.env.cr.execute(
            SQL("EXPLAIN %s", messages._retry_sql(messages, messages.browse()))
        )
        plan = "\n".join(line for (line,) in self.env.cr.fetchall())

        self.assertIn("matrix_log_pkey", plan)
        self.assertNotIn("Seq Scan on matrix_log", plan)

    def test_a_bulk_retry_queues_each_message_once_and_in_order(self):
        logs = self.env["matrix.log"]
        for number in range(3):
            logs |= self.failed_message(f"Number {number}")
        first = self.outbox_row_of(logs[0])
        again = self.log(first, error_message="Failed once more").with_user(
            self.manager
        )

        answer = (again | logs.sorted("id", reverse=True)).action_retry()

        self.assertEqual(self.bodies(), ["Number 0", "Number 1", "Number 2"])
        self.assertIn("sending: 3", answer["params"]["message"])

    def outbox_row_of(self, log):
        """Return the row that ``log`` is about, as if it was still waiting."""
        self.env.cr.execute("SELECT * FROM matrix_log WHERE id = %s", [log.id])
        return dict(self.env.cr.dictfetchone(), id=log.outbox_id)

    def test_what_cannot_be_queued_is_explained(self):
        self.ticket._matrix_enqueue("manual", "Hello")
        sent = self.log(self.outbox()[0], status="ok").with_user(self.manager)
        held = self.failed_message(is_final=False)
        for method in ("action_retry", "action_send_again"):
            with self.assertRaisesRegex(UserError, "Only failed"):
                getattr(sent, method)()
            with self.assertRaisesRegex(UserError, "when the homeserver is back"):
                getattr(held, method)()

        self.backend.template_ticket_moved = "{{ object.name < 1 }}"
        self.ticket.stage = "Done"
        self.commit()
        textless = self.env["matrix.log"].search([], limit=1).with_user(self.manager)
        self.assertEqual(textless.error_code, "org.odoo.template")
        self.assertIn("Correct the text that the error names", textless.hint)
        self.assertIn("Backend “Office”: ", textless.error_message)
        with self.assertRaisesRegex(UserError, "no message"):
            textless.action_retry()

        final = self.failed_message()
        self.backend.is_active = False
        with self.assertRaisesRegex(UserError, "Office.*Send Again"):
            final.action_retry()
        with self.assertRaisesRegex(UserError, "Office"):
            final.action_send_again()

    def test_only_managers_queue_again_and_discard(self):
        log = self.failed_message()
        self.ticket._matrix_enqueue("manual", "Waiting")
        waiting = self.env["matrix.outbox"].search([])
        for records, method in (
            (log, "action_retry"),
            (log, "action_send_again"),
            (waiting, "action_discard"),
        ):
            with self.assertRaises(AccessError):
                getattr(records.with_user(self.user), method)()
        self.assertEqual(self.bodies(), ["Waiting"])
