from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from .connection import notification

_MANAGER = "mail_matrix.group_matrix_manager"


class MatrixBackend(models.Model):
    """Moves messages that wait at a backend that was turned off to the active one.

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
        """Let the backends that are active now send what waits here, in order.

        The rows keep their ids, so they are sent before what was queued since. Both
        lanes of a room are locked and their epochs raised: no worker has leased one,
        and a worker that had a lease and comes back is fenced. A first message that has
        failed keeps its attempts and its error, but not the time of its first failure:
        for the new account the time starts anew.
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
        moved = dict(self.env.execute_query(self._move_sql(targets)))
        self._let_look_before_sending(list(moved))
        self.env["matrix.outbox"].invalidate_model()
        self.env["matrix.mirror"].invalidate_model()
        self.invalidate_model()
        left = (
            self.env["matrix.outbox"]
            .sudo()
            .search_count([("backend_id", "=", self.id)])
        )
        parts = []
        if moved:
            parts.append(
                self.env._("Messages moved: %(count)s.", count=sum(moved.values()))
            )
        if left:
            parts.append(
                self.env._(
                    "Not moved: %(count)s. A worker is sending to these rooms right "
                    "now. Try again in a minute.",
                    count=left,
                )
            )
        return notification(
            "warning" if left else "success",
            self.env._("Move Waiting Messages"),
            " ".join(parts),
            {"type": "ir.actions.client", "tag": "soft_reload"},
        )

    @api.model
    def _let_look_before_sending(self, backend_ids):
        """Make workers read these backends again, as if they had been set up now.

        A message that the old backend tried may already be in its room, and the new
        account's homeserver does not know its transaction id: ``configured_at`` makes
        the worker search the room first. The state written here belongs to the previous
        configuration: it stops a worker that still uses that one from sending the moved
        messages without the search.
        """
        if not backend_ids:
            return
        self.env.cr.execute(
            """
            INSERT INTO matrix_backend_status AS s (backend_id, state, config_version)
            SELECT id, 'down', config_version FROM matrix_backend
            WHERE id = ANY(%(ids)s)
            ON CONFLICT (backend_id) DO UPDATE SET state = excluded.state,
                config_version = excluded.config_version
            WHERE s.state <> 'paused';
            UPDATE matrix_backend SET config_version = config_version + 1,
                configured_at = now() AT TIME ZONE 'UTC'
            WHERE id = ANY(%(ids)s)
            """,
            {"ids": sorted(backend_ids)},
        )
        self.env.cr.execute("SELECT pg_notify('matrix_outbox', '')")

    def _move_targets(self):
        """Return (model, id, backend id) for each record that messages here are about.

        Raises UserError if no other backend serves one of them.
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
        """Return a query of the rows that wait here, each with its new place."""
        return SQL(
            """
            SELECT o.id, o.txn_id, o.lane, t.backend_id,
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
                SELECT * FROM matrix_lane
                WHERE lane IN (SELECT lane FROM pair UNION SELECT new_lane FROM pair)
                    AND (lease_until IS NULL
                        OR lease_until < now() AT TIME ZONE 'UTC')
                ORDER BY lane
                FOR UPDATE SKIP LOCKED
            ), free AS MATERIALIZED (
                SELECT pair.*, head.id AS head_id, old.attempts, old.last_error,
                    old.first_failed_at IS NOT NULL AS has_failed
                FROM pair
                JOIN locked AS old ON old.lane = pair.lane
                JOIN locked AS new ON new.lane = pair.new_lane
                LEFT JOIN moving AS head ON head.id = old.head_id
                    AND head.new_lane = pair.new_lane
                    -- A message that holds up the new lane keeps its own history.
                    AND NOT EXISTS (
                        SELECT FROM matrix_outbox AS o
                        WHERE o.id = new.head_id AND o.lane = new.lane
                    )
            ), left_behind AS (
                UPDATE matrix_lane SET epoch = epoch + 1, lease_until = NULL,
                    retry_at = NULL, head_id = NULL, attempts = 0,
                    first_failed_at = NULL, last_error = NULL
                WHERE lane IN (SELECT lane FROM free)
            ), taken_over AS (
                UPDATE matrix_lane AS l SET epoch = epoch + 1, lease_until = NULL,
                    retry_at = CASE WHEN free.head_id IS NULL THEN retry_at END,
                    head_id = COALESCE(free.head_id, l.head_id),
                    attempts = CASE WHEN free.head_id IS NULL THEN l.attempts
                        ELSE free.attempts END,
                    -- Set, because its failed row is in the log already.
                    first_failed_at = CASE WHEN free.head_id IS NULL
                        THEN first_failed_at
                        WHEN has_failed THEN now() AT TIME ZONE 'UTC' END,
                    last_error = CASE WHEN free.head_id IS NULL THEN l.last_error
                        ELSE free.last_error END
                FROM free WHERE l.lane = free.new_lane
            ), followed AS (
                -- The account that sends a message now also sends its edits.
                UPDATE matrix_mirror AS m SET backend_id = moving.backend_id
                FROM moving JOIN free USING (lane, new_lane)
                WHERE m.txn_id = moving.txn_id
            ), moved AS (
                UPDATE matrix_outbox AS o SET backend_id = moving.backend_id
                FROM moving JOIN free USING (lane, new_lane)
                WHERE o.id = moving.id
                RETURNING o.backend_id
            )
            SELECT backend_id, count(*) FROM moved GROUP BY backend_id
            """,
            self._moving_sql(targets),
        )
