import re
from email.utils import parseaddr

from odoo import models
from odoo.exceptions import AccessError

from ..tools import chatter_html

# Fields that change a message's text, or who may read it.
_TEXT_FIELDS = {
    "body",
    "attachment_ids",
    "subtype_id",
    "is_internal",
    "model",
    "res_id",
}

_ADDRESS = re.compile(r"[^\s<>()\[\],;:\"']+@[^\s<>()\[\],;:\"']+")


class MailMessage(models.Model):
    """A chatter message, and its copies in rooms."""

    _inherit = "mail.message"

    def init(self):
        """Skip Odoo's own method, which ran when mail was installed.

        In Odoo 18 it locks the table of all messages even if there is nothing to do,
        and an upgrade of this addon would keep users from writing until it ends.
        """

    def write(self, vals):
        result = super().write(vals)
        # Odoo writes nothing when it removes files.
        if not vals or _TEXT_FIELDS & vals.keys():
            self._matrix_follow("res_id" in vals or "model" in vals)
        return result

    def unlink(self):
        mirrors = self.env["matrix.mirror"]._of(self)
        result = super().unlink()
        if self.env.context.get("matrix_record_goes"):
            # Posts about a deleted record stay in the room, as its other events do.
            mirrors.unlink()
        else:
            mirrors._note_change()
        return result

    def _matrix_follow(self, is_moved=False):
        """Update the rooms where these messages were posted.

        :param bool is_moved: they may belong to another record now
        """
        mirrors = self.env["matrix.mirror"]._of(self)
        if self.env.context.get("matrix_thread_moves"):
            mirrors.is_moved = True
            return
        mirrors._note_change()
        if is_moved:
            posted = set(mirrors.mapped("message_id"))
            for message in self.filtered(lambda message: message.id in posted):
                message._matrix_post_in_new_room()

    def _matrix_post_in_new_room(self):
        """Post this message in the room of its new record; return whether that record
        posts it."""
        model = self.env.get(self.model)
        if model is None or "matrix_mirror_chatter" not in model._fields:
            return False
        record = model.browse(self.res_id)
        self.env["matrix.outbox"]._note(record, "chatter", self.id)
        return record._matrix_posts_chatter(self)

    def _matrix_show_delivery(self, status, reason):
        """Show this message's outcome below it; return whether that has changed."""
        notes = self.env["mail.notification"].sudo()
        note = notes.search(
            [("mail_message_id", "=", self.id), ("notification_type", "=", "matrix")],
            limit=1,
        )
        shown = {
            "notification_status": status,
            "failure_type": "unknown" if reason else False,
            "failure_reason": reason,
        }
        if note and all(note[name] == value for name, value in shown.items()):
            return False
        if note:
            note.write(shown)
        else:
            notes.create(
                {
                    **shown,
                    "mail_message_id": self.id,
                    "notification_type": "matrix",
                    "author_id": self.author_id.id,
                    "is_read": True,
                }
            )
        return True

    def _matrix_failures(self):
        """Return the lines of the log that say why this message is not in its room."""
        posts = self.env["matrix.mirror"]._of(self)
        # The log has no index on transaction ids.
        about = [("res_model", "in", posts.mapped("res_model"))]
        about += [("res_id", "in", posts.mapped("res_id"))]
        failed = self.env["matrix.log"].search(
            [*about, ("txn_id", "in", posts.mapped("txn_id"))], order="id"
        )
        # What was queued again has another line, or will have one.
        return failed.filtered(
            lambda log: log.outcome == "failed" and not log.was_retried
        )

    def action_matrix_deliveries(self):
        """Say why this message failed, and offer to send it again.

        Outside the Matrix groups only the author sees why.
        """
        self.ensure_one()
        self.check_access("read")
        user = self.env.user
        if user.has_group("mail_matrix.group_matrix_user"):
            return {
                "type": "ir.actions.act_window",
                "name": self.env._("Not Sent to Matrix"),
                "res_model": "matrix.not.sent",
                "views": [(False, "form")],
                "target": "new",
                "context": {"default_message_id": self.id},
            }
        if user.share or self.author_id != user.partner_id:
            raise AccessError(
                self.env._(
                    "Only the author of this message and Matrix Users can see why it "
                    "was not sent to Matrix."
                )
            )
        notes = self.sudo().notification_ids.filtered(
            lambda note: note.notification_type == "matrix" and note.failure_reason
        )
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "danger",
                "title": self.env._("Not sent to Matrix"),
                "message": notes[:1].failure_reason or "",
            },
        }

    def _matrix_is_internal(self):
        return self.is_internal or self.subtype_id.internal or not self.subtype_id

    def _matrix_author(self):
        """Return the name of the author, never an address.

        For a sender whom Odoo does not know it uses the address as the name.
        """
        author = self.author_id.display_name or self.author_guest_id.name
        for name in (author, parseaddr(self.email_from or "")[0]):
            name = _ADDRESS.sub("", name or "").strip(" ,;:<>()\"'")
            if name:
                return name
        return self.env._("Unknown sender")

    def _matrix_reading(self, base_url):
        """Return the tools.chatter_html.Reading of this message, without its files.

        :param str base_url: where links within Odoo lead
        """
        is_mail = self.message_type != "comment"
        people = {} if is_mail else self._matrix_people()
        return chatter_html.read(self.body, base_url, people, is_mail)

    def _matrix_people(self):
        """Return the Matrix accounts of people whom the author mentioned on purpose.

        A link in the text alone mentions nobody: anybody can write one.
        """
        return {
            user.partner_id.id: user.matrix_user_id
            for user in self.partner_ids.user_ids
            if user.matrix_user_id
        }
