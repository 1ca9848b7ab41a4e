from odoo import api, models
from odoo.exceptions import AccessError, UserError
from odoo.tools import SQL

from ..tools import content as contents


class MatrixLog(models.Model):
    """A manager queues failed messages again."""

    _inherit = "matrix.log"

    def action_retry(self):
        """Queue the failed messages again under their old transaction ids.

        A message that had arrived after all is not sent twice: the homeserver and the
        worker know its id.
        """
        messages = self._messages_to_requeue()
        self.env.cr.execute(
            SQL(
                """
                INSERT INTO matrix_outbox (backend_id, event_type, room_id,
                    matrix_user_id, matrix_type, content, txn_id, res_model, res_id,
                    attachment_id, user_id, queued_at)
                SELECT backend_id, event_type, CASE WHEN matrix_user_id IS NULL
                        THEN room_id END,
                    matrix_user_id, COALESCE(matrix_type, 'm.room.message'), content,
                    txn_id, res_model, res_id, attachment_id, user_id,
                    COALESCE(queued_at, date)
                FROM matrix_log AS failed
                WHERE id = ANY(%s) AND NOT EXISTS (
                    SELECT FROM matrix_log AS sent
                    WHERE sent.txn_id = failed.txn_id AND sent.status = 'ok'
                        AND sent.date >= failed.date
                )
                ORDER BY id
                ON CONFLICT (txn_id) DO NOTHING
                """,
                messages.ids,
            )
        )
        queued = self.env.cr.rowcount
        left = len(messages) - queued
        if not queued:
            raise UserError(
                self.env._("Already queued, or sent since: there is nothing to retry.")
            )
        return self._requeued_notification(queued, left)

    def action_send_again(self):
        """Queue the failed messages as new ones, under new transaction ids."""
        messages = self._messages_to_requeue()
        outbox = self.env["matrix.outbox"]
        rows = []
        for message in messages:
            row = outbox._row(
                message.backend_id,
                message.event_type,
                "",
                {
                    "backend_id": message.backend_id.id,
                    "room_id": not message.matrix_user_id and message.room_id,
                    "matrix_user_id": message.matrix_user_id,
                    "matrix_type": message.matrix_type or "m.room.message",
                    "res_model": message.res_model,
                    "res_id": message.res_id,
                    "attachment_id": message.attachment_id.id,
                },
            )
            row["content"] = {**message.content, contents.MARKER: row["txn_id"]}
            rows.append(row)
        outbox._insert_rows(rows)
        return self._requeued_notification(len(rows), 0)

    def _messages_to_requeue(self):
        """Return one row, with all rights, for each message that can be queued again.

        Raises UserError where there is none, with the reason.
        """
        self._check_manager()
        self.check_access("read")
        # With all rights: managers have none on what the worker writes but to read it.
        failed = self.sudo().filtered(lambda row: row.status == "failed").sorted("id")
        if not failed:
            raise UserError(
                self.env._("Only failed messages can be sent again: these were sent.")
            )
        final = failed.filtered("is_final")
        if not final:
            raise UserError(
                self.env._(
                    "Still queued: this will be sent when the homeserver is back."
                )
            )
        whole = final.filtered(lambda row: row.content and row.txn_id)
        if not whole:
            raise UserError(
                self.env._(
                    "There is no text to send: it could not be made. Mend the text on "
                    "the backend; the next event will use it."
                )
            )
        inactive = whole.filtered(lambda row: not row.backend_id.is_active)
        if inactive == whole:
            raise UserError(
                self.env._(
                    "The backend of these messages is not active, or was deleted: "
                    "%(backends)s. Activate it first.",
                    backends=", ".join(whole.backend_id.mapped("name")) or "–",
                )
            )
        latest = {row.txn_id: row for row in whole - inactive}
        return self.sudo().union(*latest.values())

    @api.model
    def _check_manager(self):
        if not self.env.user.has_group("mail_matrix.group_matrix_manager"):
            raise AccessError(
                self.env._("Only a Matrix Manager may send or discard messages again.")
            )

    def _requeued_notification(self, queued, left):
        message = self.env._("%(count)s queued.", count=queued)
        if left:
            message += " " + self.env._("%(count)s already queued or sent.", count=left)
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "success",
                "message": message,
                "next": {"type": "ir.actions.client", "tag": "soft_reload"},
            },
        }
