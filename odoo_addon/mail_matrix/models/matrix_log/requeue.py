from collections import Counter

from odoo import api, models
from odoo.exceptions import AccessError, UserError
from odoo.tools import SQL

from ...tools import content as contents


class MatrixLog(models.Model):
    """Failed messages are queued again, as they were."""

    _inherit = "matrix.log"

    def action_retry(self):
        """Queue the failed messages again under their old transaction ids.

        A message that did arrive is not sent twice: the homeserver or the worker
        recognises its id.
        """
        self._check_manager()
        return self._retry()

    def _retry(self):
        with self.env["matrix.outbox"]._reading_once():
            return self._retry_reading_once()

    def _retry_reading_once(self):
        left = Counter()
        messages = self._messages_to_requeue(left)
        awaiting = messages._awaiting_room()
        self._leave(left, awaiting, self._awaiting_explanation())
        messages -= awaiting
        previous = messages._for_previous_room()
        self._leave(left, previous, self._previous_room_explanation())
        messages -= previous
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
        readable, refused = [], []
        for message in self:
            record = None if message.matrix_user_id else message._room_record()
            if message.backend_id._encrypts():
                # Nobody has to agree, and consent no longer counts.
                continue
            if record and record.matrix_room_id == message.room_id:
                if record.matrix_send_unencrypted:
                    readable.append(message.id)
                elif record.matrix_room_health == "encrypted":
                    refused.append(message.id)
        return self.browse(readable), self.browse(refused)

    def _room_record(self):
        """Return the record whose room this is about, or None."""
        model = self.env.get(self.res_model)
        if model is None or "matrix_room_id" not in model._fields:
            return None
        return self.env["matrix.outbox"]._existing(self.res_model, [self.res_id])

    def _read_records_together(self):
        """Look up at once what _room_record returns."""
        for model, rows in self.grouped("res_model").items():
            if model in self.env:
                self.env["matrix.outbox"]._existing(model, rows.mapped("res_id"))

    def _awaiting_room(self):
        """Return those of these whose room is being created: there they would come
        before what was kept for it."""
        requested = self.env["matrix.room.request"]._open()
        return self.filtered(
            lambda row: (
                (row.res_model, row.res_id) in requested
                and not row.matrix_user_id
                and (not row.room_id or row.room_id != row.backend_id.default_room_id)
            )
        )

    def _messages_to_requeue(self, left):
        """Return those of these rows that can be queued again, with all rights.

        :param Counter left: counts those that cannot, by the reason in plain words
        """
        self.browse().check_access("read")
        # Rows that were deleted meanwhile are left out silently.
        found = self.exists()
        readable = found._filtered_access("read")
        self._leave(
            left,
            found - readable,
            self.env._("You do not have access to these messages."),
        )
        # With all rights: managers may only read what the worker writes.
        rows = readable.sudo().sorted("id")
        rows._read_records_together()
        requeued = rows._requeued_ids()
        for is_left, reason in (
            (
                lambda row: row.event_type == "inbound",
                self.env._("What came from a room cannot be sent."),
            ),
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
                lambda row: row._is_lost_chatter(),
                self.env._(
                    "There is no message to send: it was written in the chatter while "
                    "its record had no room. Write it again there."
                ),
            ),
            (
                lambda row: not row.content or not row.txn_id,
                self.env._(
                    "There is no message to send, because it could not be created. "
                    "Correct what the error says: that applies from the next event on."
                ),
            ),
            (lambda row: row.id in requeued, self._queued_explanation()),
        ):
            refused = rows.filtered(is_left)
            self._leave(left, refused, reason)
            rows -= refused
        return rows._leave_stale_chatter(left)

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
    def _awaiting_explanation(self):
        return self.env._(
            "The room of this record is being created. Try again once the room is "
            "there."
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
                self.env._(
                    "Only a Matrix Manager may send messages again or discard them."
                )
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
            self.env._("Messages queued for sending: %(count)s.", count=queued)
            if left or queued > 1
            else self.env._("Message queued for sending.")
        ]
        parts += [
            self.env._("Not queued: %(count)s. %(reason)s", count=count, reason=reason)
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
