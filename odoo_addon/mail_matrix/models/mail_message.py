from odoo import models
from odoo.tools import html2plaintext


class MailMessage(models.Model):
    _inherit = "mail.message"

    def _matrix_text(self):
        """Return this message as plain text, as a room reads it."""
        return html2plaintext(self.body or "").strip()
