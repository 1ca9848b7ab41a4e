from unittest.mock import patch

import psycopg2

from odoo.tests import tagged

from .test_chatter_changes import ChatterChangesCase


@tagged("post_install", "-at_install")
class TestChatterChangesBefore(ChatterChangesCase):
    """A message that is edited or deleted before it has left for its room."""

    def test_an_edit_before_sending_replaces_the_text_in_its_place(self):
        message = self.post()
        self.post("Second")
        before = self.outbox()

        self.edit(message, "First line")

        after = self.outbox()
        self.assertEqual(self.bodies(), ["Ann: First line", "Ann: Second"])
        self.assertEqual(after[0]["id"], before[0]["id"])
        self.assertEqual(after[0]["txn_id"], before[0]["txn_id"])
        self.assertEqual(after[0]["queued_at"], before[0]["queued_at"])
        self.assertEqual(after[0]["content"]["org.odoo.outbox"], after[0]["txn_id"])
        self.assertNotIn("m.new_content", after[0]["content"])

    def test_a_deletion_before_sending_leaves_only_a_line_in_the_log(self):
        message = self.post()

        self.edit(message, "", attachment_ids=[])

        self.assertEqual(self.outbox(), [])
        failed = self.failures()
        self.assertEqual([row["error_code"] for row in failed], ["org.odoo.deleted"])
        self.assertNotIn("Frist", str(failed))

    def test_a_message_that_is_emptied_before_sending_is_not_sent(self):
        message = self.post()

        message.sudo().unlink()
        self.commit()

        self.assertEqual(self.outbox(), [])

    def test_an_edit_in_the_transaction_of_the_message_is_posted_once(self):
        message = self.as_user(self.ticket).message_post(
            body="Frist", message_type="comment", subtype_xmlid="mail.mt_comment"
        )
        self.edit(message, "First")

        self.assertEqual(self.bodies(), ["Ann: First"])

    def test_a_message_that_a_worker_has_leased_is_edited_in_the_room(self):
        message = self.post()
        self.lane(lease_until="now() AT TIME ZONE 'UTC' + interval '1 min'")

        self.edit(message, "First line")

        original, edit = self.outbox()
        self.assertEqual(original["content"]["body"], "Ann: Frist line")
        self.assert_edits(edit, original["txn_id"], "Ann: First line")

    def test_a_message_that_a_worker_has_leased_is_redacted_in_the_room(self):
        message = self.post()
        self.lane(lease_until="now() AT TIME ZONE 'UTC' + interval '1 min'")

        message.sudo().unlink()
        self.commit()

        original, redaction = self.outbox()
        self.assertEqual(original["content"]["body"], "Ann: Frist line")
        self.assert_redacts(redaction, original["txn_id"])

    def test_what_was_tried_is_sent_without_its_text_and_redacted(self):
        """The homeserver may have it: its answer may have been lost."""
        for lane in (
            {"head_id": "1"},
            {"lease_until": "now() AT TIME ZONE 'UTC' - interval '1 s'"},
        ):
            with self.subTest(lane):
                self.clear_outbox()
                message = self.post()
                txn_id = self.outbox()[0]["txn_id"]
                epoch = self.lane(**lane)

                message.sudo().unlink()
                self.commit()

                original, redaction = self.outbox()
                self.assertEqual(original["txn_id"], txn_id)
                self.assertEqual(original["content"]["body"], "(deleted)")
                self.assert_redacts(redaction, txn_id)
                # Whoever lost the lease must not complete it with the old text.
                self.assertEqual(self.lane() > epoch, "lease_until" in lane)
                self.lane(head_id="NULL", lease_until="NULL")

    def test_what_was_tried_is_sent_edited_and_edited_in_the_room_too(self):
        message = self.post()
        self.lane(head_id="1", attempts="1")

        self.edit(message, "First line")

        original, edit = self.outbox()
        self.assertEqual(original["content"]["body"], "Ann: First line")
        self.assert_edits(edit, original["txn_id"], "Ann: First line")

    def test_a_lane_that_is_written_meanwhile_makes_nothing_fail(self):
        message = self.post()
        mirrors = self.env.registry["matrix.mirror"]

        def refuse(_mirror, _txn_id):
            raise psycopg2.errors.SerializationFailure("could not serialize access")

        with patch.object(mirrors, "_lane_sql", refuse):
            self.edit(message, "First line")

        self.assertEqual(len(self.outbox()), 2)
        self.assertEqual(self.failures(), [])
