import hashlib
import json

from odoo import api, models

from ...tools import changes
from .mirror import WHERE


class MatrixMirror(models.Model):
    """Failed posts that are queued again."""

    _inherit = "matrix.mirror"

    @api.model
    def _refusals_to_requeue(self, failed):
        """Return why texts must not be sent, by the id of the row in the log.

        :param failed: rows of the log with the text or a file of a chatter message
        """
        posts = self._posts_of(failed)
        self.concat(*posts.values())._read_together()
        refusals = {row.id: self._refusal(row, posts[row.id]) for row in failed}
        return {row_id: reason for row_id, reason in refusals.items() if reason}

    @api.model
    def _refusal(self, failed, mirror):
        target = failed.content.get(changes.CHANGES)
        if not mirror:
            return self.env._(
                "It is not known whether this message was edited or deleted in Odoo "
                "since. Write it again in the chatter."
            )
        if mirror.is_retracted or mirror._is_to_retract():
            return self.env._(
                "The message was deleted in Odoo or made internal, so there is nothing "
                "to send."
            )
        if mirror.is_moved:
            return self.env._(
                "The chatter of this record was merged into that of another record, so "
                "this is not sent to its room any more."
            )
        if not mirror._is_posted_now():
            return self.env._(
                "Messages in the chatter of this record are not posted in its room any "
                "more."
            )
        if target and self._digest_of_edit(failed.content) != mirror.digest:
            return self.env._(
                "The message was edited again since, so there is nothing to send."
            )
        # None while the record's own room is being created.
        room = mirror._record()._matrix_room_for(failed.backend_id)
        if target and room and room != mirror.room_id:
            return self.env._(
                "This edit is for a message in a room that the record no longer has, "
                "so it is not sent any more."
            )
        return None

    @api.model
    def _posts_of(self, logs):
        """Return, with all rights, the post that each row of the log is about, by the
        id of the row: for an edit, the post that it changes."""
        posted_as = {
            row.id: (row.content or {}).get(changes.CHANGES) or row.txn_id
            for row in logs
        }
        posts = self.sudo().search([("txn_id", "in", list(posted_as.values()))])
        by_txn_id = posts.grouped("txn_id")
        none = posts.browse()
        return {
            row_id: by_txn_id.get(txn_id, none)[:1]
            for row_id, txn_id in posted_as.items()
        }

    def _is_posted_now(self):
        """Whether this would be posted if it was written now."""
        record = self._record()
        return (
            bool(record)
            and record.matrix_enabled
            and record._matrix_posts_chatter(self._message())
        )

    @api.model
    def _follow_requeued(self, requeued):
        """Have posts that were queued again say what their messages say now.

        :param requeued: pairs of a row of the log and the values of its new row in the
            outbox, as far as they differ
        """
        requeued = list(requeued)
        posts = self._posts_of(
            self.env["matrix.log"].concat(*(log for log, _row in requeued))
        )
        for failed, row in requeued:
            target = failed.content.get(changes.CHANGES)
            mirror = posts[failed.id]
            if not mirror:
                continue
            if target:
                # To be redacted with the message.
                others = set(mirror.edit_txn_ids or ()) - {row["txn_id"]}
                mirror.edit_txn_ids = [*sorted(others), row["txn_id"]]
                continue
            mirror.write(
                {name: row[name] for name in WHERE if row.get(name)}
                | {
                    "txn_id": row["txn_id"],
                    "delivery": "new",
                    "digest": self._digest(failed.content),
                }
            )
            mirror._note_change()

    @api.model
    def _digest(self, content):
        """Return a digest that is equal only for contents that look the same to a
        reader."""
        return self._digest_of_edit(changes.edit(content, ""))

    @api.model
    def _digest_of_edit(self, content):
        said = content["m.new_content"]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
