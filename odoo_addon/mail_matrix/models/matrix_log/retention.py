from datetime import timedelta

from odoo import api, models
from odoo.tools import SQL

_PARAMETER = "mail_matrix.log_retention_days"
BATCH = 10_000


class MatrixLog(models.Model):
    """Deletes old deliveries, one batch at a time."""

    _inherit = "matrix.log"

    @api.model
    def _retention_days(self):
        """Return how long deliveries are kept; 0 for ever."""
        text = self.env["ir.config_parameter"].sudo().get_param(_PARAMETER) or ""
        # The settings delete the parameter where 0 was entered.
        return int(text) if text.isdecimal() else 0

    @api.model
    def _delete_older_than_log(self, model, date):
        """Delete one batch of the rows of ``model`` whose ``date`` is before the log
        begins, and call the vacuum again while there are more."""
        days = self._retention_days()
        if not days:
            return
        before = self.env.cr.now() - timedelta(days=days)
        old = self.env[model].sudo().search([(date, "<", before)], limit=BATCH)
        old.unlink()
        if len(old) == BATCH:
            self.env.ref("base.autovacuum_job")._trigger()

    @api.autovacuum
    def _gc_deliveries(self):
        """Delete one batch of old rows, and call the vacuum again while there are
        more."""
        days = self._retention_days()
        if not days:
            return
        self.env.cr.execute(
            SQL(
                """
                DELETE FROM matrix_log WHERE id IN (
                    SELECT id FROM matrix_log WHERE date < %s ORDER BY date LIMIT %s
                )
                """,
                self.env.cr.now() - timedelta(days=days),
                BATCH,
            )
        )
        is_full = self.env.cr.rowcount == BATCH
        self.env.cr.execute(
            """
            DELETE FROM matrix_requeue
            WHERE log_id < (SELECT COALESCE(min(id), 0) FROM matrix_log)
            """
        )
        # With these rows a Retry would have found its file on the homeserver.
        self.env.cr.execute(
            SQL(
                "DELETE FROM matrix_upload WHERE date < %s",
                self.env.cr.now() - timedelta(days=days),
            )
        )
        if is_full:
            self.env.ref("base.autovacuum_job")._trigger()
