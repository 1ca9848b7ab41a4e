from datetime import timedelta

from odoo import api, fields, models

from ...tools import inbound

# Longer than the worker waits for the key of a message, or for a homeserver that was
# away.
_KEPT_FOR = timedelta(days=2)
_MOST_KEPT = 1000


class MatrixInbound(models.Model):
    """Keeps an edit that comes in before the message that it edits.

    A homeserver may forget to send a message, which the worker passes on later; one of
    an encrypted room may wait for its key.
    """

    _inherit = "matrix.inbound"

    kept_at = fields.Datetime(
        string="Kept Since",
        readonly=True,
        index="btree_not_null",
        help="This edit waits for its message.",
    )

    def _follow_edit(self, record, event):
        original = self._row_of(self.backend_id, event.target)
        is_to_come = (
            not original
            or original.kind == "unreadable"
            # It failed, and somebody may try again.
            or (original.error and not original.message_id)
        )
        if is_to_come and not original.is_redacted:
            self._keep()
            return None
        return super()._follow_edit(record, event)

    def _keep(self):
        """Keep this edit instead of earlier ones of the same message."""
        earlier = self._kept_edits(self.target_event_id, self.sender) - self
        earlier._forget()
        self.kept_at = self.env.cr.now()
        kept = [("backend_id", "=", self.backend_id.id), ("kept_at", "!=", False)]
        self.search(kept, order="id desc", offset=_MOST_KEPT)._forget()

    def _forget(self):
        self.write({"kept_at": False, "event": False})

    def _kept_edits(self, event_id, sender):
        return self.search(
            [
                ("kept_at", "!=", False),
                ("backend_id", "=", self.backend_id.id),
                ("target_event_id", "=", event_id),
                ("sender", "=", sender),
            ]
        )

    def _follow_message(self, record, event):
        result = super()._follow_message(record, event)
        for edit in self._kept_edits(self.event_id, self.sender):
            raw = edit.event
            kept = inbound.read(raw)
            edit._forget()
            if kept:
                # The message comes in even if its edit cannot be applied.
                edit._follow_or_log(record, kept, raw)
        return result

    def _follow_redaction(self, record, event):
        gone = self._row_of(self.backend_id, event.target)
        result = super()._follow_redaction(record, event)
        gone.filtered("kept_at")._forget()
        return result

    @api.autovacuum
    def _gc_kept_edits(self):
        """Forget edits whose message did not come."""
        before = self.env.cr.now() - _KEPT_FOR
        self.sudo().search([("kept_at", "<", before)])._forget()
