from odoo import fields, models
from odoo.tools import SQL


class MatrixLog(models.Model):
    """The outcome of a failed message that was queued again."""

    _inherit = "matrix.log"

    was_retried = fields.Boolean(string="Queued Again", compute="_compute_was_retried")

    def _compute_was_retried(self):
        rows = self.env.execute_query(
            SQL(
                "SELECT log_id FROM matrix_requeue WHERE log_id = ANY(%s)",
                self._origin.ids,
            )
        )
        retried = {log_id for (log_id,) in rows}
        for row in self:
            row.was_retried = row._origin.id in retried

    def action_view_retried(self):
        """Open the message where it is now: in the list Waiting, or as a log line."""
        self.ensure_one()
        self.check_access("read")
        waiting = [("txn_id", "=", self.txn_id)]
        if self.env["matrix.outbox"].search_count(waiting, limit=1):
            action = self.env["ir.actions.act_window"]._for_xml_id(
                "mail_matrix.matrix_outbox_action"
            )
            return {**action, "domain": waiting}
        return {
            "type": "ir.actions.act_window",
            "res_model": self._name,
            # Without a limit, with which PostgreSQL might read the log from its end.
            "res_id": self.search(self._outcomes_domain())[:1].id,
            "views": [(False, "form")],
        }

    def _outcomes_domain(self):
        """Return the domain of the outcomes of this message.

        By its record, because the log has no index on transaction ids.
        """
        return [
            ("res_model", "=", self.res_model),
            ("res_id", "=", self.res_id),
            ("txn_id", "=", self.txn_id),
        ]
