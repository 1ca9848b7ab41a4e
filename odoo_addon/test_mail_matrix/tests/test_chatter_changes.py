from unittest.mock import patch

from odoo.tests import tagged

from .common import ROOM, TicketCase


class ChatterChangesCase(TicketCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ticket.matrix_mirror_chatter = True
        cls.user.name = "Ann"

    def post(self, body="Frist line", **values):
        values = {
            "message_type": "comment",
            "subtype_xmlid": "mail.mt_comment",
            **values,
        }
        message = self.as_user(self.ticket).message_post(body=body, **values)
        self.commit()
        return message

    def edit(self, message, body, **values):
        # As the controller does, for the author.
        ticket = self.as_user(self.ticket).sudo()
        ticket._message_update_content(message.sudo(), body=body, **values)
        self.commit()

    def said(self):
        return [
            (row["matrix_type"], row["content"].get("body")) for row in self.outbox()
        ]

    def lane(self, **values):
        """Write what a worker knows of the lane."""
        lane = f"{self.backend.id}/{ROOM}"
        self.env.cr.execute(
            "INSERT INTO matrix_lane (lane) VALUES (%s) ON CONFLICT DO NOTHING", [lane]
        )
        for name, value in values.items():
            self.env.cr.execute(
                f"UPDATE matrix_lane SET {name} = {value} WHERE lane = %s",
                [lane],
            )
        self.env.cr.execute("SELECT epoch FROM matrix_lane WHERE lane = %s", [lane])
        return self.env.cr.fetchone()[0]

    def record_key(self):
        return self.ticket._name, self.ticket.id

    def assert_edits(self, row, txn_id, body):
        content = row["content"]
        self.assertEqual(row["matrix_type"], "m.room.message")
        self.assertEqual(content["org.odoo.changes"], txn_id)
        self.assertEqual(content["m.new_content"]["body"], body)
        self.assertEqual(content["body"], f"* {body}")
        self.assertEqual(content["org.odoo.outbox"], row["txn_id"])
        self.assertNotEqual(row["txn_id"], txn_id)

    def assert_redacts(self, row, txn_id):
        self.assertEqual(row["matrix_type"], "m.room.redaction")
        self.assertEqual(row["content"]["org.odoo.changes"], txn_id)
        self.assertEqual(row["content"]["reason"], "Deleted in Odoo")


@tagged("post_install", "-at_install")
class TestChatterChanges(ChatterChangesCase):
    """A message that is edited or deleted in Odoo is so in its room."""

    # Before it left.

    # When a worker may have sent it.

    # After it left.

    def test_an_edit_after_sending_is_an_edit_in_the_room(self):
        message = self.post()
        (sent,) = self.log_all()

        self.edit(message, "First line")

        (edit,) = self.outbox()
        self.assert_edits(edit, sent.txn_id, "Ann: First line")
        self.assertEqual(edit["room_id"], ROOM)
        self.assertEqual((edit["res_model"], edit["res_id"]), self.record_key())

    def test_a_deletion_after_sending_is_a_redaction(self):
        message = self.post()
        (sent,) = self.log_all()

        self.edit(message, "", attachment_ids=[])

        (redaction,) = self.outbox()
        self.assert_redacts(redaction, sent.txn_id)
        self.assertNotIn("Frist", str(redaction))

    def test_a_deletion_takes_the_text_of_edits_away_too(self):
        message = self.post()
        self.edit(message, "In between")
        sent = self.log_all()
        self.edit(message, "First line")
        sent += self.log_all()
        self.edit(message, "Last")
        (waiting,) = self.outbox()

        message.sudo().unlink()
        self.commit()

        redactions = self.outbox()
        self.assertEqual(len(sent), 2)
        for redaction, txn_id in zip(redactions, sent.mapped("txn_id"), strict=True):
            self.assert_redacts(redaction, txn_id)
        self.assertNotIn(waiting["txn_id"], [row["txn_id"] for row in redactions])

    def test_the_same_text_again_is_not_an_edit(self):
        message = self.post()
        self.log_all()

        message.sudo().write({"body": message.body})
        message.sudo().write({"pinned_at": "2026-01-01 00:00:00"})
        self.commit()

        self.assertEqual(self.outbox(), [])

    def test_a_second_edit_is_one_of_the_same_message(self):
        message = self.post()
        (sent,) = self.log_all()

        self.edit(message, "One")
        self.edit(message, "Two")

        for edit in self.outbox():
            self.assertEqual(edit["content"]["org.odoo.changes"], sent.txn_id)

    def test_a_removed_file_is_removed_from_the_text(self):
        message = self.post("See", attachments=[("plan.pdf", b"%PDF")])
        (sent,) = self.log_all()

        self.edit(message, None, attachment_ids=[])

        self.assert_edits(self.outbox()[0], sent.txn_id, "Ann: See")

    def test_a_file_that_is_deleted_is_gone_from_the_text_and_the_room(self):
        message = self.post("See", attachments=[("plan.pdf", b"%PDF")])
        alone = self.post("", attachments=[("photo.png", b"")])
        sent = self.log_all()

        (message + alone).attachment_ids.sudo().unlink()
        self.commit()

        edit, redaction = self.outbox()
        self.assert_edits(edit, sent[0].txn_id, "Ann: See")
        self.assert_redacts(redaction, sent[1].txn_id)

    def test_a_message_of_files_only_is_deleted_with_them(self):
        message = self.post("", attachments=[("plan.pdf", b"%PDF")])
        self.assertEqual(self.bodies(), ["Ann: 📎 plan.pdf"])
        (sent,) = self.log_all()

        self.edit(message, None, attachment_ids=[])

        self.assert_redacts(self.outbox()[0], sent.txn_id)

    def test_a_comment_that_becomes_a_note_leaves_the_room(self):
        message = self.post()
        (sent,) = self.log_all()

        message.sudo().subtype_id = self.env.ref("mail.mt_note")
        self.commit()

        self.assert_redacts(self.outbox()[0], sent.txn_id)

    def test_a_note_is_edited_only_where_notes_are_posted(self):
        message = self.post(subtype_xmlid="mail.mt_note")
        self.edit(message, "First line")
        self.assertEqual(self.outbox(), [])

        self.ticket.matrix_mirror_notes = True
        message = self.post(subtype_xmlid="mail.mt_note")
        self.log_all()
        self.edit(message, "First line")
        self.assertEqual(len(self.outbox()), 1)

    def test_a_room_that_no_longer_gets_chatter_gets_deletions_only(self):
        message = self.post()
        self.log_all()
        self.ticket.matrix_mirror_chatter = False

        self.edit(message, "First line")
        self.assertEqual(self.outbox(), [])
        message.sudo().unlink()
        self.commit()
        self.assertEqual(len(self.outbox()), 1)

    def test_what_is_written_later_is_not_posted_in_the_former_room(self):
        message = self.post()
        self.log_all()
        self.ticket.matrix_room_id = "!other:example.org"

        self.edit(message, "First line")

        self.assertEqual(self.outbox(), [])

    def test_nothing_is_queued_for_an_inactive_backend(self):
        message = self.post()
        self.log_all()
        self.backend.is_active = False

        message.sudo().unlink()
        self.commit()

        self.assertEqual(self.outbox(), [])

    # Other records.

    def other(self, room="!other:example.org"):
        other = self.ticket.create(
            {"name": "Other", "matrix_room_id": room, "matrix_mirror_chatter": True}
        )
        self.commit()
        self.clear_outbox()
        return other

    def test_a_message_of_another_record_moves_to_its_room(self):
        other = self.other()
        message = self.post()
        (sent,) = self.log_all()

        message.sudo().res_id = other
        self.commit()

        by_room = {row["room_id"]: row for row in self.outbox()}
        self.assert_redacts(by_room[ROOM], sent.txn_id)
        self.assertEqual(
            by_room["!other:example.org"]["content"]["body"], "Ann: Frist line"
        )

    def test_a_merged_thread_stays_in_the_room_where_it_was_posted(self):
        other = self.other()
        message = self.post()
        (sent,) = self.log_all()

        self.ticket.message_change_thread(other)
        self.edit_as_root(other, message, "First line")
        self.assertEqual(self.outbox(), [])

        message.sudo().unlink()
        self.commit()
        self.assert_redacts(self.outbox()[0], sent.txn_id)

    def edit_as_root(self, record, message, body):
        record._message_update_content(message, body=body, strict=False)
        self.commit()

    def test_a_record_that_is_deleted_leaves_its_history(self):
        self.post()
        self.log_all()

        self.ticket.unlink()
        self.commit()

        self.assertEqual(self.outbox(), [])
        self.assertFalse(self.env["matrix.mirror"].sudo().search([]))

    # Failures.

    def test_an_edit_whose_text_cannot_be_made_makes_nothing_fail(self):
        message = self.post()
        self.log_all()
        ticket = type(self.ticket)

        with patch.object(
            ticket, "_matrix_chatter_content", side_effect=ValueError("no")
        ):
            self.edit(message, "First line")

        self.assertIn("First line", message.body)
        self.assertEqual([row["error_message"] for row in self.failures()], ["no"])

    def test_what_was_deleted_since_is_not_sent_again(self):
        message = self.post()
        failed = self.log(self.outbox()[0])
        message.sudo().unlink()
        self.commit()
        self.clear_waiting()

        for action in ("action_retry", "action_send_again"):
            with self.subTest(action), self.assertRaisesRegex(Exception, "deleted in"):
                getattr(failed.with_user(self.manager), action)()

    def clear_waiting(self):
        self.env.cr.execute("DELETE FROM matrix_outbox")

    def test_what_was_edited_since_is_sent_again_as_it_is(self):
        for action in ("action_retry", "action_send_again"):
            with self.subTest(action):
                self.clear_outbox()
                message = self.post()
                failed = self.log(self.outbox()[0])
                self.edit(message, "First line")
                self.clear_waiting()

                getattr(failed.with_user(self.manager), action)()
                self.commit()

                self.assertIn("First line", self.bodies()[0])
                self.assertNotIn("Frist", str(self.outbox()))

    def test_what_is_older_than_the_log_is_deleted(self):
        self.post()
        self.clear_outbox()
        mirror = self.env["matrix.mirror"].sudo().search([])
        mirror.queued_at = "2020-01-01 00:00:00"
        self.env["ir.config_parameter"].set_param("mail_matrix.log_retention_days", 9)

        self.env["matrix.mirror"]._gc_mirrors()

        self.assertFalse(mirror.exists())
