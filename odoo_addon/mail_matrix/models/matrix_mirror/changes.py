import psycopg2

from odoo import api, models
from odoo.tools import SQL

from ...tools import changes, words
from ...tools import content as contents


class MatrixMirror(models.Model):
    """Applies an edit or deletion in the outbox if the message waits there, else in its
    room."""

    _inherit = "matrix.mirror"

    def _follow_change(self):
        """Update the room, if its copy of the message is out of date."""
        self.ensure_one()
        backend = self._existing("matrix.backend", self.backend_id)
        if self.is_retracted or not backend.is_active:
            return
        self._follow_to_new_room()
        if self._is_to_retract():
            self.is_retracted = True
            self._retract(backend)
            return
        if self.attachment_id:
            # Files are never edited.
            return
        row, files = self._edited_rows(backend)
        digest = row and self._digest(row["content"])
        if row and digest != self.digest:
            self.digest = digest
            self._edit(row)
        if row and row["known_files"] != self.known_files:
            self.known_files = row["known_files"]
        self.env["matrix.outbox"]._insert_rows(files)

    def _existing(self, model, res_id):
        return self.env["matrix.outbox"]._existing(model, [res_id])

    def _message(self):
        return self._existing("mail.message", self.message_id)

    def _record(self):
        """Return the record in whose room the message was posted, or nothing."""
        model = self.env.get(self.res_model)
        if model is None or "matrix_mirror_chatter" not in model._fields:
            return None
        record = self._existing(self.res_model, self.res_id)
        return record.with_context(matrix_message_id=self.message_id)

    def _follow_to_new_room(self):
        """Take over the record's room if that is where the worker has sent the message.

        It was queued for a room that was replaced before it was sent.
        """
        record = self._record()
        room = record.matrix_room_id if record else None
        if room and room != self.room_id and self._was_sent_to(room):
            self.room_id = room

    def _was_sent_to(self, room):
        return bool(
            self.env.execute_query(
                SQL(
                    """
                    SELECT FROM matrix_log AS l
                    WHERE l.res_model = %s AND l.res_id = %s
                        AND l.txn_id = %s AND l.status = 'ok' AND l.room_id = %s
                    LIMIT 1
                    """,
                    self.res_model,
                    self.res_id,
                    self.txn_id,
                    room,
                )
            )
        )

    def _is_to_retract(self):
        """Whether the message is gone, or must not be in this room any more."""
        message = self._message()
        if not message or message._filter_empty():
            return True
        if self.attachment_id and self.attachment_id not in message.attachment_ids._ids:
            return True
        if self.is_moved:
            return False
        if (message.model, message.res_id) != (self.res_model, self.res_id):
            return True
        record = self._record()
        notes_are_posted = bool(record) and record.matrix_mirror_notes
        return message._matrix_is_internal() and not notes_are_posted

    def _edited_rows(self, backend):
        """Return the row that posts the message as it is now, or None if it must not be
        posted, and the rows of files that were added since it was posted or edited.

        A room that the record no longer has does not get what was written since. Files
        that the message had while the backend sent none are not sent later.
        """
        record = self._record()
        target = record and not self.is_moved and record._matrix_target("chatter")
        if not target:
            return None, []
        _backend, values = target
        if not values["room_id"]:
            # Others wait for the room of the record; this is in it already.
            values = record._matrix_row_values(backend, record.matrix_room_id)
        place = self._target()
        if {key: values[key] for key in place} != place:
            return None, []
        row = record._matrix_row("chatter", backend, values)
        known = self.known_files or row["known_files"]
        queued = {*self._posted_files(), *known["ids"]}
        return row, record._matrix_file_rows(backend, values, queued)

    def _posted_files(self):
        """Return the ids of the files of this message that were posted after its
        text."""
        files = self.env["matrix.outbox"]._once(
            "posted files", lambda: self._read_posted_files()
        )
        return files.get(self.message_id, ())

    def _read_posted_files(self):
        """Return the ids of the posted files by message, of all that are read together
        with this."""
        messages = self.browse(self._prefetch_ids).mapped("message_id")
        posts = self.search(
            [("message_id", "in", messages), ("attachment_id", "!=", False)]
        )
        return {
            message_id: files.mapped("attachment_id")
            for message_id, files in posts.grouped("message_id").items()
        }

    def _retract(self, backend):
        """Remove the message and its edits from the outbox, or from their room.

        Redacting only the message would leave the text of its edits on the homeserver.
        """
        for txn_id in (self.txn_id, *(self.edit_txn_ids or ())):
            waiting = self._take_waiting(txn_id)
            if waiting and not waiting["is_doubtful"]:
                self._log_withdrawn(waiting)
                continue
            if waiting:
                # The text may have arrived although no answer came: then the homeserver
                # knows the transaction id and keeps the text until the redaction. If
                # not, it gets this instead of the text.
                waiting["attachment_id"] = None
                self._put_back(waiting, self._blank_content(backend, txn_id))
            self._insert_change(self._redaction_row(backend, txn_id))

    def _blank_content(self, backend, txn_id):
        said = self._in_room_language().env._("(deleted)")
        row = self.env["matrix.outbox"]._row(backend, "chatter", said, self._target())
        is_edit = txn_id != self.txn_id
        return changes.edit(row["content"], self.txn_id) if is_edit else row["content"]

    def _redaction_row(self, backend, txn_id):
        reason = self._in_room_language().env._("Deleted in Odoo")
        row = self.env["matrix.outbox"]._row(backend, "chatter", "", self._target())
        content = changes.redaction(reason, txn_id, row["txn_id"])
        return {**row, "matrix_type": changes.REDACTION, "content": content}

    def _edit(self, row):
        """Change the message in the outbox, or in its room."""
        waiting = self._take_waiting(self.txn_id)
        if waiting:
            self._put_back(waiting, row["content"])
        if not waiting or waiting["is_doubtful"]:
            edit = changes.edit(row["content"], self.txn_id)
            self._insert_change({**row, "content": edit})
            self.edit_txn_ids = [*(self.edit_txn_ids or ()), row["txn_id"]]

    def _insert_change(self, row):
        # A change has no separate mirror, and does not expire.
        row = {**row, "message_id": None, "expires_at": None}
        self.env["matrix.outbox"]._insert_rows([row])

    def _in_room_language(self):
        record = self._record()
        if not record:
            return self
        record = self.env["matrix.outbox"]._in_language_of(record, record)
        return self.with_context(lang=record.env.lang)

    def _take_waiting(self, txn_id):
        """Remove a message from the outbox and return its row, or None.

        It is left alone if a worker has leased its lane, because it may be in flight. A
        row with ``is_doubtful`` may have been sent before, without an answer. A worker
        that lost its lease is fenced by the epoch.
        """
        outbox = self.env["matrix.outbox"]
        try:
            with self.env.cr.savepoint(flush=False):
                for sql in (self._lane_sql(txn_id), self._take_sql(txn_id)):
                    self.env.cr.execute(sql, log_exceptions=False)
                rows = self.env.cr.dictfetchall()
        except psycopg2.OperationalError:
            # A worker has leased the lane meanwhile, and has the message. Odoo would
            # run the whole request again; changing it in the room is just as good.
            if self.env.cr.connection.closed:
                raise
            return None
        outbox.invalidate_model()
        return rows[0] if rows else None

    def _lane_sql(self, txn_id):
        # The lock below needs a row, which may not exist yet.
        return SQL(
            """
            INSERT INTO matrix_lane (lane)
            SELECT lane FROM matrix_outbox WHERE txn_id = %s
            ON CONFLICT (lane) DO NOTHING
            """,
            txn_id,
        )

    def _take_sql(self, txn_id):
        return SQL(
            """
            WITH free AS MATERIALIZED (
                SELECT lane, lease_until IS NOT NULL AS is_taken_over,
                    head_id IS NOT NULL AS is_held
                FROM matrix_lane
                WHERE lane IN (SELECT lane FROM matrix_outbox WHERE txn_id = %(txn_id)s)
                    AND (lease_until IS NULL
                        OR lease_until < now() AT TIME ZONE 'UTC')
                FOR UPDATE SKIP LOCKED
            ), fenced AS (
                UPDATE matrix_lane AS l SET epoch = epoch + 1
                FROM free WHERE l.lane = free.lane AND free.is_taken_over
            ), gone AS (
                DELETE FROM matrix_outbox AS o USING free
                WHERE o.txn_id = %(txn_id)s AND o.lane = free.lane
                RETURNING o.*, free.is_taken_over OR free.is_held AS may_be_tried
            )
            SELECT gone.*, gone.may_be_tried OR EXISTS (
                SELECT FROM matrix_log AS l
                WHERE l.res_model = gone.res_model AND l.res_id = gone.res_id
                    AND l.txn_id = gone.txn_id
            ) AS is_doubtful
            FROM gone
            """,
            txn_id=txn_id,
        )

    @api.model
    def _put_back(self, waiting, content):
        """Insert the row ``waiting`` with other content, in the place where it was."""
        content = {**content, contents.MARKER: waiting["txn_id"]}
        row = {**waiting, "content": content}
        self.env["matrix.outbox"]._insert_rows([row], keep_ids=True)

    def _log_withdrawn(self, waiting):
        """Log that a message will not be sent, without its text: it was deleted."""
        failure = {
            **self._target(),
            "event_type": waiting["event_type"],
            "user_id": self.env.uid,
            "error_code": words.ERROR_DELETED,
            "error_message": self.env._("Deleted in Odoo before it was sent."),
        }
        self.env["matrix.log"]._insert_failures([failure])
