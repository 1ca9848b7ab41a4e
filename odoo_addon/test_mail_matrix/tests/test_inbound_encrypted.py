from odoo.exceptions import UserError
from odoo.tests import tagged

from .inbound import ANNA, InboundCase

REASON = "the sender's device has not sent the key"


@tagged("post_install", "-at_install")
class TestInboundEncrypted(InboundCase):
    """What the worker could not decrypt is one line in Logs, until it can be read."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.backend.encryption_mode = "encrypt"

    @classmethod
    def unreadable(cls, reason=REASON, **values):
        about = {"type": "m.room.encrypted", "org.odoo.unreadable": reason}
        return cls.event({}, **about, **values)

    def logs(self):
        self.env.invalidate_all()
        return self.env["matrix.log"].with_user(self.manager).search([])

    def test_it_is_one_line_with_the_reason_and_what_to_do(self):
        event = self.unreadable()

        notes = self.ingest(event, event, names={ANNA: "Anna"})
        notes += self.ingest(event)

        self.assertFalse(notes)
        line = self.logs()
        self.assertEqual(
            (line.outcome, line.event_type, line.matrix_event_id),
            ("unreadable", "inbound", event["event_id"]),
        )
        self.assertEqual(line.payload, f"Message from Anna ({ANNA})")
        self.assertIn(REASON, line.error_message)
        self.assertIn("write it again", line.hint)
        self.assertEqual(
            (line.res_model, line.res_id), (self.ticket._name, self.ticket.id)
        )
        [row] = self.as_user(self.ticket).get_matrix_deliveries()["rows"]
        self.assertEqual((row["outcome"], row["can_retry"]), ("unreadable", False))

    def test_it_does_not_count_as_a_failure_and_cannot_be_sent(self):
        self.ingest(self.unreadable())

        overview = self.env["matrix.log"].with_user(self.manager).get_overview()
        self.assertEqual((overview["failed"], overview["sent"]), ("0", "0"))
        self.assertEqual(self.backend.with_user(self.manager).failed_count, 0)
        messages = self.env["matrix.message"].with_user(self.manager).search([])
        self.assertEqual(messages.mapped("outcome"), ["unreadable"])
        for action in ("action_retry", "action_send_again"):
            with self.assertRaisesRegex(UserError, "came from a room"):
                getattr(self.logs(), action)()

    def test_it_becomes_a_note_if_its_key_comes_later(self):
        event = self.unreadable()
        self.ingest(event)
        readable = self.text("Hello", event_id=event["event_id"])

        note = self.ingest(readable)

        self.assertIn("Hello", note.body)
        line = self.logs()
        self.assertEqual(line.outcome, "read_later")
        self.assertIn("in the chatter", line.error_message)
        self.assertIn("Nothing", line.hint)
        self.assertEqual(self.ingest(readable, event), note)
        self.assertEqual(len(self.logs()), 1)

    def test_what_was_deleted_meanwhile_does_not_appear(self):
        event = self.unreadable()
        readable = self.text("Hello", event_id=event["event_id"])

        self.assertFalse(self.ingest(event, self.redaction_of(event), readable))
        self.assertFalse(self.ingest(readable))

    def test_what_the_homeserver_sends_encrypted_does_not_hide_what_the_worker_reads(
        self,
    ):
        self.backend.inbound_mode = "appservice"
        encrypted = self.event({"ciphertext": "x"}, type="m.room.encrypted")

        self.assertFalse(self.ingest(encrypted))
        self.assertFalse(self.logs())

        readable = self.text("Hello", event_id=encrypted["event_id"])
        self.assertIn("Hello", self.ingest(readable, encrypted).body)

    def test_a_reason_is_one_short_line(self):
        self.ingest(self.unreadable("a\nb\u202e" + "ü" * 5000))

        self.assertIn(": a b ", self.logs().error_message)

    def test_where_encryption_is_not_set_up_there_is_no_line(self):
        self.backend.encryption_mode = "refuse"

        self.ingest(self.unreadable())

        self.assertFalse(self.logs())
        self.assertFalse(self.env["matrix.inbound"].search([]))
