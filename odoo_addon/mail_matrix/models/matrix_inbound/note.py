from datetime import datetime, timedelta, timezone
from textwrap import shorten

from markupsafe import Markup

from odoo import api, models

from ...tools import inbound, inbound_html

_QUOTED = 120
# An event states its own time, which is believed up to this age.
_OLDEST = timedelta(days=30)


class MatrixInbound(models.Model):
    """Turns a message from a room into a note, and applies its edits and redaction."""

    _inherit = "matrix.inbound"

    def _follow(self, record, event):
        """Show in the chatter of ``record`` what ``event`` says."""
        self.ensure_one()
        if self.is_late and self.res_model:
            logs = self._as_author(record, event.sender).env["matrix.log"]
            logs._log_read_later(self)
        self.write({"res_model": record._name, "res_id": record.id})
        getattr(self, f"_follow_{event.kind}")(record, event)

    def _follow_message(self, record, event):
        record = self._as_author(record, event.sender)
        answered, words = self._answered(record, event.target)
        author = record.env.user.partner_id
        message = record.message_post(
            body=self._note_body(record, event, words),
            message_type="comment",
            subtype_xmlid="mail.mt_note",
            author_id=author.id,
            # Odoo would use the author's e-mail address, and the bot has none.
            email_from=author.email_formatted or author.name,
            parent_id=answered.id,
            date=self._written_at(event),
        )
        if answered and message.parent_id != answered:
            # Odoo sets the first message of the thread as the parent.
            message.parent_id = answered
        self.message_id = message.id

    def _follow_edit(self, record, event):
        original = self._row_of(self.backend_id, event.target)
        message = original._message_of(event.sender)
        if not message:
            return
        self.message_id = message.id
        if self._is_older_edit():
            return
        record = self._as_author(record, event.sender)
        # Not its parent, which is the first message of the thread if it answers none.
        _message, words = self._answered(record, original.target_event_id)
        body = self._note_body(record, event, words)
        message = message.with_env(record.env)
        record._message_update_content(message, body=body, strict=False)

    def _is_older_edit(self):
        """Whether the note shows a later edit: this one could not be read at first, or
        has failed."""
        later = [
            ("backend_id", "=", self.backend_id.id),
            ("message_id", "=", self.message_id),
            ("kind", "=", "edit"),
            ("id", ">", self.id),
            ("is_redacted", "=", False),
        ]
        return bool(self.search_count(later, limit=1))

    def _follow_redaction(self, record, event):
        # Whoever redacts it: the homeserver has already checked that they may.
        gone = self._row_of(self.backend_id, event.target)
        if not gone or gone.is_redacted:
            return
        gone.is_redacted = True
        message = gone._message()
        if gone.kind == "edit":
            newest = self.search(
                [
                    ("backend_id", "=", self.backend_id.id),
                    ("message_id", "=", gone.message_id),
                    # Not its message, which may have come in later.
                    ("kind", "=", "edit"),
                ],
                limit=1,
            )
            message = newest == gone and message
        if message:
            record = self._as_author(record, event.sender)
            message = message.with_env(record.env)
            record._message_update_content(
                message, body="", attachment_ids=[], strict=False
            )

    def _message(self):
        return self.env["mail.message"].browse(self.message_id or 0).exists()

    def _message_of(self, sender):
        """Return the note of this row if ``sender`` wrote it, else none."""
        is_own = self.kind == "message" and self.sender == sender
        message = self._message() if is_own and not self.is_redacted else None
        return message or self.env["mail.message"]

    @api.model
    def _as_author(self, record, sender):
        """Return ``record`` with all rights, in the name of ``sender``.

        All rights, because whoever may write in the room needs no access to the record.
        The note is not posted in a room again, and nobody becomes a follower.
        """
        author = self._user_of(sender) or self.env.ref("mail_matrix.user_matrix_bot")
        record = self.env["matrix.outbox"]._in_language_of(record, record)
        record = record.with_user(author).sudo()
        return record.with_context(
            matrix_inbound=True,
            mail_post_autofollow_author_skip=True,
            mail_create_nosubscribe=True,
        )

    @api.model
    def _user_of(self, sender):
        return self.env["res.users"].search([("matrix_user_id", "=", sender)], limit=1)

    @api.model
    def _note_body(self, record, event, words):
        text = event.html and inbound_html.safe(event.html)
        if event.file and not (text or event.text):
            # The note names the file until it is attached, or if it never is.
            text = Markup("<p>📎 %s</p>") % event.file.name
        if not text:
            text = Markup(inbound.text_html(event.text))  # nosec
        pieces = []
        if words:
            said = record.env._("In reply to: %s", words)
            # Not a quotation, because Odoo folds those away.
            pieces.append(Markup('<p class="text-muted mb-0">%s</p>') % said)
        if not self._user_of(event.sender):
            name = self._name_of(event.sender)
            heading = Markup("<p><b>%s</b> (%s):</p>")
            pieces.append(heading % (name, event.sender))
        return Markup("").join([*pieces, text])

    @api.model
    def _name_of(self, sender):
        """Return a sender's display name in Matrix, which proves nothing."""
        names = self.env.context.get("matrix_names") or {}
        name = names.get(sender)
        if not name:
            contacts = self.env["matrix.contact"]
            found = contacts.search([("matrix_user_id", "=", sender)], limit=1)
            name = found.display_name
        return inbound.sender_name(name, sender)

    def _answered(self, record, event_id):
        """Return the chatter message of the event that is answered, or none, and its
        text.

        Anything else, such as the message of an event, has only a text.
        """
        nothing = self.env["mail.message"]
        if not event_id:
            return nothing, None
        row = self._row_of(self.backend_id, event_id)
        message = row._message()
        if not row:
            delivery = self._delivery([record], event_id)
            if not delivery:
                return nothing, None
            mirrors = self.env["matrix.mirror"].sudo()
            domain = [("txn_id", "=", delivery["txn_id"])]
            mirror = mirrors.search(domain, limit=1)
            message = nothing.browse(mirror.message_id or 0).exists()
            if not message:
                return nothing, _quoted(delivery["payload"])
        if (message.model, message.res_id) != (record._name, record.id):
            return nothing, None
        return message.sudo(), self._quote_of(message)

    @api.model
    def _quote_of(self, message):
        return _quoted(message.sudo().preview) if message else None

    def _written_at(self, event):
        """Return when it was written, as far as that can be believed."""
        now = self.env.cr.now()
        try:
            seconds = event.sent_at_ms / 1000
            said = datetime.fromtimestamp(seconds, timezone.utc).replace(tzinfo=None)
        except (OverflowError, ValueError, OSError):
            return now
        return said if now - _OLDEST < said < now else now


def _quoted(text):
    return shorten(text or "", _QUOTED, placeholder="…")
