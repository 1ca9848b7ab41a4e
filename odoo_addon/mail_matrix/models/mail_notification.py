from odoo import fields, models


class MailNotification(models.Model):
    """What became of a message of the chatter in the room of its record."""

    _inherit = "mail.notification"

    notification_type = fields.Selection(
        selection_add=[("matrix", "Matrix")], ondelete={"matrix": "cascade"}
    )

    def init(self):
        """Leave out what Odoo's own method does: it ran when mail was set up.

        In Odoo 18 it locks the table even where nothing is to do, and an upgrade of
        this addon would keep users from writing messages until its end.
        """
