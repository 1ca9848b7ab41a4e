from odoo import api, fields, models
from odoo.tools import SQL


class MatrixLane(models.Model):
    """A room or person with waiting messages, and the worker's progress with it."""

    _name = "matrix.lane"
    _inherit = "matrix.about.mixin"
    _description = "Waiting Matrix Room"
    _auto = False
    _log_access = False
    _order = "oldest_queued_at, id"
    _rec_name = "target"

    lane = fields.Char(readonly=True)
    backend_id = fields.Many2one("matrix.backend", readonly=True)
    target = fields.Char(string="Room or Person", readonly=True)
    waiting = fields.Integer(readonly=True)
    oldest_queued_at = fields.Datetime(string="Oldest", readonly=True)
    leased = fields.Boolean(
        string="Being Sent", readonly=True, help="A worker is sending these right now."
    )
    owner = fields.Char(string="Worker", readonly=True)
    retry_at = fields.Datetime(string="Next Try", readonly=True)
    attempts = fields.Integer(readonly=True)
    last_error = fields.Char(readonly=True)
    reason = fields.Char(compute="_compute_reason", help="Why they are not sent yet.")

    @property
    def _table_query(self):
        """The id and the record are those of the oldest message. An expired lease does
        not count.

        Only messages that this user may read are counted: records of several companies
        may share a room.
        """
        return SQL(
            """
            SELECT waits.*, oldest.res_model, oldest.res_id, lane.owner,
                lane.retry_at, lane.attempts, lane.last_error,
                COALESCE(lane.lease_until > now() AT TIME ZONE 'UTC', false) AS leased
            FROM (
                SELECT min(id) AS id, lane, min(backend_id) AS backend_id,
                    min(COALESCE(room_id, matrix_user_id)) AS target,
                    count(*) AS waiting, min(queued_at) AS oldest_queued_at
                FROM matrix_outbox
                WHERE %(readable)s
                GROUP BY lane
            ) AS waits
            LEFT JOIN matrix_outbox AS oldest ON oldest.id = waits.id
            LEFT JOIN matrix_lane AS lane ON lane.lane = waits.lane
            """,
            readable=self._readable(),
        )

    @api.model
    def _readable(self):
        """Return the condition that finds the rows of the outbox that this user may
        read."""
        if not self.env["matrix.backend"]._reads_some_only():
            return SQL("true")
        outbox = self.env["matrix.outbox"].sudo(False)
        companies = tuple(self.env.companies.ids)
        return outbox._once(
            ("readable", self.env.uid, companies),
            lambda: SQL("id IN %s", outbox._search([]).subselect()),
        )

    # What a list needs reads the table several times, each time with this condition.

    @api.model
    def web_search_read(self, *args, **options):
        with self.env["matrix.outbox"]._reading_once():
            return super().web_search_read(*args, **options)

    @api.model
    def web_read_group(self, *args, **options):
        # Before Odoo looks at what this was called with.
        self.check_access("read")
        with self.env["matrix.outbox"]._reading_once():
            return super().web_read_group(*args, **options)

    @api.depends_context("lang")
    @api.depends("last_error")
    def _compute_reason(self):
        notes = self.env["matrix.deliveries.mixin"]._matrix_waiting_notes(self)
        for row in self:
            row.reason = row.last_error or notes[row]

    def action_view_messages(self):
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "mail_matrix.matrix_outbox_action"
        )
        action["domain"] = [("lane", "=", self.lane)]
        return action

    def action_discard(self):
        """Discard everything that waits for these rooms; see matrix.outbox."""
        self.check_access("read")
        outbox = self.env["matrix.outbox"].search([("lane", "in", self.mapped("lane"))])
        return outbox.action_discard()
