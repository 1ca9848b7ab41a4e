from odoo import fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from .matrix_backend_connection import notification

_MANAGER = "mail_matrix.group_matrix_manager"


class MatrixBackend(models.Model):
    """Messages that wait at a backend which was turned off move to the one in charge.

    Like Discard, and unlike business transactions, this changes rows of the outbox.
    """

    _inherit = "matrix.backend"

    is_stranded = fields.Boolean(
        string="Turned Off with Waiting Messages",
        compute="_compute_is_stranded",
        groups=_MANAGER,
    )

    def _compute_is_stranded(self):
        for backend in self:
            backend.is_stranded = not backend.is_active and backend.oldest_queued_at

    def action_move_waiting(self):
        """Let the backends of today send what waits here, in its order.

        The rows keep their ids, so they go before what was queued since. Both lanes of
        a room are locked and their epochs raised: no worker holds one, and one that
        held it before and comes back is fenced.
        """
        self.ensure_one()
        self.env["matrix.log"]._check_manager()
        self.check_access("write")
        if self.is_active:
            raise UserError(
                self.env._(
                    "“%(backend)s” is active and sends its messages itself.",
                    backend=self.name,
                )
            )
        targets = self._move_targets()
        self.env.cr.execute(self._move_lanes_sql(targets))
        self.env.cr.execute(self._move_sql(targets))
        moved = self.env.cr.rowcount
        self.env.cr.execute("SELECT pg_notify('matrix_outbox', '')")
        self.env["matrix.outbox"].invalidate_model()
        self.invalidate_model()
        left = (
            self.env["matrix.outbox"]
            .sudo()
            .search_count([("backend_id", "=", self.id)])
        )
        message = self.env._("%(count)s moved.", count=moved)
        if left:
            message += " " + self.env._(
                "%(count)s stay: a worker is sending to these rooms just now. Try "
                "again in a minute.",
                count=left,
            )
        return notification(
            "warning" if left else "success",
            self.env._("Move Waiting Messages"),
            message,
            {"type": "ir.actions.client", "tag": "soft_reload"},
        )

    def _move_targets(self):
        """Return (model, id, backend id) for each record that messages here are about.

        Raises UserError where no other backend speaks for one of them.
        """
        self.env.cr.execute(
            """
            SELECT DISTINCT res_model, res_id FROM matrix_outbox WHERE backend_id = %s
            """,
            [self.id],
        )
        targets = []
        for model, res_id in self.env.cr.fetchall():
            record = None
            if model in self.env and "matrix_room_id" in self.env[model]._fields:
                record = self.env[model].sudo().browse(res_id).exists()
            backend = (
                record._matrix_backend()
                if record
                else self._active_for(self.company_id or self.env.company)
            )
            if not backend:
                raise UserError(
                    self.env._(
                        "No Matrix backend is active for the company of these "
                        "messages. Set one up first, or activate “%(backend)s” again.",
                        backend=self.name,
                    )
                )
            targets.append((model, res_id, backend.id))
        if not targets:
            raise UserError(
                self.env._("No messages wait at “%(backend)s”.", backend=self.name)
            )
        return targets

    def _moving_sql(self, targets):
        """Return a query of the rows that wait here and of where each one goes."""
        return SQL(
            """
            SELECT o.id, o.lane, t.backend_id,
                t.backend_id::text || '/' || COALESCE(o.room_id, o.matrix_user_id)
                    AS new_lane
            FROM matrix_outbox AS o
            JOIN unnest(%s::text[], %s::integer[], %s::integer[])
                AS t (res_model, res_id, backend_id)
                ON o.res_model IS NOT DISTINCT FROM t.res_model
                AND o.res_id IS NOT DISTINCT FROM t.res_id
            WHERE o.backend_id = %s
            """,
            [model for model, _res_id, _backend in targets],
            [res_id for _model, res_id, _backend in targets],
            [backend for _model, _res_id, backend in targets],
            self.id,
        )

    def _move_lanes_sql(self, targets):
        return SQL(
            """
            WITH moving AS (%s)
            INSERT INTO matrix_lane (lane)
            SELECT lane FROM moving UNION SELECT new_lane FROM moving ORDER BY 1
            ON CONFLICT (lane) DO NOTHING
            """,
            self._moving_sql(targets),
        )

    def _move_sql(self, targets):
        return SQL(
            """
            WITH moving AS MATERIALIZED (%s), pair AS MATERIALIZED (
                SELECT DISTINCT lane, new_lane FROM moving
            ), locked AS MATERIALIZED (
                SELECT lane FROM matrix_lane
                WHERE lane IN (SELECT lane FROM pair UNION SELECT new_lane FROM pair)
                    AND (lease_until IS NULL
                        OR lease_until < now() AT TIME ZONE 'UTC')
                ORDER BY lane
                FOR UPDATE SKIP LOCKED
            ), free AS MATERIALIZED (
                SELECT pair.* FROM pair
                JOIN locked AS old ON old.lane = pair.lane
                JOIN locked AS new ON new.lane = pair.new_lane
            ), fenced AS (
                UPDATE matrix_lane SET epoch = epoch + 1, lease_until = NULL
                WHERE lane IN (SELECT lane FROM free UNION SELECT new_lane FROM free)
            )
            UPDATE matrix_outbox AS o SET backend_id = moving.backend_id
            FROM moving JOIN free USING (lane, new_lane)
            WHERE o.id = moving.id
            """,
            self._moving_sql(targets),
        )
