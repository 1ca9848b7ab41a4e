from datetime import timedelta

from odoo import api, fields, models

from ..tools import words

_MANAGER = "mail_matrix.group_matrix_manager"


class MatrixBackend(models.Model):
    """How the backend is, as far as workers told."""

    _inherit = "matrix.backend"

    state = fields.Selection(
        words.BACKEND_STATES, compute="_compute_status", groups=_MANAGER
    )
    state_reason = fields.Char(compute="_compute_status", groups=_MANAGER)
    state_since = fields.Datetime(compute="_compute_status", groups=_MANAGER)
    paused_until = fields.Datetime(compute="_compute_status", groups=_MANAGER)
    account = fields.Char(compute="_compute_status", groups=_MANAGER)
    waiting_count = fields.Integer(
        string="Waiting", compute="_compute_waiting", groups=_MANAGER
    )
    oldest_queued_at = fields.Datetime(
        string="Oldest Waiting", compute="_compute_waiting", groups=_MANAGER
    )
    sent_count = fields.Integer(
        string="Sent in 24 Hours", compute="_compute_delivered", groups=_MANAGER
    )
    failed_count = fields.Integer(
        string="Failed in 24 Hours", compute="_compute_delivered", groups=_MANAGER
    )
    worker_last_seen = fields.Datetime(compute="_compute_worker", groups=_MANAGER)
    worker_missing = fields.Boolean(compute="_compute_worker", groups=_MANAGER)

    @api.depends_context("uid")
    def _compute_status(self):
        statuses = self.env["matrix.backend.status"].search(
            [("backend_id", "in", self.ids)]
        )
        by_backend = {status.backend_id: status for status in statuses}
        for backend in self:
            status = by_backend.get(backend._origin, statuses.browse())
            backend.state = status.state
            backend.state_reason = status.reason
            backend.state_since = status.since
            backend.paused_until = status.paused_until
            backend.account = status.matrix_user_id

    @api.depends_context("uid")
    def _compute_waiting(self):
        groups = self.env["matrix.outbox"]._read_group(
            [("backend_id", "in", self.ids)],
            ["backend_id"],
            ["__count", "queued_at:min"],
        )
        found = {backend: (count, oldest) for backend, count, oldest in groups}
        for backend in self:
            count, oldest = found.get(backend._origin, (0, False))
            backend.waiting_count = count
            backend.oldest_queued_at = oldest

    @api.depends_context("uid")
    def _compute_delivered(self):
        since = self.env.cr.now() - timedelta(days=1)
        groups = self.env["matrix.log"]._read_group(
            [("backend_id", "in", self.ids), ("date", ">=", since)],
            ["backend_id", "status"],
            ["__count"],
        )
        counts = {(backend, status): count for backend, status, count in groups}
        for backend in self:
            backend.sent_count = counts.get((backend._origin, "ok"), 0)
            backend.failed_count = counts.get((backend._origin, "failed"), 0)

    def _compute_worker(self):
        workers = self.env["matrix.worker"]
        latest = workers.search([], limit=1)
        for backend in self:
            backend.worker_last_seen = latest.last_seen
            backend.worker_missing = backend.is_active and workers._all_silent()

    @api.model
    def get_worker_alert(self):
        """Return what the red banner of the Overview says, or nothing."""
        self.browse().check_access("read")
        active = self.sudo().search_count([("is_active", "=", True)], limit=1)
        if not active or not self.env["matrix.worker"]._all_silent():
            return False
        return self.env._(
            "No worker was seen for 2 minutes: messages wait and nothing is sent. "
            "Start odoo-matrix-worker, or ask who runs it."
        )

    def action_view_waiting(self):
        return self._open("mail_matrix.matrix_lane_action")

    def action_view_log(self):
        return self._open("mail_matrix.matrix_log_action")

    def action_view_failed(self):
        action = self._open("mail_matrix.matrix_log_action")
        action["context"] = {"search_default_failed": 1, "search_default_held": 1}
        return action

    def _open(self, xmlid):
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id(xmlid)
        action["domain"] = [("backend_id", "=", self.id)]
        return action
