from datetime import datetime, timedelta
from unittest.mock import patch

from odoo.tests import tagged

from odoo.addons.mail_matrix.models.matrix_log import retention

from .common import TicketCase


@tagged("post_install", "-at_install")
class TestRetention(TicketCase):
    """Deliveries are kept for a time, then deleted."""

    def test_a_full_batch_calls_the_vacuum_again(self):
        self.clear_outbox()
        old = datetime.now() - timedelta(days=40)
        rows = [self.log_row(date=old + timedelta(hours=hour)) for hour in (2, 0, 1)]
        parameters = self.env["ir.config_parameter"]
        parameters.set_param("mail_matrix.log_retention_days", "30")
        logs = self.env["matrix.log"]

        vacuum = [("cron_id", "=", self.env.ref("base.autovacuum_job").id)]
        calls = self.env["ir.cron.trigger"].search_count(vacuum)

        with patch.object(retention, "BATCH", 2):
            for left in (rows[0], logs):
                logs._gc_deliveries()
                self.assertEqual(logs.search([]), left, "The oldest go first")
                again = self.env["ir.cron.trigger"].search_count(vacuum)
                self.assertEqual(again, calls + 1)

    def test_old_deliveries_are_deleted_after_their_time(self):
        log = self.log_row()
        old = datetime.now() - timedelta(days=40)
        self.env.cr.execute("UPDATE matrix_log SET date = %s", [old])
        parameters = self.env["ir.config_parameter"]
        for kept in ("", "0", "50", "for ever"):
            parameters.set_param("mail_matrix.log_retention_days", kept)
            self.env["matrix.log"]._gc_deliveries()
            self.assertTrue(log.exists(), kept)

        parameters.set_param("mail_matrix.log_retention_days", "30")
        self.env["matrix.log"]._gc_deliveries()
        self.assertFalse(log.exists())
