from collections import Counter

from odoo import api, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from ...tools import content as contents


class MatrixLog(models.Model):
    """Failed messages are sent again as new ones."""

    _inherit = "matrix.log"

    def action_send_again(self):
        """Queue the failed messages as new ones, under new transaction ids.

        They are sent to their record's current room, through its current backend: the
        old ones may be the reason why they failed. Messages that must not be sent to
        that room are left out.
        """
        self._check_manager()
        with self.env["matrix.outbox"]._reading_once():
            return self._send_again_reading_once()

    def _send_again_reading_once(self):
        left = Counter()
        rows = []
        messages = self._messages_to_requeue(left)
        # A message that failed more than once is queued once, in its first place.
        latest = {message.txn_id: message for message in messages}
        for message in latest.values():
            try:
                rows.append((message, message._row_to_send_again()))
            except UserError as error:
                left[str(error)] += 1
        queued = {message.txn_id for message, _row in rows}
        mine = self._mark_requeued(
            messages.filtered(lambda message: message.txn_id in queued)
        )
        left[self._queued_explanation()] += len(rows) - len(mine)
        rows = [(message, row) for message, row in rows if message.id in mine]
        self.env["matrix.outbox"]._insert_rows([row for _message, row in rows])
        self.env["matrix.mirror"]._follow_requeued(rows)
        self.env["matrix.subject"]._follow_requeued(rows)
        self.env["matrix.failure.notice"]._settle(mine)
        return self._requeued_notification(len(rows), left)

    @api.model
    def _mark_requeued(self, messages):
        """Remember that these are queued again; return the ids of those that were not
        before."""
        marked = self.env.execute_query(
            SQL(
                """
                INSERT INTO matrix_requeue (log_id) SELECT unnest(%s::bigint[])
                ON CONFLICT (log_id) DO NOTHING
                RETURNING log_id
                """,
                messages.ids,
            )
        )
        return {log_id for (log_id,) in marked}

    def _row_to_send_again(self):
        """Return the new row of the outbox. Raises UserError if none may be made."""
        self.ensure_one()
        values = self._values_to_send_again()
        if not values["room_id"] and not values["matrix_user_id"]:
            raise UserError(self._roomless_explanation())
        backend = self.env["matrix.backend"].sudo().browse(values["backend_id"])
        row = self.env["matrix.outbox"]._row(backend, self.event_type, "", values)
        content = {**self.content, contents.MARKER: row["txn_id"]}
        # Consent to send unencrypted is for one room, and so is a thread.
        for name in (contents.UNENCRYPTED, contents.THREAD):
            content.pop(name, None)
            if name in row["content"]:
                content[name] = row["content"][name]
        return {**row, "content": content}

    def _values_to_send_again(self):
        """Return the values of the new row, except for its text."""
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
        # A server action may have its own room.
        if self.event_type != "automation":
            was_default = room and room == self.backend_id.default_room_id
            default = was_default and backend.default_room_id
            room = record.matrix_room_id or default or room
            if record._matrix_awaits_room():
                # A message without a room could not be edited or deleted.
                raise UserError(self._awaiting_explanation())
        return {**values, **record._matrix_row_values(backend, room)}

    def _backend_now(self, record):
        """Return the backend that serves this now. Raises UserError if there is none.

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
                    "no other one serves their company: %(backends)s. Activate one "
                    "first.",
                    backends=own.name or "–",
                )
            )
        return backend
