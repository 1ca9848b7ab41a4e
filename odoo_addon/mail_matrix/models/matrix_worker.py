from odoo import fields, models


class MatrixWorker(models.Model):
    """The heartbeat of a running worker."""

    _name = "matrix.worker"
    _inherit = "matrix.table.mixin"
    _description = "Matrix Worker"
    _auto = False
    _log_access = False
    _order = "last_seen desc"

    name = fields.Char(readonly=True)
    hostname = fields.Char(string="Host", readonly=True)
    pid = fields.Integer(string="Process", readonly=True)
    version = fields.Char(readonly=True)
    started_at = fields.Datetime(string="Started", readonly=True)
    last_seen = fields.Datetime(readonly=True)
    sent_total = fields.Integer(string="Sent", readonly=True)
    failed_total = fields.Integer(string="Failed", readonly=True)
