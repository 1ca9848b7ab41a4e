from odoo import models
from odoo.tools import SQL


class IrAttachment(models.Model):
    _inherit = "ir.attachment"

    def unlink(self):
        messages = self._matrix_posted_messages()
        result = super().unlink()
        # A message in the room lists the names of its files.
        messages.exists()._matrix_follow()
        return result

    def _matrix_posted_messages(self):
        """Return the messages with these files that were posted in a room."""
        if not self:
            return self.env["mail.message"]
        self.env["mail.message"].flush_model(["attachment_ids"])
        self.env["matrix.mirror"].flush_model(["message_id"])
        self.env.cr.execute(
            SQL(
                """
                SELECT DISTINCT m.message_id
                FROM message_attachment_rel AS r
                JOIN matrix_mirror AS m ON m.message_id = r.message_id
                WHERE r.attachment_id = ANY(%s)
                """,
                self.ids,
            )
        )
        ids = [message_id for (message_id,) in self.env.cr.fetchall()]
        return self.env["mail.message"].browse(ids)
