from odoo.exceptions import AccessError, RedirectWarning, UserError
from odoo.tests import Form, tagged
from odoo.tools import mute_logger

from .common import TicketCase

MY_ID = "@me:example.org"


@tagged("post_install", "-at_install")
class TestPreview(TicketCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.visit = cls.env["test.matrix.visit"].create({"ticket_id": cls.ticket.id})
        cls.commit()
        cls.clear_outbox()
        cls.backend.template_ticket_moved = "{{ object.echo }}"
        cls.previews = (
            cls.env["matrix.preview"]
            .with_user(cls.manager)
            .with_context(default_backend_id=cls.backend.id)
        )

    def preview(self, record, event_type="ticket_moved"):
        reference = f"{record._name},{record.id}"
        return self.previews.create({"event_type": event_type, "record_ref": reference})

    def test_it_opens_with_something_to_see(self):
        self.env["mail.activity"].search([]).unlink()

        form = Form(self.previews)

        self.assertTrue(form.record_ref)
        self.assertTrue(form.body)
        self.assertFalse(form.problem)

    def test_an_event_brings_a_record_that_it_can_happen_to(self):
        form = Form(self.previews)
        form.event_type = "visit_created"
        self.assertEqual(form.record_ref, f"{self.visit._name},{self.visit.id}")
        self.assertIn("Visit of Leaking tap", form.body)

        form.event_type = "ticket_created"
        self.assertTrue(form.record_ref.startswith("test.matrix.ticket,"))
        self.assertFalse(form.problem)

    def test_a_record_brings_an_event_that_can_happen_to_it(self):
        form = Form(self.previews)
        form.event_type = "ticket_created"
        form.record_ref = f"{self.visit._name},{self.visit.id}"

        self.assertEqual(form.event_type, "visit_created")
        self.assertIn("Visit of Leaking tap", form.body)

    def test_a_pair_that_does_not_fit_is_explained(self):
        preview = self.preview(self.visit)

        self.assertIn("does not exist for this kind of record", preview.problem)
        self.assertFalse(preview.body)

    def test_a_text_that_the_database_refuses_does_not_end_the_transaction(self):
        def fail(ticket):
            ticket.env.cr.execute("SELECT no_such_column")

        preview = self.preview(self.ticket)
        with self.echoing(fail), mute_logger("odoo.sql_db"):
            self.assertIn("no_such_column", preview.problem)

        self.assertEqual(self.ticket.search_count([("id", "=", self.ticket.id)]), 1)
        # The form, whose record is not saved, keeps what was chosen.
        with self.echoing(fail), mute_logger("odoo.sql_db"):
            form = Form(self.previews)
            form.record_ref = f"{self.ticket._name},{self.ticket.id}"
            form.event_type = "ticket_moved"
            self.assertIn("no_such_column", form.problem)
            self.assertEqual(form.record_ref, f"{self.ticket._name},{self.ticket.id}")

    def test_nothing_that_a_text_writes_is_kept(self):
        def write(ticket):
            ticket.write({"secret": "flushed", "stage": "Moved"})
            ticket.env.flush_all()
            ticket.write({"secret": "not flushed"})
            return "Written"

        preview = self.preview(self.ticket)
        with self.echoing(write):
            self.assertEqual(preview.body, "Written")

        self.commit()
        self.env.invalidate_all()
        self.assertFalse(self.ticket.secret)
        self.assertEqual(self.ticket.stage, "New")
        self.assertEqual(self.outbox(), [])

    def test_what_waits_to_be_written_is_seen_and_kept(self):
        self.ticket.name = "Renamed"

        self.assertEqual(self.preview(self.ticket).body, "Renamed")

        self.env.invalidate_all()
        self.assertEqual(self.ticket.name, "Renamed")

    def test_a_text_is_sent_to_me_as_the_room_would_read_it(self):
        self.manager.with_user(self.manager).matrix_user_id = MY_ID
        self.backend.template_ticket_moved = "{{ object.name }} moved"
        preview = self.preview(self.ticket)

        preview.action_send_to_me()

        [row] = self.outbox()
        self.assertEqual((row["event_type"], row["matrix_user_id"]), ("dm", MY_ID))
        self.assertEqual(row["lane"], f"{self.backend.id}/{MY_ID}")
        self.assertEqual(row["content"]["body"], preview.body)
        self.assertEqual(row["content"]["body"], "Leaking tap moved")
        self.assertIn(row["content"]["formatted_body"], preview.html)
        self.assertEqual(row["user_id"], self.manager.id)
        # Not a delivery of the record, and the sender's own line in the log.
        self.assertEqual((row["room_id"], row["res_model"], row["res_id"]), (None,) * 3)
        log = self.log(row, status="ok", room_id="!dm:example.org")
        self.assertEqual(log.with_user(self.manager).matrix_user_id, MY_ID)

    def test_a_chatter_text_that_is_sent_to_me_is_not_edited_later(self):
        self.manager.matrix_user_id = MY_ID
        message = self.ticket.message_post(body="Old", message_type="comment")
        self.commit()
        self.clear_outbox()

        self.preview(self.ticket, "chatter").action_send_to_me()
        message.body = "New"
        self.commit()

        self.assertEqual(len(self.bodies()), 1)
        self.assertIn("Old", self.bodies()[0])

    def test_without_a_matrix_id_my_preferences_are_offered(self):
        with self.assertRaisesRegex(RedirectWarning, "your Matrix ID") as refused:
            self.preview(self.ticket).action_send_to_me()

        _text, action, button, _context = refused.exception.args
        self.assertEqual(
            (action["res_model"], button), ("res.users", "Open Preferences")
        )
        self.assertEqual(action["res_id"], self.manager.id)
        users = self.env["res.users"].with_user(self.manager)
        arch = users.get_view(action["views"][0][0], "form")["arch"]
        self.assertIn('name="matrix_user_id"', arch)
        self.assertEqual(self.outbox(), [])

    def test_what_cannot_be_sent_to_me_says_why(self):
        self.manager.matrix_user_id = MY_ID
        with self.assertRaisesRegex(UserError, "for this kind of record"):
            self.preview(self.visit).action_send_to_me()
        self.backend_state("ok", matrix_user_id=MY_ID)
        with self.assertRaisesRegex(UserError, "Odoo itself"):
            self.preview(self.ticket).action_send_to_me()
        self.backend.is_active = False
        with self.assertRaisesRegex(UserError, "Turn it on first"):
            self.preview(self.ticket).action_send_to_me()
        self.assertEqual(self.outbox(), [])

    def test_only_managers_of_the_company_have_texts_sent(self):
        self.manager.matrix_user_id = MY_ID
        branch = self.env["res.company"].create({"name": "Branch"})
        elsewhere = self.backend.copy({"company_id": branch.id})
        preview = self.preview(self.ticket)
        with self.assertRaises(AccessError):
            preview.with_user(self.user).action_send_to_me()
        values = {"event_type": "ticket_moved", "backend_id": elsewhere.id}
        reference = f"{self.ticket._name},{self.ticket.id}"
        with self.assertRaises(AccessError):
            self.previews.create(
                {**values, "record_ref": reference}
            ).action_send_to_me()
        self.assertEqual(self.outbox(), [])
