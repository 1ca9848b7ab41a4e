import re
from email.utils import parseaddr

from odoo import models

from ..tools import chatter_html

_ADDRESS = re.compile(r"[^\s<>()\[\],;:\"']+@[^\s<>()\[\],;:\"']+")


class MailMessage(models.Model):
    """A message of the chatter as a room reads it."""

    _inherit = "mail.message"

    def init(self):
        """Leave out what Odoo's own method does: it ran when mail was set up.

        In Odoo 18 it locks the table of all messages even where nothing is to do, and
        an upgrade of this addon would keep users from writing until its end.
        """

    def _matrix_is_internal(self):
        return self.is_internal or self.subtype_id.internal or not self.subtype_id

    def _matrix_author(self):
        """Return the name of who wrote this, never an address.

        Odoo names a sender whom it does not know by the address.
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
        """Return the Matrix accounts of those whom the author mentioned on purpose.

        A link in the text alone mentions nobody: anybody can write one.
        """
        return {
            user.partner_id.id: user.matrix_user_id
            for user in self.partner_ids.user_ids
            if user.matrix_user_id
        }
