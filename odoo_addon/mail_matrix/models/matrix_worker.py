import re
from datetime import timedelta

from odoo import api, fields, models

_CONTRACT = re.compile(r"contract(\d+)")


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
    silent = fields.Boolean(
        compute="_compute_silent", help="No sign of life for two minutes."
    )
    can_encrypt = fields.Boolean(compute="_compute_can_encrypt")
    sent_total = fields.Integer(string="Sent", readonly=True)
    failed_total = fields.Integer(string="Failed", readonly=True)

    # The worker writes its heartbeat every few seconds.
    _SILENT_AFTER = timedelta(minutes=2)

    @api.depends("last_seen")
    def _compute_silent(self):
        limit = self.env.cr.now() - self._SILENT_AFTER
        for worker in self:
            worker.silent = not worker.last_seen or worker.last_seen < limit

    @api.depends("version")
    def _compute_can_encrypt(self):
        for worker in self:
            worker.can_encrypt = "encryption" in worker._version_says()

    def _version_says(self):
        """Return what the version says after “+”: the newest contract that the worker
        knows, and what it was built with."""
        return (self.version or "").partition("+")[2].split(".")

    def _contract(self):
        """Return the newest contract that this worker knows; 0 if its release did not
        say it yet."""
        found = map(_CONTRACT.fullmatch, self._version_says())
        return next((int(number[1]) for number in found if number), 0)

    @api.model
    def _running(self):
        """Return, with all rights, the workers that have shown a sign of life."""
        since = self.env.cr.now() - self._SILENT_AFTER
        return self.sudo().search([("last_seen", ">=", since)])

    @api.model
    def _can_encrypt(self):
        """Whether a running worker was built with encryption."""
        return any(self._running().mapped("can_encrypt"))

    @api.model
    def _all_silent(self):
        """Whether no worker at all has shown a sign of life lately."""
        latest = self.sudo().search([], limit=1)
        return not latest or latest.silent
