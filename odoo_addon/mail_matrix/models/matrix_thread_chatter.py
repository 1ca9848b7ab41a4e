from odoo import api, fields, models

# What people write. Notifications of the system are events of their own.
_WRITTEN = ("comment", "email", "email_outgoing")


class MatrixThreadMixin(models.AbstractModel):
    """The room reads along in the chatter, where the record says so."""

    _inherit = "matrix.thread.mixin"

    matrix_mirror_notes = fields.Boolean(
        string="Mirror Internal Notes Too",
        help="Notes are for colleagues. Turn on only if all in the room may read them.",
    )

    @api.model
    def _matrix_event_types(self):
        return [*super()._matrix_event_types(), "chatter"]

    def _message_post_after_hook(self, message, msg_vals):
        result = super()._message_post_after_hook(message, msg_vals)
        if self._matrix_reads_along(message):
            self.env["matrix.outbox"]._note(self, "chatter", message.id)
        return result

    def _matrix_reads_along(self, message):
        if not self.matrix_mirror_chatter or message.message_type not in _WRITTEN:
            return False
        # With all rights: what kind of message it is does not depend on who posts it.
        return self.matrix_mirror_notes or not message.sudo()._matrix_is_internal()
