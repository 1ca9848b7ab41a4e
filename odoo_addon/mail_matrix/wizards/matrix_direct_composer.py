from odoo import api, fields, models
from odoo.exceptions import UserError


class MatrixDirectComposer(models.TransientModel):
    """Write to one person in Matrix."""

    _name = "matrix.direct.composer"
    _description = "Direct Message in Matrix"

    contact_id = fields.Many2one("matrix.contact", readonly=True)
    user_id = fields.Many2one("res.users", readonly=True)
    recipient = fields.Char(string="To", compute="_compute_recipient")
    body = fields.Text(string="Message", required=True)

    @api.depends("contact_id", "user_id")
    def _compute_recipient(self):
        for composer in self:
            name = composer.contact_id.display_name or composer.user_id.name or ""
            account = composer._account()
            composer.recipient = f"{name} ({account})" if name != account else account

    def _account(self):
        """Return the Matrix ID that the message goes to."""
        contact = self.contact_id
        contact.check_access("read")
        # With all rights: whoever may write to people need not see their accounts.
        return contact.matrix_user_id or self.user_id.sudo().matrix_user_id or ""

    def action_send(self):
        self.ensure_one()
        contacts = self.env["matrix.contact"]
        if self.contact_id:
            self.contact_id._enqueue_direct(self.body)
        else:
            contacts._matrix_check_user()
            backend = self.env["matrix.backend"]._active_for(self.env.company)
            if not backend or not self._account():
                raise UserError(
                    self.env._(
                        "This person has no Matrix account, or no Matrix backend is "
                        "active for this company."
                    )
                )
            contacts._enqueue_direct_to(backend, self._account(), self.body)
        return self.env["matrix.thread.mixin"]._matrix_queued_notification(
            {"type": "ir.actions.act_window_close"}
        )
