from unittest.mock import patch

from odoo.tests import tagged
from odoo.tools import mute_logger

from odoo.addons.mail_matrix.models.matrix_inbound import early_edit

from .inbound import InboundCase


@tagged("post_install", "-at_install")
class TestInboundEarly(InboundCase):
    """An edit may come in before the message that it edits."""

    def test_an_edit_that_comes_before_its_message_waits_for_it(self):
        original = self.text("Frist")
        edits = [self.edit_of(original, body) for body in ("Second", "First")]
        for edit in (*edits, self.edit_of(original, "Not mine", sender="@x:m.org")):
            self.assertFalse(self.ingest(edit))

        [note] = self.ingest(original)

        self.assertIn("First", note.body)
        rows = self.env["matrix.inbound"].search([("kind", "=", "edit")])
        by_id = {row.event_id: row for row in rows}
        newest = by_id[edits[-1]["event_id"]]
        self.assertEqual(newest.message_id, note.id)
        kept = rows.filtered("kept_at")
        self.assertEqual(kept.sender, "@x:m.org")
        self.assertEqual(rows.filtered("event"), kept)
        [note] = self.ingest(self.edit_of(original, "Last"))
        self.assertIn("Last", note.body)

    def test_an_edit_waits_for_a_message_that_cannot_be_read_yet_or_has_failed(self):
        self.backend.encryption_mode = "encrypt"
        original = self.text("Frist")
        secret = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x"}
        unread = {**original, "type": "m.room.encrypted", "content": secret}
        self.assertFalse(self.ingest(unread, self.edit_of(original, "First")))
        [note] = self.ingest(original)
        self.assertIn("First", note.body)

        failed = self.text("Scond")
        with (
            patch.object(type(self.ticket), "message_post", side_effect=ValueError),
            mute_logger("odoo.addons.mail_matrix.models.matrix_inbound.inbound"),
        ):
            self.ingest(failed)
        self.ingest(self.edit_of(failed, "Second"))
        row = self.env["matrix.inbound"].search([("error", "!=", False)])
        row.with_user(self.manager).action_try_again()
        self.assertIn("Second", self.notes()[-1].body)

    def test_an_edit_whose_key_comes_late_does_not_replace_a_later_one(self):
        self.backend.encryption_mode = "encrypt"
        original = self.text("Frist")
        self.ingest(original)
        first = self.edit_of(original, "First")
        secret = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x"}
        unread = {**first, "type": "m.room.encrypted", "content": secret}
        self.ingest({**unread, "org.odoo.unreadable": "no key"})
        self.ingest(self.edit_of(original, "Second"))

        [note] = self.ingest(first)

        self.assertIn("Second", note.body)
        self.assertNotIn("First", note.body)
        self.assertNotIn("In reply to", note.body)

    def test_an_early_edit_that_is_deleted_cannot_be_read_in_its_note(self):
        original = self.text("Frist")
        edit = self.edit_of(original, "Secret")
        self.ingest(edit)
        [note] = self.ingest(original)
        self.assertIn("Secret", note.body)

        [note] = self.ingest(self.redaction_of(edit))

        self.assertNotIn("Secret", note.body)

    def test_a_message_comes_in_even_if_its_early_edit_cannot_be_applied(self):
        original = self.text("Frist")
        edit = self.edit_of(original, "Second")
        self.ingest(edit)
        with (
            patch.object(
                type(self.ticket), "_message_update_content", side_effect=ValueError
            ),
            mute_logger("odoo.addons.mail_matrix.models.matrix_inbound.inbound"),
        ):
            notes = self.ingest(original)

        self.assertEqual(len(notes), 1)
        self.assertIn("Frist", notes.body)
        rows = self.env["matrix.inbound"]
        failed = rows.search([("error", "!=", False)])
        self.assertEqual(failed.event_id, edit["event_id"])
        self.assertFalse(failed.kept_at)
        failed.with_user(self.manager).action_try_again()
        self.assertIn("Second", self.notes().body)
        self.assertFalse(failed.error)

    def test_edits_that_wait_are_bounded(self):
        rows = self.env["matrix.inbound"]
        originals = [self.text() for _number in range(3)]
        edits = [self.edit_of(original, "Edit") for original in originals]
        with patch.object(early_edit, "_MOST_KEPT", 2):
            self.ingest(*edits)
        kept = [("kept_at", "!=", False)]
        self.assertEqual(
            set(rows.search(kept).mapped("event_id")),
            {edit["event_id"] for edit in edits[1:]},
        )

        self.ingest(self.redaction_of(edits[1]))
        self.assertEqual(rows.search(kept).event_id, edits[2]["event_id"])
        rows.search(kept).kept_at = "2020-01-01"
        rows._gc_kept_edits()
        self.assertFalse(rows.search(kept))
        self.assertFalse(rows.search([]).filtered("event"))
        notes = self.ingest(*originals)
        self.assertEqual({"Hello" in note.body for note in notes}, {True})
