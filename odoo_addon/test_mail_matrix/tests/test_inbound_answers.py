from odoo.tests import tagged

from .common import ROOM
from .inbound import InboundCase


@tagged("post_install", "-at_install")
class TestAnswers(InboundCase):
    """Answers are shown under what they answer; reactions at the delivery."""

    def deliver(self, event_id="$sent", body="The hearing is on Friday"):
        """Let the room read a message of the chatter; return it."""
        self.ticket.matrix_mirror_chatter = True
        message = self.as_user(self.ticket).message_post(
            body=body, message_type="comment", subtype_xmlid="mail.mt_comment"
        )
        self.commit()
        for row in self.outbox():
            self.log(row, status="ok", matrix_event_id=event_id)
        return message

    def test_an_answer_to_a_delivered_message_is_shown_under_it(self):
        message = self.deliver()

        [note] = self.ingest(self.answer_to("$sent", "> <@odoo:a.org> x\n\nFine"))

        self.assertEqual(note.parent_id, message)
        self.assertIn("In reply to: The hearing is on Friday", note.body)
        self.assertIn("<p>Fine</p>", note.body)
        self.assertNotIn("@odoo", note.body)

    def test_an_answer_in_a_thread_is_shown_under_its_root(self):
        message = self.deliver()
        relation = {
            "rel_type": "m.thread",
            "event_id": "$sent",
            "is_falling_back": True,
            "m.in_reply_to": {"event_id": "$other"},
        }

        [note] = self.ingest(self.text("Fine", {"m.relates_to": relation}))

        self.assertEqual(note.parent_id, message)

    def test_an_answer_to_a_note_is_shown_under_it(self):
        first = self.text("First")
        answer = self.answer_to(first["event_id"], "Second")

        note, second = self.ingest(first, answer)
        self.ingest(self.edit_of(answer, "Third"))

        self.assertEqual(second.parent_id, note)
        self.assertIn("In reply to", second.body)
        self.assertIn("Third", second.body)

    def test_an_answer_to_an_event_names_it(self):
        self.log_row(
            res_model=self.ticket._name,
            res_id=self.ticket.id,
            payload="Ticket moved",
            matrix_event_id="$moved",
        )

        answer = self.answer_to("$moved", "Good")
        self.ingest(answer)
        [note] = self.ingest(self.edit_of(answer, "Very good"))

        self.assertIn("In reply to: Ticket moved", note.body)

    def test_an_answer_goes_to_the_record_of_its_message(self):
        second = self.ticket.copy({"matrix_room_id": ROOM})
        self.log_row(
            res_model=second._name,
            res_id=second.id,
            payload="Second",
            matrix_event_id="$second",
        )

        self.assertFalse(self.ingest(self.answer_to("$second", "Good")))
        self.assertEqual(len(self.notes(second)), 1)

    def reactions(self):
        rows = self.as_user(self.ticket).get_matrix_deliveries()["rows"]
        self.env["matrix.log"].invalidate_model(["reactions"])
        return [row["reactions"] for row in rows]

    def test_reactions_are_shown_at_the_delivery(self):
        self.deliver()
        eve = self.reaction_to("$sent", sender="@eve:example.org")
        check = self.reaction_to("$sent", "✅")

        notes = self.ingest(self.reaction_to("$sent"), check, eve)

        self.assertFalse(notes)
        self.assertEqual(self.reactions(), ["👍 2  ✅"])

        self.ingest(self.redaction_of(eve), self.redaction_of(check))

        self.assertEqual(self.reactions(), ["👍"])

    def test_a_reaction_to_something_else_is_shown_nowhere(self):
        self.deliver()

        self.ingest(
            self.reaction_to("$other"),
            self.reaction_to("$sent", ""),
            self.reaction_to("$sent", "x" * 33),
            self.reaction_to("$sent", "👎", room_id="!other:example.org"),
        )

        self.assertEqual(self.reactions(), [""])

    def test_an_answer_to_something_unknown_is_a_note(self):
        self.assertTrue(self.ingest(self.answer_to("$unknown", "Good")))

    def test_an_answer_in_a_thread_finds_its_record_when_the_log_has_forgotten_it(self):
        twin = self.ticket.copy({"matrix_room_id": ROOM})
        self.env.cr.execute(
            "INSERT INTO matrix_thread (res_model, res_id, room_id, root_event_id) "
            "VALUES (%s, %s, %s, '$root')",
            [twin._name, twin.id, ROOM],
        )
        relation = {
            "rel_type": "m.thread",
            "event_id": "$root",
            "is_falling_back": True,
            "m.in_reply_to": {"event_id": "$last"},
        }
        self.ingest(self.text("In the thread", {"m.relates_to": relation}))
        self.assertFalse(self.notes())
        self.assertIn("In the thread", self.notes(twin).body)
