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
        self.env["matrix.mirror"]._follow_requeued(
            (message, message.txn_id) for message in messages
        )
        left = len(messages) - queued
        if not queued:
            raise UserError(
                self.env._("Already queued, or sent since: there is nothing to retry.")
            )
        return self._requeued_notification(queued, left)

    def action_send_again(self):
        """Queue the failed messages as new ones, under new transaction ids.

        They go to the room that their record has now: the old one may be the reason why
        they failed. Raises UserError where that room must not have them.
        """
        messages = self._messages_to_requeue()
        outbox = self.env["matrix.outbox"]
        rows = []
        for message in messages:
            values = message._values_to_send_again()
            row = outbox._row(message.backend_id, message.event_type, "", values)
            content = {**message.content, contents.MARKER: row["txn_id"]}
            # The consent to stand readable is for one room.
            content.pop(contents.UNENCRYPTED, None)
            if values.get("unencrypted"):
                content[contents.UNENCRYPTED] = True
            row["content"] = content
            rows.append(row)
        outbox._insert_rows(rows)
        self.env["matrix.mirror"]._follow_requeued(
            (message, row["txn_id"])
            for message, row in zip(messages, rows, strict=True)
        )
        return self._requeued_notification(len(rows), 0)

    def _values_to_send_again(self):
        """Return what the new row holds besides its text."""
        self.ensure_one()
        values = {
            "backend_id": self.backend_id.id,
            "room_id": not self.matrix_user_id and self.room_id,
            "matrix_user_id": self.matrix_user_id,
            "matrix_type": self.matrix_type or "m.room.message",
            "res_model": self.res_model,
            "res_id": self.res_id,
            "attachment_id": self.attachment_id.id,
        }
        record = self._room_record()
        if not record or self.matrix_user_id:
            return values
        # A server action may have named a room of its own.
        own_room = self.event_type != "automation" and record.matrix_room_id
        room = own_room or self.room_id
        return {**values, **record._matrix_row_values(self.backend_id, room)}

    def _room_record(self):
        """Return the record whose room this is about, or None."""
        model = self.env.get(self.res_model)
        if model is None or "matrix_room_id" not in model._fields:
            return None
        return model.browse(self.res_id).exists()

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
                    "There is no message to send: it could not be made. Mend what the "
                    "error says; the next event will use it."
                )
            )
        retracted = self.env["matrix.mirror"]._retracted_among(whole.mapped("txn_id"))
        whole = whole.filtered(lambda row: row.txn_id not in retracted)
        if not whole:
            raise UserError(
                self.env._(
                    "The message was deleted in Odoo, so there is nothing to send."
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
