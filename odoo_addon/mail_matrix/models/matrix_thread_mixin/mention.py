from odoo import models

from ...tools import content as contents


class MatrixThreadMixin(models.AbstractModel):
    """Whom a text mentions: @ and the name of one of the record's people."""

    _inherit = "matrix.thread.mixin"

    def get_matrix_people(self):
        """Return who can be mentioned, as dicts: ``name``, ``matrix_user_id``."""
        self._matrix_check_user()
        self.ensure_one()
        return [
            {
                "name": user.matrix_display_name or user.name,
                "matrix_user_id": user.matrix_user_id,
            }
            for user in self._matrix_mentionable()
        ]

    def _matrix_mentionable(self):
        """Return the record's people who have an account and whom this user may see."""
        self.check_access("read")
        # With all rights, then as this user, who need not see all of them.
        people = self.sudo()._matrix_room_people()
        others = [("id", "in", (people - self.env.user).ids)]
        account = [("matrix_user_id", "!=", False), ("share", "=", False)]
        return self.env["res.users"].search(others + account)

    def _matrix_named_mentions(self, text):
        """Return pairs of ``@`` with a name in ``text``, and its account."""
        if "@" not in text or len(text) > contents.MAX_CONTENT_BYTES:
            return []
        people = [
            (f"@{person['name']}", person["matrix_user_id"])
            for person in self.get_matrix_people()
        ]
        return [pair for pair in people if not contents.unnamed(text, [pair[0]])]
