import logging

from odoo import api, fields, models

from ...tools import content as contents
from ...tools import words

_logger = logging.getLogger(__name__)

_CHANGED = "mail_matrix.changed_mirrors"
WHERE = ("backend_id", "room_id", "res_model", "res_id")


class MatrixMirror(models.Model):
    """Which chatter message was posted where, so that its changes reach the room.

    The ids are not foreign keys: the records may be deleted before the room is
    updated.
    """

    _name = "matrix.mirror"
    _description = "Chatter Message in Matrix"
    _log_access = False
    _order = "id"
    _rec_name = "txn_id"

    message_id = fields.Integer(required=True, index=True)
    # Set for a file that was sent after the text of the message.
    attachment_id = fields.Integer()
    txn_id = fields.Char(string="Transaction ID", required=True, index=True)
    backend_id = fields.Integer(required=True)
    room_id = fields.Char(string="Room ID", required=True)
    res_model = fields.Char(string="Record Model", required=True)
    res_id = fields.Integer(string="Record ID", required=True)
    queued_at = fields.Datetime(string="Queued", required=True, index=True)
    # Of the text that is in the room, so that the same text is not sent as an edit.
    digest = fields.Char()
    # The files that the text listed last: {"ids": […]}, because Odoo stores an empty
    # list as NULL. NULL: not known, the text was posted before this was remembered.
    known_files = fields.Json()
    # The thread was merged into another one: earlier posts belong to the old room.
    is_moved = fields.Boolean(string="Thread Moved")
    # A list, because each edit is a separate event.
    edit_txn_ids = fields.Json(string="Edits")
    is_retracted = fields.Boolean(string="Retracted")

    @api.model
    def _remember(self, rows):
        """Remember the outbox rows that post chatter messages."""
        self.sudo().create(
            [
                {
                    **{name: row[name] for name in WHERE},
                    "message_id": row["message_id"],
                    "attachment_id": row.get("attachment_id"),
                    "txn_id": row["txn_id"],
                    "queued_at": row["queued_at"],
                    "digest": self._digest(row["content"]),
                    "known_files": row.get("known_files"),
                    "delivery": "new",
                }
                for row in rows
                if row.get("message_id")
            ]
        )

    @api.model
    def _of(self, messages):
        """Return the posts of ``messages`` that are still in rooms."""
        return self.sudo().search(
            [("message_id", "in", messages.ids), ("is_retracted", "=", False)]
        )

    def _note_change(self):
        """Remember that these may have changed; the rest is done at commit."""
        if not self:
            return
        precommit = self.env.cr.precommit
        noted = precommit.data.get(_CHANGED)
        if noted is None:
            noted = precommit.data[_CHANGED] = {}
            precommit.add(self.with_env(self.env(context={}))._follow_changes)
        for mirror_id in self.ids:
            noted[mirror_id] = self.env.uid

    @api.model
    def _follow_changes(self):
        """Queue the edits and redactions of the messages that were changed.

        Saving in Odoo must not fail because of Matrix.
        """
        noted = self.env.cr.precommit.data.pop(_CHANGED, None)
        outbox = self.env["matrix.outbox"]
        if not noted:
            return
        self.env.flush_all()
        try:
            self._follow_noted(noted)
        except Exception as error:
            outbox._raise_if_to_run_again(error)
            self._follow_one_by_one(noted)

    @api.model
    def _follow_noted(self, noted):
        """Follow the changes of all these, or of none."""
        outbox = self.env["matrix.outbox"]
        with self.env.cr.savepoint(flush=False), outbox._reading_once():
            mirrors = self.sudo().browse(noted)
            mirrors._read_together()
            for mirror in mirrors:
                mirror.with_user(noted[mirror.id]).sudo()._follow_change()
            self.env.flush_all()

    @api.model
    def _follow_one_by_one(self, noted):
        """Log the changes that cannot be followed."""
        for mirror_id, uid in noted.items():
            # The cache still holds what was rolled back.
            self.env.transaction.clear()
            try:
                self._follow_noted({mirror_id: uid})
            except Exception as error:
                self.env["matrix.outbox"]._raise_if_to_run_again(error)
                self.env.transaction.clear()
                self.browse(mirror_id).with_user(uid).sudo()._log_not_followed(error)

    def _read_together(self):
        """Look up at once what these are about; see _reading_once of matrix.outbox."""
        outbox = self.env["matrix.outbox"]
        outbox._existing("mail.message", self.mapped("message_id"))
        for model, mirrors in self.grouped("res_model").items():
            if model in self.env:
                outbox._existing(model, mirrors.mapped("res_id"))

    def _log_not_followed(self, error):
        try:
            with self.env.cr.savepoint(flush=False):
                failure = {
                    **self._target(),
                    "event_type": "chatter",
                    "user_id": self.env.uid,
                    "error_code": words.ERROR_TEMPLATE,
                    "error_message": contents.clean(str(error)),
                }
                self.env["matrix.log"]._insert_failures([failure])
        except Exception as second_error:
            self.env["matrix.outbox"]._raise_if_to_run_again(second_error)
            self.env.transaction.clear()
            # Without the texts: an error of the database quotes the row.
            _logger.error(
                "A change to a chatter message was not sent and could not be logged: "
                "matrix.mirror,%s (%s)",
                self.id,
                type(second_error).__name__,
            )

    def _target(self):
        """Return the values of a row for the place where this was posted."""
        return {name: self[name] for name in WHERE}
