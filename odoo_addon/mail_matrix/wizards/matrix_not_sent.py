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
            record = dialog._record_of(logs)
            dialog.log_ids = logs
            dialog.can_retry = bool(record) and (
                record._matrix_is_user() and record.has_access("write")
            )

    @api.model
    def _record_of(self, logs):
        """Return the record in whose room the message belongs, or nothing."""
        model = self.env.get(logs[:1].res_model)
        return model is not None and model.browse(logs[:1].res_id).exists()

    def action_retry(self):
        """Queue the message and its files again; the chatter shows that at once."""
        self.ensure_one()
        if not self.log_ids:
            # Handled by somebody else while the dialog was open.
            raise UserError(self.log_ids._queued_explanation())
        self._record_of(self.log_ids)._matrix_check_person()
        notification = self.log_ids._retry()
        self.env["matrix.mirror"]._of(self.message_id)._show_deliveries()
        notification["params"]["next"] = {"type": "ir.actions.act_window_close"}
        return notification
