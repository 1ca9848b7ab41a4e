from unittest.mock import patch

import psycopg2

from odoo.exceptions import ValidationError
from odoo.tests import tagged
from odoo.tools import mute_logger

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
