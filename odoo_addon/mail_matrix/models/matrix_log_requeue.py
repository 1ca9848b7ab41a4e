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
        messages = self._messages_to_requeue()._that_can_be_retried()
        readable, refused = messages._split_by_consent()
        if refused and len(refused) == len(messages):
            raise UserError(refused[:1]._room_record()._matrix_encrypted_explanation())
        self.env.cr.execute(messages._retry_sql(messages - refused, readable))
        queued = self.env.cr.rowcount
        self.env["matrix.mirror"]._follow_requeued(
            (message, message.txn_id) for message in messages - refused
        )
        left = len(messages) - queued
        if not queued:
            raise UserError(
                self.env._("Already queued, or sent since: there is nothing to retry.")
            )
        return self._requeued_notification(queued, left - len(refused), refused)

    @api.model
    def _retry_sql(self, messages, readable):
        """Return the statement that queues ``messages``, those that it has not yet.

        :param readable: those that may stand readable in an encrypted room
        """
        return SQL(
            """
            WITH again AS (
                INSERT INTO matrix_requeue (log_id)
                SELECT unnest(%(ids)s::bigint[])
                ON CONFLICT (log_id) DO NOTHING
                RETURNING log_id
            )
            INSERT INTO matrix_outbox (backend_id, event_type, room_id,
                matrix_user_id, matrix_type, content, txn_id, res_model, res_id,
                attachment_id, user_id, queued_at)
            SELECT backend_id, event_type, CASE WHEN matrix_user_id IS NULL
                    THEN room_id END,
                matrix_user_id, COALESCE(matrix_type, 'm.room.message'),
                -- The consent of now, not that of the day when it was written.
                content - %(unencrypted)s || CASE WHEN id = ANY(%(readable)s)
                    THEN jsonb_build_object(%(unencrypted)s, true) ELSE '{}' END,
                txn_id, res_model, res_id, attachment_id, user_id,
                COALESCE(queued_at, date)
            FROM matrix_log
            WHERE id = ANY(%(ids)s) AND id IN (SELECT log_id FROM again)
            ORDER BY id
            ON CONFLICT (txn_id) DO NOTHING
            """,
            ids=messages.ids,
            readable=readable.ids,
            unencrypted=contents.UNENCRYPTED,
        )

    def _split_by_consent(self):
        """Return which of these may stand readable in an encrypted room, and which may
        not be sent, because theirs is known to be encrypted."""
        readable = refused = self.browse()
        for message in self:
            record = None if message.matrix_user_id else message._room_record()
            if record and record.matrix_room_id == message.room_id:
                if record.matrix_send_unencrypted:
                    readable |= message
                elif record.matrix_room_health == "encrypted":
                    refused |= message
        return readable, refused

    def action_send_again(self):
        """Queue the failed messages as new ones, under new transaction ids.

        They go to the room that their record has now, through the backend that it has
        now: the old ones may be the reason why they failed. Raises UserError where that
        room must not have them.
        """
        messages = self._messages_to_requeue()
        outbox = self.env["matrix.outbox"]
        rows = []
        for message in messages:
            values = message._values_to_send_again()
            backend = self.env["matrix.backend"].sudo().browse(values["backend_id"])
            row = outbox._row(backend, message.event_type, "", values)
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
        record = self._room_record()
        backend = self._backend_now(record)
        values = {
            "backend_id": backend.id,
            "room_id": not self.matrix_user_id and self.room_id,
            "matrix_user_id": self.matrix_user_id,
            "matrix_type": self.matrix_type or "m.room.message",
            "res_model": self.res_model,
            "res_id": self.res_id,
            "attachment_id": self.attachment_id.id,
        }
        if not record or self.matrix_user_id:
            return values
        room = self.room_id
        # A server action may have named a room of its own.
        if self.event_type != "automation":
            was_default = room and room == self.backend_id.default_room_id
            default = was_default and backend.default_room_id
            room = record.matrix_room_id or default or room
        return {**values, **record._matrix_row_values(backend, room)}

    def _backend_now(self, record):
        """Return the backend that speaks for this today. Raises UserError without one.

        :param record: the record whose room this is about, or None
        """
        own = self.backend_id
        if record and self.event_type != "automation":
            backend = record._matrix_backend()
        else:
            company = own.company_id or self.env.company
            active = own if own.is_active else own._active_for(company)
            backend = active.sudo()
        if not backend:
            raise UserError(
                self.env._(
                    "The backend of these messages is not active, or was deleted, and "
                    "no other one speaks for their company: %(backends)s. Activate one "
                    "first.",
                    backends=own.name or "–",
                )
            )
        return backend

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
        latest = {row.txn_id: row for row in whole}
        return self.sudo().union(*latest.values())

    def _that_can_be_retried(self):
        """Return those of these messages whose backend still sends.

        Raises UserError where there is none.
        """
        active = self.filtered(lambda row: row.backend_id.is_active)
        if not active:
            raise UserError(
                self.env._(
                    "The backend of these messages is not active, or was deleted: "
                    "%(backends)s. Activate it first; or click “Send Again”, which "
                    "sends them as new messages through the active backend.",
                    backends=", ".join(self.backend_id.mapped("name")) or "–",
                )
            )
        return active

    @api.model
    def _check_manager(self):
        if not self.env.user.has_group("mail_matrix.group_matrix_manager"):
            raise AccessError(
                self.env._("Only a Matrix Manager may send or discard messages again.")
            )

    def _requeued_notification(self, queued, left, refused=()):
        message = self.env._("%(count)s queued.", count=queued)
        if left:
            message += " " + self.env._("%(count)s already queued or sent.", count=left)
        if refused:
            message += " " + self.env._(
                "%(count)s not queued: their rooms are encrypted, and “Send "
                "Unencrypted” is off on the records.",
                count=len(refused),
            )
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "success",
                "message": message,
                "next": {"type": "ir.actions.client", "tag": "soft_reload"},
            },
        }
