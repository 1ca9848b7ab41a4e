from datetime import timedelta

from odoo.exceptions import AccessError
from odoo.tests import tagged

from .common import TicketCase


@tagged("post_install", "-at_install")
class TestDeliveries(TicketCase):
    def outcomes(self):
        rows = self.as_user(self.ticket).get_matrix_deliveries()["rows"]
        return [(row["text"], row["outcome"]) for row in rows]

    def test_a_message_is_followed_until_it_is_sent(self):
        self.assertEqual(self.outcomes(), [])
        self.ticket._matrix_enqueue("manual", "Hello")
        self.assertEqual(self.outcomes(), [("Hello", "waiting")])

        row = self.outbox()[0]
        self.log(row, is_final=False, error_message="No answer")
        self.assertEqual(self.outcomes(), [("Hello", "held")])
        shown = self.ticket.get_matrix_deliveries()["rows"][0]
        self.assertEqual(shown["note"], "No answer")
        self.assertIn("Waiting for the homeserver", shown["outcome_text"])

        self.log(row, status="ok")
        self.assertEqual(self.outcomes(), [("Hello", "ok")])

    def test_a_failure_that_was_queued_again_is_shown_where_it_is_now(self):
        self.ticket._matrix_enqueue("manual", "Hello")
        log = self.log(self.outbox()[0], error_message="Not in this room")
        self.assertEqual(self.outcomes(), [("Hello", "failed")])

        self.as_user(self.ticket).action_matrix_retry(log.id)

        self.env.invalidate_all()
        self.assertEqual(self.outcomes(), [("Hello", "waiting")])

    def test_the_last_ones_are_shown_the_newest_first(self):
        for number in range(7):
            self.ticket._matrix_enqueue("manual", str(number))
        for row in self.outbox()[:4]:
            self.log(row, status="failed" if row["id"] % 2 else "ok")

        texts = [text for text, _outcome in self.outcomes()]
        self.assertEqual(texts, ["6", "5", "4", "3", "2"])

    def test_who_may_not_read_the_record_does_not_read_its_messages(self):
        portal = self.make_user("matrix-portal", "base.group_portal")
        with self.assertRaises(AccessError):
            self.ticket.with_user(portal).get_matrix_deliveries()["rows"]

    def test_who_has_nothing_to_do_with_matrix_does_not_read_them(self):
        colleague = self.make_user("colleague", "base.group_user")
        self.ticket.with_user(colleague).check_access("read")
        with self.assertRaises(AccessError):
            self.ticket.with_user(colleague).get_matrix_deliveries()["rows"]

    def note(self):
        self.env.invalidate_all()
        return self.as_user(self.ticket).get_matrix_deliveries()["rows"][0]["note"]

    def test_a_waiting_message_says_what_it_waits_for(self):
        self.ticket._matrix_enqueue("manual", "Hello")
        self.env.cr.execute("DELETE FROM matrix_worker")
        self.assertIn("No worker is running", self.note())
        self.worker_seen()
        self.assertFalse(self.note())
        self.backend_state("unauthorized")
        self.assertIn("Enter a valid access token", self.note())
        self.backend.is_active = False
        self.assertIn("turned off", self.note())

    def test_a_long_text_is_shortened(self):
        self.ticket._matrix_enqueue("manual", "long " * 5000)
        self.assertEqual(len(self.outcomes()[0][0]), 301)

    def test_the_backend_shows_its_health(self):
        self.ticket._matrix_enqueue("manual", "One")
        self.ticket._matrix_enqueue("manual", "Two")
        self.log(self.outbox()[0], status="ok")
        self.backend_state("down", reason="No answer")
        backend = self.backend.with_user(self.manager)

        self.assertEqual(backend.waiting_count, "1")
        self.assertTrue(backend.oldest_queued_at)
        self.assertEqual((backend.sent_count, backend.failed_count), (1, 0))
        self.assertEqual(backend.state, "down")
        self.assertIn("No answer", backend.state_note)
        for method in ("action_view_waiting", "action_view_log", "action_view_failed"):
            self.assertIn(self.backend.id, getattr(backend, method)()["domain"][0])

    def test_a_red_banner_shows_when_no_worker_runs(self):
        def seen(ago):
            self.env.cr.execute(
                "DELETE FROM matrix_worker; "
                "INSERT INTO matrix_worker (name, last_seen) VALUES ('w', %s)",
                [self.env.cr.now() - timedelta(seconds=ago)],
            )
            self.env.invalidate_all()

        self.env.cr.execute("DELETE FROM matrix_worker")
        backend = self.backend.with_user(self.manager)
        self.assertTrue(backend.worker_missing)
        seen(121)
        self.assertTrue(backend.worker_missing)
        self.assertTrue(self.env["matrix.worker"].search([]).silent)
        seen(60)
        self.assertFalse(backend.worker_missing)
        seen(121)
        self.backend.is_active = False
        self.assertFalse(backend.worker_missing, "Nothing waits without a backend")

    def test_settings_show_the_backends_health_and_lead_to_it(self):
        self.backend_state("down", reason="no answer")
        settings = self.env["res.config.settings"].create({})

        self.assertEqual(settings.matrix_backend_id, self.backend)
        self.assertEqual(settings.matrix_backend_state, "down")
        self.assertIn("No answer", settings.matrix_backend_note)
        action = settings.action_open_matrix_backend()
        self.assertEqual(action["res_id"], self.backend.id)

    def test_settings_lead_to_a_new_backend_where_there_is_none(self):
        self.backend.is_active = False
        settings = self.env["res.config.settings"].create({})

        self.assertFalse(settings.matrix_backend_id)
        self.assertFalse(settings.action_open_matrix_backend()["res_id"])

    def test_settings_keep_the_log(self):
        settings = self.env["res.config.settings"].create(
            {"matrix_log_retention_days": 0}
        )
        settings.execute()
        parameters = self.env["ir.config_parameter"]
        self.assertFalse(parameters.get_param("mail_matrix.log_retention_days"))
