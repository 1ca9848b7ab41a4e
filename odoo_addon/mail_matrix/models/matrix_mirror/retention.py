from datetime import timedelta

from odoo import api, models
from odoo.tools import SQL

from ..matrix_log.retention import BATCH


class MatrixMirror(models.Model):
    """Deletes what is older than the log, one batch at a time."""

    _inherit = "matrix.mirror"

    @api.autovacuum
    def _gc_mirrors(self):
        """Delete the rows of posts that neither wait nor are in the log: the worker
        could not change their events, and nobody can send them again."""
        days = self.env["matrix.log"]._retention_days()
        if not days:
            return
        self.flush_model(["queued_at", "txn_id"])
        self.env.cr.execute(
            SQL(
                """
                DELETE FROM matrix_mirror WHERE id IN (
                    SELECT m.id FROM matrix_mirror AS m
                    WHERE m.queued_at < %s AND NOT EXISTS (
                        SELECT FROM matrix_outbox AS o WHERE o.txn_id = m.txn_id
                    ) AND NOT EXISTS (
                        SELECT FROM matrix_log AS l
                        WHERE l.res_model = m.res_model AND l.res_id = m.res_id
                            AND l.txn_id = m.txn_id
                    )
                    ORDER BY m.queued_at LIMIT %s
                )
                """,
                self.env.cr.now() - timedelta(days=days),
                BATCH,
            )
        )
        if self.env.cr.rowcount == BATCH:
            self.env.ref("base.autovacuum_job")._trigger()
