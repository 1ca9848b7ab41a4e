from odoo import fields, models


class MailNotification(models.Model):
    """The status of a chatter message in the room of its record."""

    _inherit = "mail.notification"

    notification_type = fields.Selection(
        selection_add=[("matrix", "Matrix")], ondelete={"matrix": "cascade"}
    )

    def init(self):
        """Skip Odoo's own method, which ran when mail was installed.

        In Odoo 18 it locks the table even if there is nothing to do, and an upgrade of
        this addon would keep users from writing messages until it ends.
        """
