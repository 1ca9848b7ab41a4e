from odoo import fields, models

from ..tools import words


class MatrixBackendStatus(models.Model):
    """What the workers know about a backend."""

    _name = "matrix.backend.status"
    _inherit = "matrix.table.mixin"
    _description = "Matrix Backend Health"
    _auto = False
    _log_access = False
    _rec_name = "state"

    backend_id = fields.Many2one("matrix.backend", readonly=True)
    state = fields.Selection(words.BACKEND_STATES, readonly=True)
    reason = fields.Char(readonly=True)
    paused_until = fields.Datetime(readonly=True)
    since = fields.Datetime(readonly=True)
    checked_at = fields.Datetime(readonly=True)
    matrix_user_id = fields.Char(string="Account", readonly=True)
    device_id = fields.Char(readonly=True)
    server_version = fields.Char(readonly=True)
