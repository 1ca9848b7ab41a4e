from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, tagged

from .common import ROOM, TicketCase


@tagged("post_install", "-at_install")
class TestManual(TicketCase):
    def test_the_test_button_says_hello(self):
        self.as_user(self.ticket).action_matrix_send_test()

        self.assertEqual(self.bodies(), ["Hello from Odoo"])
        self.assertEqual(self.outbox()[0]["event_type"], "test")

    def test_the_test_text_is_a_template_like_the_others(self):
        self.backend.template_test = "Hello from {{ object.name }}"

        self.as_user(self.ticket).action_matrix_send_test()

        (row,) = self.outbox()
        self.assertEqual(row["content"]["body"], "Hello from Leaking tap")
        self.assertIn(">Leaking tap</a>", row["content"]["formatted_body"])
        self.assertEqual(row["user_id"], self.user.id)

    def test_a_test_text_that_fails_says_who_can_fix_it(self):
        self.backend.template_test = "{{ object.echo }}"

        def fail(ticket):
            raise ZeroDivisionError("division")

        with (
            self.echoing(fail),
            self.assertRaisesRegex(UserError, "division.*Matrix Manager"),
        ):
            self.as_user(self.ticket).action_matrix_send_test()

    def test_what_was_typed_is_sent_as_it_is_and_the_field_is_emptied(self):
        text = 'Line 1\n<b>"Line 2"</b> \U0001f600'
        ticket = self.as_user(self.ticket)
        ticket.matrix_message = text
        ticket.action_matrix_send_message()

        (row,) = self.outbox()
        self.assertEqual(row["content"]["body"], text)
        self.assertEqual(row["content"]["msgtype"], "m.text")
        self.assertNotIn("formatted_body", row["content"])
        self.assertEqual(row["room_id"], ROOM)
        self.assertFalse(ticket.matrix_message)

    def test_a_typed_user_id_is_a_mention(self):
        self.ticket._matrix_enqueue("manual", "Ask @lawyer:example.org, please")

        content = self.outbox()[0]["content"]
        self.assertEqual(content["body"], "Ask @lawyer:example.org, please")
        self.assertEqual(content["m.mentions"], {"user_ids": ["@lawyer:example.org"]})
        self.assertEqual(
            content["formatted_body"],
            'Ask <a href="https://matrix.to/#/@lawyer:example.org">'
            "@lawyer:example.org</a>, please",
        )

    def test_a_user_id_in_the_text_of_an_event_mentions_nobody(self):
        self.ticket.name = "@lawyer:example.org"
        self.ticket.stage = "Done"
        self.commit()

        self.assertEqual(self.outbox()[-1]["content"]["m.mentions"], {})

    def test_what_jsonb_refuses_is_carried_over_unharmed(self):
        self.ticket._matrix_enqueue("manual", "a\x00b\ud800c")

        self.assertEqual(self.bodies(), ["abc"])

    def test_an_empty_text_is_refused(self):
        for text in ("", "  \n", "\x00"):
            with self.assertRaisesRegex(UserError, "empty"):
                self.ticket._matrix_enqueue("manual", text)

    def test_a_text_that_no_event_holds_is_refused_with_its_size(self):
        with self.assertRaisesRegex(UserError, "101 KB.*60 KB"):
            self.ticket._matrix_enqueue("manual", "x" * 100 * 1024)

        with self.assertRaisesRegex(UserError, "KB.*60 KB"):
            self.ticket._matrix_enqueue("manual", "x" * 5 * 1024 * 1024)
        self.ticket._matrix_enqueue("manual", "@a:b " + "<" * 55 * 1024)
        self.assertNotIn("formatted_body", self.outbox()[0]["content"])

    def test_the_record_shows_how_much_fits(self):
        with Form(self.ticket) as form:
            form.matrix_message = "Short"
            self.assertFalse(form.matrix_message_fullness)
            form.matrix_message = "x" * 48 * 1024
            self.assertEqual(form.matrix_message_fullness, "48 of 60 KB")

    def test_what_is_missing_is_named(self):
        self.ticket.matrix_room_id = False
        with self.assertRaisesRegex(UserError, "no Matrix room"):
            self.ticket._matrix_enqueue("manual", "Hello")

        self.backend.default_room_id = "!default:example.org"
        self.ticket._matrix_enqueue("manual", "Hello")
        self.assertEqual(self.outbox()[0]["room_id"], "!default:example.org")

        self.backend.is_active = False
        with self.assertRaisesRegex(UserError, "No Matrix backend"):
            self.ticket._matrix_enqueue("manual", "Hello")

        self.ticket.matrix_enabled = False
        with self.assertRaisesRegex(UserError, "turned off"):
            self.ticket._matrix_enqueue("manual", "Hello")

    def test_only_who_may_write_the_record_can_post_for_it(self):
        portal = self.make_user("matrix-portal", "base.group_portal")
        with self.assertRaises(AccessError):
            self.ticket.with_user(portal).action_matrix_send_test()
        self.assertEqual(self.outbox(), [])

    def test_an_invalid_room_is_refused_by_name(self):
        for room in ("room", "@a:example.org", "!a b"):
            with self.assertRaisesRegex(ValidationError, room):
                self.ticket.matrix_room_id = room
        with self.assertRaisesRegex(ValidationError, "alias"):
            self.ticket.matrix_room_alias = "case:example.org"
        self.ticket.matrix_room_id = "  !" + "x" * 43 + "\n"
        self.assertEqual(self.ticket.matrix_room_id, "!" + "x" * 43)
