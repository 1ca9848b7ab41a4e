from collections import Counter

from odoo import api, models
from odoo.exceptions import AccessError, UserError
from odoo.tools import SQL

from ...tools import content as contents


class MatrixLog(models.Model):
    """A manager queues failed messages again."""

    _inherit = "matrix.log"

    def action_retry(self):
        """Queue the failed messages again under their old transaction ids.

        A message that did arrive is not sent twice: the homeserver or the worker
        recognises its id.
        """
        self._check_manager()
        return self._retry()

    def _retry(self):
        left = Counter()
        messages = self._messages_to_requeue(left)
        roomless = messages.filtered(
            lambda row: not (row.room_id or row.matrix_user_id)
        )
        self._leave(left, roomless, self._roomless_explanation())
        messages -= roomless
        active = messages.filtered(lambda row: row.backend_id.is_active)
        self._leave(left, messages - active, self._inactive_explanation(messages))
        readable, refused = active._split_by_consent()
        self._leave(left, refused, self._readable_explanation(refused))
        queued = active - refused
        self.env.cr.execute(queued._retry_sql(queued, readable))
        count = self.env.cr.rowcount
        left[self._queued_explanation()] += len(set(queued.mapped("txn_id"))) - count
        if count:
            self.env["matrix.mirror"]._follow_requeued(
                (message, {"txn_id": message.txn_id}) for message in queued
            )
            self.env["matrix.failure.notice"]._settle(queued.ids)
        return self._requeued_notification(count, left)

    @api.model
    def _retry_sql(self, messages, readable):
        """Return the statement that queues those of ``messages`` that were not queued
        yet.

        :param readable: those that may go to an encrypted room unencrypted
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
                -- The current consent, not that of the time when it was written.
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
        """Return which of these may be sent unencrypted to an encrypted room, and which
        must not be sent, because their room is known to be encrypted."""
        readable = refused = self.browse()
        for message in self:
            record = None if message.matrix_user_id else message._room_record()
            if message.backend_id._encrypts():
                # Nobody has to agree, and consent no longer counts.
                continue
            if record and record.matrix_room_id == message.room_id:
                if record.matrix_send_unencrypted:
                    readable |= message
                elif record.matrix_room_health == "encrypted":
                    refused |= message
        return readable, refused

    def action_send_again(self):
        """Queue the failed messages as new ones, under new transaction ids.

        They are sent to their record's current room, through its current backend: the
        old ones may be the reason why they failed. Messages that must not be sent to
        that room are left out.
        """
        self._check_manager()
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
        record = self._room_record()
        # What is for a room may have to wait for others that are.
        has_room = values["room_id"] or (record and record.matrix_room_id)
        if not has_room and not values["matrix_user_id"]:
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
                room = None
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

    def _room_record(self):
        """Return the record whose room this is about, or None."""
        model = self.env.get(self.res_model)
        if model is None or "matrix_room_id" not in model._fields:
            return None
        return model.browse(self.res_id).exists()

    def _messages_to_requeue(self, left):
        """Return those of these rows that can be queued again, with all rights.

        :param Counter left: counts those that cannot, by the reason in plain words
        """
        self.browse().check_access("read")
        # Rows that were deleted meanwhile are left out silently.
        found = self.exists()
        readable = found._filtered_access("read")
        self._leave(left, found - readable, self.env._("You may not read these."))
        # With all rights: managers may only read what the worker writes.
        rows = readable.sudo().sorted("id")
        retracted = self.env["matrix.mirror"]._retracted_among(rows.mapped("txn_id"))
        requeued = rows._requeued_ids()
        for is_left, reason in (
            (
                lambda row: row.status != "failed",
                self.env._("Only failed messages can be sent again: these were sent."),
            ),
            (
                lambda row: not row.is_final,
                self.env._(
                    "Still queued: this will be sent when the homeserver is back."
                ),
            ),
            (
                lambda row: not row.content or not row.txn_id,
                self.env._(
                    "There is no message to send: it could not be made. Correct what "
                    "the error says; the next event will use it."
                ),
            ),
            (
                lambda row: row.txn_id in retracted,
                self.env._(
                    "The message was deleted in Odoo, so there is nothing to send."
                ),
            ),
            (lambda row: row.id in requeued, self._queued_explanation()),
        ):
            refused = rows.filtered(is_left)
            self._leave(left, refused, reason)
            rows -= refused
        return rows

    def _requeued_ids(self):
        """Return which of these were queued again: another row has their outcome."""
        found = self.env.execute_query(
            SQL("SELECT log_id FROM matrix_requeue WHERE log_id = ANY(%s)", self.ids)
        )
        return {log_id for (log_id,) in found}

    @api.model
    def _leave(self, left, rows, reason):
        if rows:
            left[reason] += len(rows)

    def _inactive_explanation(self, messages):
        return self.env._(
            "The backend of these messages is not active, or was deleted: "
            "%(backends)s. Activate it first; or click “Send Again”, which "
            "sends them as new messages through the active backend.",
            backends=", ".join(
                messages.backend_id.filtered(
                    lambda backend: not backend.is_active
                ).mapped("name")
            )
            or "–",
        )

    @api.model
    def _roomless_explanation(self):
        return self.env._(
            "This was written before its record had a room. Once it has one, click "
            "“Send Again”."
        )

    @api.model
    def _readable_explanation(self, refused):
        return refused and refused[:1]._room_record()._matrix_encrypted_explanation()

    @api.model
    def _queued_explanation(self):
        return self.env._("Already queued, or sent since: there is nothing to do.")

    @api.model
    def _check_manager(self):
        if not self.env.user.has_group("mail_matrix.group_matrix_manager"):
            raise AccessError(
                self.env._("Only a Matrix Manager may send or discard messages again.")
            )

    @api.model
    def _requeued_notification(self, queued, left):
        """Report how many were queued, how many were not, and why.

        Raises UserError if nothing was queued.
        """
        left = +left
        if not queued:
            raise UserError("\n".join(left) or self._queued_explanation())
        parts = [
            self.env._("%(count)s queued.", count=queued)
            if left or queued > 1
            else self.env._("Message queued for sending.")
        ]
        parts += [
            self.env._("%(count)s not queued: %(reason)s", count=count, reason=reason)
            for reason, count in left.items()
        ]
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "warning" if left else "success",
                # So that there is time to read it.
                "sticky": bool(left),
                "message": " ".join(parts),
                "next": {"type": "ir.actions.client", "tag": "soft_reload"},
            },
        }
