from markupsafe import Markup

from odoo import api, fields, models
from odoo.tools import is_html_empty

from ...tools import content as contents
from .thread import USER

# What people write. Notifications of the system are events of their own.
_WRITTEN = ("comment", "email", "email_outgoing")

# A placeholder for the message while the backend's text is rendered: the message itself
# is not a template, and has its own HTML. The character is from Unicode's private use
# area.
_PLACE = "\ue000text\ue000"


class MatrixThreadMixin(models.AbstractModel):
    """Posts chatter messages in the room, if the record says so."""

    _inherit = "matrix.thread.mixin"

    matrix_mirror_notes = fields.Boolean(
        string="Post Internal Notes Too",
        tracking=True,
        groups=USER,
        help="Notes are for colleagues. Turn on only if everybody in the room may read "
        "them.",
    )

    @api.model
    def _matrix_event_types(self):
        return [*super()._matrix_event_types(), "chatter"]

    def _message_post_after_hook(self, message, msg_vals):
        result = super()._message_post_after_hook(message, msg_vals)
        if self._matrix_posts_chatter(message):
            self.env["matrix.outbox"]._note(self, "chatter", message.id)
        return result

    def _message_update_content(self, message, *args, **kwargs):
        result = super()._message_update_content(message, *args, **kwargs)
        # If only files were removed, the message itself was not written.
        message._matrix_follow()
        return result

    def message_change_thread(self, new_thread, new_parent_message=False):
        records = self.with_context(matrix_thread_moves=True)
        return super(MatrixThreadMixin, records).message_change_thread(
            new_thread, new_parent_message=new_parent_message
        )

    def unlink(self):
        records = self.with_context(matrix_record_goes=True)
        return super(MatrixThreadMixin, records).unlink()

    def _matrix_posts_chatter(self, message):
        # With all rights: whether chatter goes to the room does not depend on who
        # writes.
        return self.sudo().matrix_mirror_chatter and self._matrix_is_for_room(message)

    def _matrix_is_for_room(self, message):
        """Whether ``message`` is for people in the room, if chatter is posted there."""
        if message.message_type not in _WRITTEN:
            return False
        # With all rights: what kind of message it is does not depend on who posts it.
        message = message.sudo()
        # One that was deleted in the browser is marked as edited, and has no words.
        if is_html_empty(message.body) and not message.attachment_ids:
            return False
        return self.sudo().matrix_mirror_notes or not message._matrix_is_internal()

    def _matrix_chatter_message(self):
        """Return the message that is being posted, or none if it was deleted since."""
        message_id = self.env.context.get("matrix_message_id", 0)
        return self.env["matrix.outbox"]._existing("mail.message", [message_id])

    def _matrix_target(self, event_type):
        if event_type == "chatter":
            # At commit a message may be gone, emptied or an internal note.
            message = self._matrix_chatter_message()
            if not message or not self._matrix_posts_chatter(message):
                return None
        return super()._matrix_target(event_type)

    def _matrix_variables(self, event_type):
        if event_type != "chatter":
            return super()._matrix_variables(event_type)
        message = self._matrix_chatter_message()
        return {"author": message._matrix_author(), "text": _PLACE}

    def _matrix_row(self, event_type, backend, values):
        row = super()._matrix_row(event_type, backend, values)
        if event_type == "chatter":
            # In the language of the rest of the text.
            outbox = self.env["matrix.outbox"]
            record = outbox._in_language_of(self, self._matrix_room_record())
            row["content"] = record._matrix_chatter_content(row["content"])
            message = self._matrix_chatter_message()
            row["message_id"] = message.id
            row["known_files"] = {"ids": sorted(message.attachment_ids.ids)}
        return row

    def _matrix_file_rows(self, backend, values, queued=()):
        """Return the rows of the message's files, which follow its text.

        :param queued: ids of files that have a row already
        """
        message = self._matrix_chatter_message()
        files = message.attachment_ids.sorted("id")
        files = files.filtered(lambda file: file.id not in queued)
        rows = self.env["matrix.outbox"]._file_rows(backend, "chatter", values, files)
        return [{**row, "message_id": message.id} for row in rows]

    def _matrix_chatter_content(self, content):
        """Return ``content`` with the message in place of its placeholder."""
        message = self._matrix_chatter_message()
        reading = message._matrix_reading(self.get_base_url())
        text, html = reading.text, Markup(reading.html)
        files = message.attachment_ids.sorted("id")
        below = [f"📎 {attachment.name}" for attachment in files]
        if reading.is_cut or not (text or below):
            # Without HTML there is no other link to the rest of the message.
            url = self._matrix_url()
            below.append(self.env._("Read on in Odoo: %(url)s", url=url))
        for line in map(contents.clean, below):
            text = f"{text}\n{line}" if text else line
            html = html + Markup("<br/>") + line if html else Markup("") + line
        content = {**content, "body": content["body"].replace(_PLACE, text)}
        if "formatted_body" in content:
            formatted = content["formatted_body"].replace(_PLACE, html)
            content["formatted_body"] = formatted
        if reading.mentioned:
            content["m.mentions"] = {"user_ids": sorted(reading.mentioned)}
        return contents.cut(content)
