from odoo import fields, models


class MailNotification(models.Model):
    """What became of a message of the chatter in the room of its record."""

    _inherit = "mail.notification"

    notification_type = fields.Selection(
        selection_add=[("matrix", "Matrix")], ondelete={"matrix": "cascade"}
    )
