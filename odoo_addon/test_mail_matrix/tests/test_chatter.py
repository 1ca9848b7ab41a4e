from odoo.tests import tagged

from .common import TicketCase


@tagged("post_install", "-at_install")
class TestChatter(TicketCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ticket.matrix_mirror_chatter = True
        cls.user.name = "Ann"

    def post(self, body, **values):
        values = {
            "message_type": "comment",
            "subtype_xmlid": "mail.mt_comment",
            **values,
        }
        message = self.as_user(self.ticket).message_post(body=body, **values)
        self.commit()
        return message

    def test_chatter_messages_are_posted_in_the_room(self):
        self.post("The tap is new.")

        self.assertEqual(self.bodies(), ["Ann: The tap is new."])
        self.assertEqual(self.outbox()[0]["event_type"], "chatter")

    def test_not_unless_the_record_and_the_backend_say_so(self):
        self.ticket.matrix_mirror_chatter = False
        self.post("One")
        self.ticket.matrix_mirror_chatter = True
        self.backend.notify_chatter = False
        self.post("Two")

        self.assertEqual(self.outbox(), [])

    def test_internal_notes_stay_in_odoo_unless_the_record_says_so(self):
        self.post("Secret", subtype_xmlid="mail.mt_note")
        self.assertEqual(self.outbox(), [])

        self.ticket.matrix_mirror_notes = True
        self.post("Not so secret", subtype_xmlid="mail.mt_note")
        self.assertEqual(self.bodies(), ["Ann: Not so secret"])

    def test_what_the_system_writes_is_not_mirrored(self):
        self.post("Done", message_type="notification")

        self.assertEqual(self.outbox(), [])

    def test_files_are_named(self):
        self.post("See", attachments=[("plan.pdf", b"%PDF")])

        self.assertEqual(self.bodies(), ["Ann: See\n📎 plan.pdf"])

    def test_notices_are_silent_where_the_backend_says_so(self):
        self.backend.message_type_chatter = "m.notice"
        self.post("Silent")

        self.assertEqual(self.outbox()[0]["content"]["msgtype"], "m.notice")
