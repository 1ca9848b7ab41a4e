from odoo import models


class MailThread(models.AbstractModel):
    _inherit = "mail.thread"

    def notify_cancel_by_type(self, notification_type):
        """Let people dismiss the failures of a model that they have seen."""
        super().notify_cancel_by_type(notification_type)
        if notification_type == "matrix":
            self._notify_cancel_by_type_generic("matrix")
        return True
