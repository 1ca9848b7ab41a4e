import json
from datetime import timedelta, timezone
from unittest.mock import patch

import psycopg2

from odoo.exceptions import ValidationError
from odoo.tests import tagged
from odoo.tools import mute_logger

from odoo.addons.mail_matrix.tools import inbound

from .common import ROOM
from .inbound import ANNA, BOT, InboundCase

_ROWS = "odoo.addons.mail_matrix.models.matrix_inbound.inbound"


@tagged("post_install", "-at_install")
class TestInbound(InboundCase):
    """What people write in a room becomes a note in the record's chatter."""

    def test_a_message_is_a_note_by_the_user_of_that_account(self):
        self.user.sudo().matrix_user_id = ANNA

        note = self.ingest(self.text("See you\nat nine"))

        self.assertEqual(note.author_id, self.user.partner_id)
        self.assertEqual(note.body, "<p>See you<br>at nine</p>")
        self.assertEqual(note.subtype_id, self.env.ref("mail.mt_note"))
        self.assertNotIn(
            self.user.partner_id,
            self.ticket.message_partner_ids - self.ticket.create_uid.partner_id,
        )

    def test_a_stranger_is_named_by_the_bot_and_linked_to_nobody(self):
        namesake = self.make_user("anna", "base.group_user")
        namesake.name = "Anna"

        note = self.ingest(self.text("Hello"), names={ANNA: "Anna <b>\u202e"})

        bot = self.env.ref("mail_matrix.user_matrix_bot")
        self.assertEqual(note.author_id, bot.partner_id)
        self.assertIn(f"<b>Anna &lt;b&gt;</b> ({ANNA}):", note.body)
        self.assertNotIn("\u202e", note.body)

    def test_an_account_of_an_archived_user_is_a_stranger(self):
        self.user.sudo().matrix_user_id = ANNA
        self.user.active = False

        note = self.ingest(self.text("Hello"))

        self.assertIn("<b>anna</b>", note.body)

    def test_each_event_comes_in_once(self):
        event = self.text("Once")

        self.ingest(event, event)
        notes = self.ingest(event, self.text("Next"))

        self.assertEqual(len(notes), 2)

    def test_what_is_not_a_message_of_a_person_is_ignored(self):
        ignored = [
            self.text("Own", sender=BOT),
            self.text("Another Odoo", {"org.odoo.outbox": "odoo-1"}),
            self.event({"msgtype": "m.notice", "body": "A bot"}),
            self.event({"msgtype": "m.image", "body": "x.png", "file": {}}),
            self.event({"msgtype": "m.text"}),
            self.event({"msgtype": "m.text", "body": 7}),
            self.text("   \n"),
            self.text("Elsewhere", room_id="!other:example.org"),
            self.text("State", state_key=""),
            self.event({"ciphertext": "x"}, type="m.room.encrypted"),
            self.event({}, type="org.example.unknown"),
            self.text("No event", event_id="event"),
            self.text("No sender", sender="anna"),
            self.text("Long id", event_id="$" + "x" * 255),
            {"type": "m.room.message"},
            "text",
            None,
            [],
            self.event([]),
        ]

        self.assertFalse(self.ingest(*ignored))
        self.assertFalse(self.env["matrix.inbound"].search([]))

    def test_a_note_goes_to_no_room_again(self):
        self.ticket.matrix_mirror_chatter = True
        self.ticket.matrix_mirror_notes = True
        self.commit()
        self.clear_outbox()
        first = self.text("Hello")

        self.ingest(first, self.edit_of(first, "Hello all"), self.redaction_of(first))

        self.assertFalse(self.outbox())

    def test_two_databases_in_one_room_do_not_echo_each_other(self):
        """A person writes once; what each Odoo sends reaches the other one."""
        self.ticket.matrix_mirror_chatter = True
        self.ticket.matrix_mirror_notes = True
        said = self.ingest(self.text("Hello"))
        self.as_user(self.ticket).message_post(
            body="Fine", message_type="comment", subtype_xmlid="mail.mt_comment"
        )
        self.commit()
        [sent] = self.outbox()
        # The other database has the same room; its account is another one.
        other = self.event(sent["content"], sender="@other-odoo:example.org")
        self.clear_outbox()

        self.assertEqual(self.ingest(other), said)
        self.assertFalse(self.outbox())

    def test_nobody_gets_mail_about_a_note(self):
        follower = self.env["res.partner"].create({"name": "F", "email": "f@e.org"})
        self.ticket.message_subscribe(follower.ids)

        note = self.ingest(self.text("Hello"))

        self.assertFalse(note.notification_ids)
        self.assertFalse(
            self.env["mail.mail"].search([("mail_message_id", "=", note.id)])
        )

    def test_who_may_not_read_the_record_is_its_author_all_the_same(self):
        outsider = self.make_user("outsider", "base.group_user")
        outsider.matrix_user_id = ANNA

        note = self.ingest(self.text("Hello"))

        self.assertEqual(note.author_id, outsider.partner_id)

    # HTML

    def test_html_is_shown_without_what_it_could_do(self):
        html = (
            "<mx-reply><blockquote>old</blockquote></mx-reply><script>alert(1)</script>"
            '<p class="position-fixed" style="top:0" onclick="x()" data-oe-model="a">'
            '<strong>Hi</strong> <a href="javascript:alert(1)">bad</a> '
            '<a href="https://example.org/a?b=1&amp;c=2" title="t">good</a>'
            '<img src="https://tracker.example.org/x.png" onerror="x()">'
            '<form action="https://x"><input name="password"></form></p>'
        )
        content = {"format": "org.matrix.custom.html", "formatted_body": html}

        body = str(self.ingest(self.text("Hi bad good", content)).body)

        self.assertIn("<strong>Hi</strong>", body)
        self.assertIn('href="https://example.org/a?b=1&amp;c=2"', body)
        for word in ("script", "alert", "class", "style", "onclick", "data-", "img"):
            self.assertNotIn(word, body)
        for word in ("tracker", "<form", "<input", "mx-reply", "old", "title"):
            self.assertNotIn(word, body)

    def test_html_of_which_nothing_is_left_gives_way_to_the_text(self):
        for html in ("<img src='mxc://a/b'>", "<script>x</script>", ""):
            content = {"format": "org.matrix.custom.html", "formatted_body": html}
            note = self.ingest(self.text("Plain <b>", content))[-1]

            self.assertIn("<p>Plain &lt;b&gt;</p>", note.body)

    def test_deep_html_makes_nothing_fail(self):
        html = "<b>" * 15_000 + "deep"
        content = {"format": "org.matrix.custom.html", "formatted_body": html}

        note = self.ingest(self.text("deep", content))

        self.assertIn("deep", note.body)

    def test_characters_that_no_database_accepts_make_nothing_fail(self):
        note = self.ingest(self.text("a\x00b\ud800c"))

        self.assertIn("<p>abc</p>", note.body)
        self.assertFalse(self.env["matrix.inbound"].search([("error", "!=", False)]))

    # Changes

    def test_an_edit_by_its_author_changes_the_note(self):
        first = self.text("Frist")

        note = self.ingest(first, self.edit_of(first, "First"))

        self.assertEqual(len(note), 1)
        self.assertIn("First", note.body)
        self.assertNotIn("Frist", note.body)
        self.assertIn("anna", note.body)

    def test_an_edit_by_somebody_else_changes_nothing(self):
        first = self.text("First")
        other = self.edit_of(first, "Forged", sender="@eve:example.org")

        note = self.ingest(first, other, self.edit_of(other, "Chained"))

        self.assertIn("First", note.body)

    def test_an_edit_of_what_never_came_in_is_not_a_note(self):
        self.assertFalse(self.ingest(self.edit_of({"event_id": "$unknown"}, "New")))

    def test_what_is_deleted_in_the_room_has_no_text_any_more(self):
        first = self.text("Secret")
        [note] = self.ingest(first)

        self.ingest(self.redaction_of(first), self.edit_of(first, "Secret again"))

        self.assertNotIn("Secret", note.body or "")
        self.assertTrue(note.exists())

    def test_the_newest_edit_takes_its_text_along(self):
        first = self.text("One")
        second, third = self.edit_of(first, "Two"), self.edit_of(first, "Three")
        [note] = self.ingest(first, second, third)

        self.ingest(self.redaction_of(second))
        self.assertIn("Three", note.body)

        self.ingest(self.redaction_of(third))
        self.assertNotIn("Three", note.body or "")

    def test_older_rooms_name_what_is_deleted_elsewhere(self):
        first = self.text("Secret")
        redaction = self.event(
            {}, type="m.room.redaction", redacts=first["event_id"], sender="@mod:a.org"
        )

        note = self.ingest(first, redaction)

        self.assertNotIn("Secret", note.body or "")

    def test_a_note_that_was_deleted_in_odoo_stays_so(self):
        first = self.text("First")
        self.ingest(first).unlink()

        self.assertFalse(
            self.ingest(self.edit_of(first, "2"), self.redaction_of(first))
        )

    # Which record

    def test_a_record_where_matrix_is_off_gets_nothing(self):
        self.ticket.matrix_enabled = False

        self.assertFalse(self.ingest(self.text()))

    def test_a_room_of_another_backend_is_unknown(self):
        other = self.backend.copy({"name": "Other"})

        self.assertFalse(self.ingest(self.text(), backend=other))

    def test_of_several_records_the_one_that_receives_replies_gets_them(self):
        second = self.ticket.copy({"matrix_room_id": ROOM})

        self.assertTrue(self.ingest(self.text()))
        second.matrix_receives_replies = True
        self.ingest(self.text("For the second"))

        self.assertEqual(len(self.notes()), 1)
        self.assertIn("For the second", self.notes(second).body)

    def test_one_record_of_a_room_receives_replies(self):
        self.ticket.matrix_receives_replies = True
        with self.assertRaisesRegex(ValidationError, "Another record"):
            self.ticket.copy({"matrix_room_id": ROOM, "matrix_receives_replies": True})

    # Faults

    def test_one_event_that_fails_holds_up_no_other(self):
        rows = type(self.env["matrix.inbound"])
        follow = rows._follow_message

        def refuse(row, record, event):
            if event.text == "bad":
                self.env.cr.execute("SELECT 1 / 0")
            return follow(row, record, event)

        events = [self.text("one"), self.text("bad"), self.text("two")]
        with patch.object(rows, "_follow_message", refuse), mute_logger(_ROWS):
            with mute_logger("odoo.sql_db"):
                notes = self.ingest(*events)

        self.assertEqual(len(notes), 2)
        failed = self.env["matrix.inbound"].search([("error", "!=", False)])
        self.assertEqual(failed.error, "DivisionByZero")

        failed.with_user(self.manager).action_try_again()

        self.assertFalse(failed.error)
        self.assertIn("bad", self.notes()[-1].body)

    def test_an_error_of_the_database_makes_the_feed_send_again(self):
        rows = type(self.env["matrix.inbound"])
        busy = psycopg2.errors.SerializationFailure("could not serialize access")
        with patch.object(rows, "_follow_message", side_effect=busy):
            # pgcode is set by a server only.
            codes = "odoo.addons.mail_matrix.models.matrix_outbox.notes._RUN_AGAIN"
            with patch(codes, {None}), self.assertRaises(psycopg2.Error):
                self.ingest(self.text())

    def test_only_managers_see_what_came_in(self):
        self.ingest(self.text())
        rows = self.env["matrix.inbound"]

        self.assertTrue(rows.with_user(self.manager).search([]).record_ref)
        self.assertFalse(rows.with_user(self.user).has_access("read"))


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

        [note] = self.ingest(self.answer_to("$moved", "Good"))

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


@tagged("post_install", "-at_install")
class TestBatch(InboundCase):
    """What is not a batch is refused with the right answer."""

    def test_what_is_not_a_batch_is_refused(self):
        many = json.dumps({"events": [{}] * 101}).encode()
        for body, status in (
            (b"", 400),
            (b"{", 400),
            (b"[]", 400),
            (b"{}", 400),
            (b'{"events": {}}', 400),
            (b'{"events": ["\xff"]}', 400),
            ('{"events": []}'.encode("utf-16"), 400),
            (b"[" * 100_000, 400),
            (many, 413),
        ):
            with self.assertRaises(inbound.BadBatch) as raised:
                inbound.read_batch(body)
            self.assertEqual(raised.exception.status, status, body[:30])

    def test_a_hundred_events_are_accepted(self):
        events = [self.text(f"Number {number}") for number in range(100)]

        notes = self.ingest(*events)

        self.assertEqual(len(notes), 100)
        self.assertIn("Number 0<", notes[0].body)
        self.assertIn("Number 99<", notes[-1].body)

    def test_unbelievable_times_are_replaced(self):
        for stamp in (None, "1", -1, True, 2**70, 10**15, 1.5):
            [*_, note] = self.ingest(self.text(origin_server_ts=stamp))
            self.assertEqual(note.date, self.env.cr.now(), stamp)

    def test_what_waited_for_odoo_keeps_its_own_time(self):
        written = self.env.cr.now() - timedelta(hours=1)
        stamp = int(written.replace(tzinfo=timezone.utc).timestamp() * 1000)

        note = self.ingest(self.text(origin_server_ts=stamp))

        self.assertAlmostEqual(note.date, written, delta=timedelta(seconds=1))

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
