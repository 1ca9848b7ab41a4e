import uuid
from datetime import timedelta

from psycopg2.extras import Json

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from ...tools import content as contents


class MatrixOutbox(models.Model):
    """Messages that wait for the worker. Odoo inserts; the worker sends and deletes."""

    _name = "matrix.outbox"
    _inherit = "matrix.readable.mixin"
    _description = "Matrix Outbox"
    _auto = False
    _log_access = False
    _order = "id"
    _rec_name = "txn_id"

    lane = fields.Char(readonly=True)
    expires_at = fields.Datetime(string="Give Up At", readonly=True)

    body = fields.Char(string="Text", compute="_compute_body")

    # The database generates lane and id, and sets the other defaults.
    _INSERTED = (
        "backend_id",
        "event_type",
        "room_id",
        "matrix_user_id",
        "matrix_type",
        "content",
        "txn_id",
        "res_model",
        "res_id",
        "attachment_id",
        "expires_at",
        "user_id",
        "queued_at",
    )

    @api.model
    def _readable_domain(self, query):
        # Every message has a backend, so there is nothing else to look for.
        if self.env["matrix.backend"]._is_for_all_companies():
            return []
        return super()._readable_domain(query)

    @api.depends("content")
    def _compute_body(self):
        for row in self:
            row.body = (row.content or {}).get("body")

    @api.model
    def _new_txn_id(self):
        """Return an id that no message ever had, not even in a copied database."""
        return f"odoo-{uuid.uuid4()}"

    @api.model
    def _row(self, backend, event_type, body, values, **dressing):
        """Return the values of a row that says ``body``.

        :param values: dict with ``backend_id``, ``room_id`` or ``matrix_user_id``, and
            other values of the row; ``unencrypted`` says that the message may be sent
            to an encrypted room unencrypted, ``thread`` lists the kinds of event that
            begin the thread to which the message belongs
        :param dressing: ``links``, ``below`` and ``mentions`` of tools.content.message
        """
        txn_id = self._new_txn_id()
        message_type = backend._message_type(event_type)
        content = contents.message(body, txn_id, message_type, **dressing)
        return self._row_with(content, backend, event_type, values)

    @api.model
    def _row_with(self, content, backend, event_type, values):
        """Return the values of a row with this content, which includes its marker."""
        now = self.env.cr.now()
        txn_id = content[contents.MARKER]
        if values.get("unencrypted") and not backend._encrypts():
            content[contents.UNENCRYPTED] = True
        if values.get("thread") and event_type != "test":
            content[contents.THREAD] = values["thread"]
        return {
            "event_type": event_type,
            "matrix_type": "m.room.message",
            "content": content,
            "txn_id": txn_id,
            "user_id": self.env.uid,
            "queued_at": now,
            "expires_at": backend.expire_hours
            and now + timedelta(hours=backend.expire_hours),
            **values,
        }

    @api.model
    def _insert_written(
        self, backend, event_type, body, values, mentions=(), attachments=()
    ):
        """Queue what a person wrote and return the transaction id.

        See _written_rows.
        """
        rows = self._written_rows(
            backend, event_type, body, values, mentions, attachments
        )
        self._insert_rows(rows)
        return rows[0]["txn_id"]

    @api.model
    def _written_rows(
        self, backend, event_type, body, values, mentions=(), attachments=()
    ):
        """Return the rows of what a person wrote: the text, then its files.

        :param str body: plain text; line ends are kept
        :param values: where it goes, as in _row
        :param mentions: pairs of name in the text and Matrix user id
        :param attachments: files that follow the text, with all rights
        Raises UserError if the text is empty or longer than an event can hold.
        """
        if len(body) > contents.MAX_CONTENT_BYTES:
            # Checked before anything is done with the text: RPC may send any length.
            raise self._too_long(len(body))
        text = contents.clean(body)
        files = self._file_rows(backend, event_type, values, attachments)
        if files and not text.strip():
            # Otherwise nothing would say who sends them.
            names = ", ".join(file["content"]["body"] for file in files)
            text = f"📎 {names}"
        if not text.strip():
            raise UserError(self.env._("Write a message first: this one is empty."))
        if backend.sign_messages and event_type in ("manual", "dm"):
            text = f"{contents.clean(self.env.user.name)}: {text}"
        mentions = [*mentions, *contents.typed_mentions(text)]
        row = self._row(backend, event_type, text, values, mentions=mentions)
        row["content"] = self._bounded(row["content"])
        return [row, *files]

    @api.model
    def _file_rows(self, backend, event_type, values, attachments):
        """Return the rows of files that follow a text, each a separate message.

        What is not a file in Odoo, such as a link, is left to the text.
        """
        if not backend.send_files:
            return []
        rows = []
        for attachment in attachments:
            if attachment.type == "binary" and attachment.file_size:
                content = contents.file(
                    attachment.name,
                    attachment.mimetype,
                    attachment.file_size,
                    self._new_txn_id(),
                )
                row = self._row_with(content, backend, event_type, values)
                rows.append({**row, "attachment_id": attachment.id})
        return rows

    @api.model
    def _bounded(self, content):
        """Return ``content`` if it fits in an event, without its HTML if necessary."""
        if not contents.fits(content):
            content = contents.without_html(content)
        if not contents.fits(content):
            raise self._too_long(contents.size(content))
        return content

    @api.model
    def _too_long(self, size):
        return UserError(
            self.env._(
                "This message is too long for Matrix: %(size)s KB of text, and "
                "%(limit)s KB are allowed. Shorten it, or attach it to the record "
                "as a file.",
                size=size // 1024 + 1,
                limit=contents.MAX_CONTENT_BYTES // 1024,
            )
        )

    @api.model
    def _insert_rows(self, rows, keep_ids=False):
        """Insert ``rows`` in their order by one statement.

        create() would need one for each hundred rows, and rights that no user has.
        Rows without a room or person are kept until their record has its room.

        :param bool keep_ids: the rows were removed before and return to their place
        """
        self.env["matrix.subject"]._remember(rows)
        early = [row for row in rows if not _has_target(row)]
        if early:
            self.env["matrix.early.message"].sudo()._insert(early)
            rows = [row for row in rows if _has_target(row)]
        if not rows:
            return
        names = ("id", *self._INSERTED) if keep_ids else self._INSERTED
        self.env.cr.execute(self._insert_sql(rows, names))
        self.env["matrix.mirror"]._remember(rows)

    @api.model
    def _insert_sql(self, rows, names):
        return SQL(
            "INSERT INTO matrix_outbox (%s) VALUES %s",
            SQL(", ").join(map(SQL.identifier, names)),
            SQL(", ").join(SQL("%s", self._to_tuple(row, names)) for row in rows),
        )

    @api.model
    def _to_tuple(self, row, names):
        return tuple(
            Json(row["content"]) if name == "content" else row.get(name) or None
            for name in names
        )


def _has_target(row):
    return row.get("room_id") or row.get("matrix_user_id")
