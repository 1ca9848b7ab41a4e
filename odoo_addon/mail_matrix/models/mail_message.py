from odoo import models
from odoo.tools import html2plaintext


class MailMessage(models.Model):
    _inherit = "mail.message"

    def _matrix_text(self):
        """Return this message as plain text, with the names of its files."""
        text = html2plaintext(self.body or "").strip()
        files = [f"📎 {attachment.name}" for attachment in self.attachment_ids]
        return "\n".join(filter(None, [text, *files]))

    def _matrix_is_internal(self):
        return self.is_internal or self.subtype_id.internal or not self.subtype_id
