from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from .test_chatter_changes import ChatterChangesCase


@tagged("post_install", "-at_install")
class TestChatterRequeue(ChatterChangesCase):
    """What is sent again of the chatter is what Odoo shows now."""

    def lose(self, row=None, **values):
        """Let the worker fail a waiting message, by default the last one."""
        values = {"error_code": "M_FORBIDDEN", "error_message": "No", **values}
        return self.log(row or self.outbox()[-1], **values).with_user(self.manager)

    def again(self, log):
        return log.action_retry, log.action_send_again

    def assert_refused(self, log, reason):
        for again in self.again(log):
            with self.assertRaisesRegex(UserError, reason):
                again()
            self.assertEqual(self.outbox(), [])

    def test_what_was_deleted_is_not_sent_again(self):
        for delete in (
            lambda message: message.sudo().unlink(),
            lambda message: self.edit(message, "", attachment_ids=[]),
            lambda message: message.sudo().write({"is_internal": True}),
        ):
            message = self.post()
            log = self.lose()
            delete(message)
            self.commit()
            self.env.cr.execute("DELETE FROM matrix_outbox")

            self.assert_refused(log, "deleted in Odoo or made internal")

    def test_what_was_merged_into_another_record_is_not_sent_again(self):
        other = self.ticket.create({"name": "Other", "matrix_room_id": "!other:m.org"})
        self.post()
        log = self.lose()
        self.ticket.message_change_thread(other)
        self.commit()
        self.env.cr.execute("DELETE FROM matrix_outbox")

        self.assert_refused(log, "merged into that of another record")

    def test_only_who_may_write_all_records_of_a_message_sends_it_again(self):
        """It failed in the room of a record whose thread was then merged into that of
        another one, and there too."""
        other = self.ticket.create({"name": "Other", "matrix_room_id": "!other:m.org"})
        other.matrix_mirror_chatter = True
        message = self.post()
        logs = self.lose()
        mirrors = self.env["matrix.mirror"]
        [mirror] = mirrors._of(message)
        values = {"res_id": other.id, "room_id": "!other:m.org", "txn_id": "other"}
        mirror.copy(values)
        row = {"backend_id": self.backend.id, "res_model": other._name, **values}
        logs |= self.log_row(
            status="failed", event_type="chatter", content={"body": "Hi"}, **row
        )
        self.env["ir.rule"].create(
            {
                "name": "Only theirs",
                "model_id": self.env["ir.model"]._get_id(other._name),
                "domain_force": [("id", "!=", other.id)],
                "perm_read": False,
            }
        )
        dialog = self.env["matrix.not.sent"].with_user(self.user)
        dialog = dialog.create({"message_id": message.id})

        self.assertEqual(dialog.log_ids.ids, logs.ids)
        self.assertFalse(dialog.can_retry)
        with self.assertRaises(AccessError):
            dialog.action_retry()

    def test_what_is_not_known_any_more_is_not_sent_again(self):
        """As in a database in which it failed before Odoo remembered its posts."""
        self.post()
        log = self.lose()
        roomless = self.fail_without_room()
        self.env["matrix.mirror"].search([]).unlink()

        self.assert_refused(log, "Write it again in the chatter")
        self.assert_refused(roomless, "Write it again there")
        self.assertIn("write it again in the chatter", roomless.hint)

    def fail_without_room(self):
        """Write a line as earlier versions did for a room that was not created."""
        self.post()
        row = {**self.outbox()[-1], "room_id": None}
        return self.lose(row, error_code="org.odoo.room_not_created")

    def test_a_text_that_was_edited_while_nothing_was_posted_is_sent_as_it_is_now(self):
        message = self.post()
        for index in range(2):
            log = self.lose(self.outbox()[0])
            self.env.cr.execute("DELETE FROM matrix_outbox")
            self.ticket.matrix_mirror_chatter = False
            self.edit(message, f"Text {index}")
            self.assert_refused(log, "not posted in its room any more")
            self.ticket.matrix_mirror_chatter = True

            self.again(log)[index]()
            self.commit()

            self.assertEqual(self.bodies()[0], f"Ann: Text {index}")
            self.assertNotIn(log.content["body"], self.bodies())

    def test_what_is_unchanged_is_sent_as_it_was(self):
        self.post()
        log = self.lose()

        log.action_retry()
        self.commit()

        [row] = self.outbox()
        self.assertEqual((row["txn_id"], row["content"]), (log.txn_id, log.content))

    def test_an_edit_that_failed_is_sent_again_unless_another_one_followed(self):
        message = self.post()
        self.log_all()
        self.edit(message, "First")
        first = self.lose()
        self.edit(message, "Second")
        second = self.lose()

        self.assert_refused(first, "edited again")
        second.action_send_again()
        self.assertEqual(self.bodies(), ["* Ann: Second"])

        self.log_all()
        message.sudo().unlink()
        self.commit()
        redacted = {row["content"]["org.odoo.changes"] for row in self.outbox()}
        sent = self.env["matrix.log"].search([("status", "=", "ok")])
        self.assertLessEqual(set(sent.mapped("txn_id")), redacted)
        self.env.cr.execute("DELETE FROM matrix_outbox")
        self.assert_refused(first, "deleted in Odoo")

    def test_a_deletion_that_failed_is_sent_again(self):
        message = self.post()
        self.log_all()
        message.sudo().unlink()
        self.commit()
        log = self.lose()

        log.action_retry()

        [row] = self.outbox()
        self.assertEqual(row["matrix_type"], "m.room.redaction")

    def test_retry_sends_no_chatter_to_a_room_that_the_record_has_no_more(self):
        """Edits would not follow it there."""
        message = self.post()
        log = self.lose()
        self.ticket.matrix_room_id = "!another:example.org"
        self.edit(message, "First")

        with self.assertRaisesRegex(UserError, "another room now. Click “Send Again”"):
            log.action_retry()
        log.action_send_again()
        self.commit()

        [row] = self.outbox()
        self.assertEqual(row["room_id"], "!another:example.org")
        self.assertEqual(row["content"]["body"], "Ann: First")

    def test_an_edit_is_not_sent_again_to_a_room_without_its_message(self):
        message = self.post()
        self.log_all()
        self.edit(message, "First")
        log = self.lose()
        self.ticket.matrix_room_id = "!another:example.org"

        self.assert_refused(log, "a room that the record no longer has")

    def test_what_failed_in_the_default_room_is_retried_there_before_there_is_another(
        self,
    ):
        self.backend.default_room_id = "!default:example.org"
        self.ticket.matrix_room_id = False
        self.post()
        log = self.lose()
        self.env["matrix.room.request"]._insert(self.ticket)
        self.commit()

        log.action_retry()

        [row] = self.outbox()
        self.assertEqual(row["room_id"], "!default:example.org")

    def test_posts_are_forgotten_once_they_are_neither_waiting_nor_in_the_log(self):
        mirrors = self.env["matrix.mirror"]
        self.env["ir.config_parameter"].set_param("mail_matrix.log_retention_days", "9")
        message = self.post()
        self.env.cr.execute("UPDATE matrix_mirror SET queued_at = '2020-01-01'")

        mirrors._gc_mirrors()
        self.assertTrue(mirrors._of(message), "Waiting")
        log = self.lose()
        mirrors._gc_mirrors()
        self.assertTrue(mirrors._of(message), "In the log")
        self.env.cr.execute("DELETE FROM matrix_log WHERE id = %s", [log.id])
        mirrors._gc_mirrors()
        mirrors.invalidate_model()
        self.assertFalse(mirrors._of(message))
