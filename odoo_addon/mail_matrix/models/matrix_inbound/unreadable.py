from odoo import models


class MatrixInbound(models.Model):
    """What could not be decrypted is a line in Logs, which says why.

    If its key comes later, the worker sends it again, and it becomes a note.
    """

    _inherit = "matrix.inbound"

    def _follow_unreadable(self, record, event):
        # In the language of the record, as its notes are.
        record = self._as_author(record, event.sender)
        text = record.env._("It is encrypted, and could not be read: %s.", event.text)
        name = self._name_of(event.sender)
        record.env["matrix.log"]._log_unreadable(self, name, text)
