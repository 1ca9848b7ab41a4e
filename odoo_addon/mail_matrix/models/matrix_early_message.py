from psycopg2.extras import Json

from odoo import api, fields, models
from odoo.tools import SQL
from odoo.tools.sql import table_columns

from ..tools import content as contents
from ..tools import record_index, words
from .matrix_outbox.notes import Note


class MatrixEarlyMessage(models.Model):
    """A message for a room that is still being created; see matrix.room.request.

    Its id is one of the outbox, so that it is unique among all messages that wait.
    """

    _name = "matrix.early.message"
    _description = "Message for a Matrix Room to Come"
    _log_access = False
    _order = "id"

    res_model = fields.Char(required=True, readonly=True)
    res_id = fields.Many2oneReference(
        model_field="res_model", required=True, readonly=True
    )
    backend_id = fields.Integer(readonly=True)
    event_type = fields.Char(string="Event", required=True, readonly=True)
    matrix_type = fields.Char(required=True, readonly=True)
    content = fields.Json(readonly=True)
    txn_id = fields.Char(string="Transaction ID", required=True, readonly=True)
    attachment_id = fields.Integer(readonly=True)
    expires_at = fields.Datetime(string="Give Up At", readonly=True)
    user_id = fields.Integer(readonly=True)
    queued_at = fields.Datetime(string="Queued", required=True, readonly=True)
    # The chatter message that it posts.
    message_id = fields.Integer(readonly=True)
    # The user whom it mentions if they are in the room, and its content then.
    mentioned_id = fields.Integer(readonly=True)
    mentioning = fields.Json(readonly=True)

    _INSERTED = (
        "res_model",
        "res_id",
        "backend_id",
        "event_type",
        "matrix_type",
        "content",
        "txn_id",
        "attachment_id",
        "expires_at",
        "user_id",
        "queued_at",
        "message_id",
        "mentioned_id",
        "mentioning",
    )

    def init(self):
        # The outbox counts further than the ORM's ids.
        if table_columns(self.env.cr, self._table)["id"]["udt_name"] != "int8":
            self.env.cr.execute("ALTER TABLE matrix_early_message ALTER id TYPE bigint")
        record_index.create(self.env.cr, self._table)

    @api.model
    def _insert(self, rows):
        """Keep these rows of the outbox, which have no room, by one statement."""
        self.env.cr.execute(
            SQL(
                "INSERT INTO matrix_early_message (id, %s) VALUES %s",
                SQL(", ").join(map(SQL.identifier, self._INSERTED)),
                SQL(", ").join(
                    SQL("(nextval('matrix_outbox_id_seq'), %s)", self._values(row))
                    for row in rows
                ),
            )
        )
        requests = self.env["matrix.room.request"].sudo()
        for model in sorted({row["res_model"] for row in rows}):
            res_ids = {row["res_id"] for row in rows if row["res_model"] == model}
            records = self.env[model].browse(sorted(res_ids))
            requests._insert(records, requests._again(model, res_ids))

    @api.model
    def _values(self, row):
        values = (row.get(name) or None for name in self._INSERTED)
        return SQL(", ").join(
            SQL("%s", Json(value) if isinstance(value, dict) else value)
            for value in values
        )

    @api.model
    def _of(self, request):
        return self.search(
            [("res_model", "=", request.res_model), ("res_id", "=", request.res_id)]
        )

    def _send_to(self, record):
        """Queue these for the room of ``record``, in their order."""
        outbox = self.env["matrix.outbox"]
        opening = record._matrix_opening_events()
        rows, failures, turned_off = [], [], self.browse()
        messages = self._follow_moved().sorted(
            lambda message: (message.event_type not in opening, message.id)
        )
        for message in messages:
            if not message.message_id:
                rows.append(message._row_for(record))
            elif not message.attachment_id:
                # Rendered again, with its files: it may have been edited or deleted.
                note = Note(record._name, record.id, "chatter", message.message_id)
                posted, failed = outbox._rows_of({note: message.user_id})
                rows += [{**row, "queued_at": message.queued_at} for row in posted]
                failures += failed
                if not posted and not failed and message._may_be_in_room_of(record):
                    turned_off |= message
        turned_off._log_unsent(
            words.ERROR_ROOM_NOT_CREATED,
            record.env._("Posting chatter was turned off before there was a room."),
        )
        (messages - turned_off).unlink()
        outbox._insert_rows(rows)
        self.env["matrix.log"]._insert_failures(failures)

    def _follow_moved(self):
        """Post the chatter messages that belong to another record now in its room.
        Return the others."""
        moved, unposted = self.browse(), self.browse()
        for early in self.filtered("message_id"):
            message = early._chatter_message().with_user(early.user_id).sudo()
            where = message.model, message.res_id
            if message and where != (early.res_model, early.res_id):
                moved |= early
                if not early.attachment_id and not message._matrix_post_in_new_room():
                    unposted |= early
        # Not what became internal or was emptied.
        unposted = unposted.filtered(
            lambda early: early._may_be_in_room_of(early._record())
        )
        unposted._log_unsent(
            words.ERROR_ROOM_NOT_CREATED,
            self.env._("It was moved to a record whose chatter is not posted."),
        )
        (moved - unposted).unlink()
        return self - moved

    def _without_withdrawn(self):
        """Delete the chatter messages that were deleted, emptied or made internal, and
        files that were removed. Return the others."""
        withdrawn = self.filtered(
            lambda early: (
                early.message_id and not early._may_be_in_room_of(early._record())
            )
        )
        left = self - withdrawn
        withdrawn.unlink()
        return left

    def _record(self):
        """Return the record, or None if its addon is gone."""
        model = self.env.get(self.res_model)
        return None if model is None else model.browse(self.res_id).exists()

    def _chatter_message(self):
        return self.env["mail.message"].browse(self.message_id).exists()

    def _may_be_in_room_of(self, record):
        """Whether people in the room of ``record`` may read this chatter message, or
        this file of it."""
        message = self._chatter_message()
        if not message or record is None:
            return False
        file_id = self.attachment_id
        is_there = not file_id or file_id in message.sudo().attachment_ids.ids
        return is_there and record._matrix_is_for_room(message)

    def _text_now(self):
        """Return the text of this chatter message, which may have been edited."""
        record = self._record()
        if not self._may_be_in_room_of(record):
            return None
        message = self._chatter_message().sudo()
        text = message._matrix_reading(record.get_base_url()).text
        return f"{message._matrix_author()}: {text}"

    def _row_for(self, record):
        """Return the row of the outbox that sends this to the room of ``record``."""
        row = {name: self[name] for name in self._INSERTED}
        backend = record._matrix_backend()
        row["backend_id"] = backend.id
        row["room_id"] = record.matrix_room_id
        if self._mentions_somebody_in_room_of(record):
            row["content"] = self.mentioning
        if record.matrix_send_unencrypted and not backend._encrypts():
            row["content"] = {**row["content"], contents.UNENCRYPTED: True}
        return row

    def _mentions_somebody_in_room_of(self, record):
        """Whether the person is in the room now, with the account that is mentioned."""
        user = self.env["res.users"].sudo().browse(self.mentioned_id or 0).exists()
        people = self.env["matrix.room.person"]
        return (
            bool(user)
            and self.mentioning["m.mentions"] == {"user_ids": [user.matrix_user_id]}
            and people._is_in(record, record.matrix_room_id, user)
        )

    def _log_unsent(self, code, reason, with_chatter=True):
        """Give these up and log why, in one statement; return how many there were.

        What people wrote has failed, even if nothing went wrong for what Odoo wrote.
        A chatter message is logged without its content, so that it is not sent again:
        it would not follow what is edited, made internal or deleted in Odoo.

        :param with_chatter: with the present texts of chatter messages
        """
        texts = {
            str(early.id): early._text_now() if with_chatter else None
            for early in self.exists()
            if early.message_id and not early.attachment_id
        }
        for_written = code
        if code in words.NOT_POSTED:
            for_written = words.ERROR_ROOM_NOT_CREATED
        self.env.cr.execute(
            SQL(
                """
                WITH gone AS (
                    DELETE FROM matrix_early_message WHERE id = ANY(%(ids)s)
                    RETURNING *
                )
                INSERT INTO matrix_log (outbox_id, backend_id, event_type, res_model,
                    res_id, matrix_type, payload, content, txn_id, attachment_id,
                    status, error_code, error_message, queued_at, user_id)
                SELECT id, backend_id, event_type, res_model, res_id, matrix_type,
                    CASE WHEN jsonb_exists(%(texts)s::jsonb, id::text)
                        THEN %(texts)s::jsonb ->> id::text
                        ELSE content ->> 'body' END,
                    CASE WHEN message_id IS NULL THEN content END, txn_id,
                    attachment_id, 'failed',
                    CASE WHEN event_type IN %(written)s THEN %(for_written)s
                        ELSE %(code)s END, %(reason)s, queued_at, user_id
                FROM gone ORDER BY id
                """,
                ids=self.ids,
                texts=Json(texts),
                written=words.WRITTEN_EVENTS,
                for_written=for_written,
                code=code,
                reason=reason,
            )
        )
        count = self.env.cr.rowcount
        self.invalidate_model()
        return count
