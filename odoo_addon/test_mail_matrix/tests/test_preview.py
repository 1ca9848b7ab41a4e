from odoo.tests import Form, tagged
from odoo.tools import mute_logger

from .common import TicketCase


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

    def test_a_text_that_the_database_refuses_ends_no_transaction(self):
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
