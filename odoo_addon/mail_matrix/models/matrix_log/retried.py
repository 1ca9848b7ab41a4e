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
        same = [("txn_id", "=", self.txn_id)]
        if self.env["matrix.outbox"].search_count(same, limit=1):
            action = self.env["ir.actions.act_window"]._for_xml_id(
                "mail_matrix.matrix_outbox_action"
            )
            return {**action, "domain": same}
        latest = self.search(same, limit=1)
        return {
            "type": "ir.actions.act_window",
            "res_model": self._name,
            "res_id": latest.id,
            "views": [(False, "form")],
        }
