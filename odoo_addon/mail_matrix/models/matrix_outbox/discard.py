from odoo import models
from odoo.exceptions import UserError
from odoo.tools import SQL

from ...tools import words


class MatrixOutbox(models.Model):
    """A manager discards waiting messages."""

    _inherit = "matrix.outbox"

    def action_discard(self):
        """Delete waiting messages and log them as failed, in one statement.

        Messages of a lane that a worker has leased are left alone, because they may be
        in flight. The lock on the lane keeps workers from leasing it meanwhile, and the
        next epoch fences a worker whose lease has ended and that comes back later.
        """
        return self._discard()

    def _discard(self, early_ids=()):
        """Discard these, and messages whose rooms are still being created."""
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
                    SELECT lane, lease_until FROM matrix_lane
                    WHERE lane IN (SELECT lane FROM matrix_outbox WHERE id =
                        ANY(%(ids)s)) AND (lease_until IS NULL
                            OR lease_until < now() AT TIME ZONE 'UTC')
                    ORDER BY lane
                    FOR UPDATE SKIP LOCKED
                ), fenced AS (
                    UPDATE matrix_lane AS l
                    SET epoch = l.epoch + 1, lease_until = NULL
                    FROM free WHERE l.lane = free.lane
                ), gone AS (
                    DELETE FROM matrix_outbox AS o USING free
                    WHERE o.id = ANY(%(ids)s) AND o.lane = free.lane
                    -- A released lease has no end time, so this worker has vanished.
                    RETURNING o.*, free.lease_until > o.queued_at AS may_be_sent
                )
                INSERT INTO matrix_log (outbox_id, backend_id, event_type, res_model,
                    res_id, room_id, matrix_user_id, matrix_type, payload, content,
                    txn_id, attachment_id, status, error_code, error_message, queued_at,
                    user_id)
                SELECT id, backend_id, event_type, res_model, res_id, room_id,
                    matrix_user_id, matrix_type, content ->> 'body', content, txn_id,
                    attachment_id, 'failed', %(code)s,
                    CASE WHEN may_be_sent THEN %(unsure)s ELSE %(reason)s END,
                    queued_at, user_id
                FROM gone ORDER BY id
                """,
                ids=self.ids,
                code=words.ERROR_DISCARDED,
                reason=reason,
                unsure=reason
                + " "
                + self.env._(
                    "The worker that was sending to this room has stopped: check "
                    "in the room whether the message arrived."
                ),
            )
        )
        discarded = self.env.cr.rowcount
        # With all rights: nobody may read these directly.
        early = self.env["matrix.early.message"].sudo().browse(early_ids)
        discarded += early._log_unsent(words.ERROR_DISCARDED, reason)
        if not discarded:
            raise UserError(
                self.env._(
                    "A worker is sending these messages right now. Try again in a "
                    "minute."
                )
            )
        self.invalidate_model()
        message = self.env._("Messages discarded: %(count)s.", count=discarded)
        if discarded < len(self) + len(early):
            message += " " + self.env._("The other messages are being sent right now.")
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "info",
                "message": message,
                "next": {"type": "ir.actions.client", "tag": "soft_reload"},
            },
        }
