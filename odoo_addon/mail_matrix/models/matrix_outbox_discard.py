from odoo import models
from odoo.exceptions import UserError
from odoo.tools import SQL

from ..tools import words


class MatrixOutbox(models.Model):
    """A manager gives up messages that wait."""

    _inherit = "matrix.outbox"

    def action_discard(self):
        """Delete waiting messages and log them as failed, in one statement.

        Messages of a room that a worker holds just now are left alone: they may be on
        their way. The lock on the lane keeps a worker from taking it meanwhile.
        """
        self.env["matrix.log"]._check_manager()
        self.check_access("read")
        reason = self.env._("Discarded by %(user)s.", user=self.env.user.name)
        self.env.cr.execute(
            SQL(
                """
                INSERT INTO matrix_lane (lane)
                SELECT DISTINCT lane FROM matrix_outbox WHERE id = ANY(%(ids)s)
                ON CONFLICT (lane) DO NOTHING
                """,
                ids=self.ids,
            )
        )
        self.env.cr.execute(
            SQL(
                """
                WITH free AS MATERIALIZED (
                    SELECT lane FROM matrix_lane
                    WHERE lane IN (SELECT lane FROM matrix_outbox WHERE id =
                        ANY(%(ids)s)) AND (lease_until IS NULL
                            OR lease_until < now() AT TIME ZONE 'UTC')
                    ORDER BY lane
                    FOR UPDATE SKIP LOCKED
                ), gone AS (
                    DELETE FROM matrix_outbox AS o USING free
                    WHERE o.id = ANY(%(ids)s) AND o.lane = free.lane
                    RETURNING o.*
                )
                INSERT INTO matrix_log (outbox_id, backend_id, event_type, res_model,
                    res_id, room_id, matrix_user_id, matrix_type, payload, content,
                    txn_id, attachment_id, status, error_code, error_message, queued_at,
                    user_id)
                SELECT id, backend_id, event_type, res_model, res_id, room_id,
                    matrix_user_id, matrix_type, content ->> 'body', content, txn_id,
                    attachment_id, 'failed', %(code)s, %(reason)s, queued_at, user_id
                FROM gone ORDER BY id
                """,
                ids=self.ids,
                code=words.ERROR_DISCARDED,
                reason=reason,
            )
        )
        discarded = self.env.cr.rowcount
        if not discarded:
            raise UserError(
                self.env._(
                    "A worker is sending these messages just now. Try again in a "
                    "minute."
                )
            )
        self.invalidate_model()
        message = self.env._("%(count)s discarded.", count=discarded)
        if discarded < len(self):
            message += " " + self.env._("The others are being sent just now.")
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "info",
                "message": message,
                "next": {"type": "ir.actions.client", "tag": "soft_reload"},
            },
        }
