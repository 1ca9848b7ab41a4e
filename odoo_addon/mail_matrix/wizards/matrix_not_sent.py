from odoo import api, fields, models
from odoo.exceptions import UserError


class MatrixNotSent(models.TransientModel):
    """Why a chatter message is not in its room, and the button that sends it again."""

    _name = "matrix.not.sent"
    _description = "Chatter Message not Sent to Matrix"

    message_id = fields.Many2one(
        "mail.message", required=True, readonly=True, ondelete="cascade"
    )
    log_ids = fields.Many2many(
        "matrix.log", string="Failed Messages", compute="_compute_log_ids"
    )
    can_retry = fields.Boolean(compute="_compute_log_ids")

    @api.depends("message_id")
    def _compute_log_ids(self):
        for dialog in self:
            logs = dialog.message_id._matrix_failures()
            records = dialog._records_of(logs)
            dialog.log_ids = logs
            dialog.can_retry = bool(records) and all(
                record._matrix_is_user() and record.has_access("write")
                for record in records
            )

    @api.model
    def _records_of(self, logs):
        """Return the records in whose rooms the message was posted, as a list: several
        if its thread was merged into that of another record."""
        return [
            record
            for model, rows in logs.grouped("res_model").items()
            if model in self.env
            for record in self.env[model].browse(set(rows.mapped("res_id"))).exists()
        ]

    def action_retry(self):
        """Queue the message and its files again; the chatter shows that at once."""
        self.ensure_one()
        if not self.log_ids:
            # Handled by somebody else while the dialog was open.
            raise UserError(self.log_ids._queued_explanation())
        for record in self._records_of(self.log_ids):
            record._matrix_check_person()
        notification = self.log_ids._retry()
        self.env["matrix.mirror"]._of(self.message_id)._show_deliveries()
        notification["params"]["next"] = {"type": "ir.actions.act_window_close"}
        return notification
