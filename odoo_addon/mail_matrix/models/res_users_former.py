from itertools import islice

from odoo import api, fields, models
from odoo.tools import format_list

_NAMED = 10


class ResUsers(models.Model):
    """Rooms in which an account is that the user no longer has.

    It can read what is posted there. A person decides whether it is removed: on the
    page Matrix of the record.
    """

    _inherit = "res.users"

    matrix_former_note = fields.Text(
        string="Former Matrix Accounts",
        compute="_compute_matrix_former_note",
        groups="mail_matrix.group_matrix_user",
    )

    @property
    def SELF_READABLE_FIELDS(self):
        return [*super().SELF_READABLE_FIELDS, "matrix_former_note"]

    @api.depends("matrix_user_id")
    @api.depends_context("uid", "lang", "allowed_company_ids")
    def _compute_matrix_former_note(self):
        seen = self._matrix_rooms_of()
        former = seen.filtered(lambda person: person._is_former()).grouped("user_id")
        for user in self:
            own = former.get(user._origin)
            user.matrix_former_note = self._matrix_former_text(own)

    def _matrix_rooms_of(self):
        """Return where these users were last seen in a room, with all rights."""
        return (
            self.env["matrix.room.person"]
            .sudo()
            .search(
                [("user_id", "in", self._origin.ids), ("state", "in", ("in", "left"))]
            )
        )

    @api.model
    def _matrix_former_text(self, people):
        """Return in which rooms these accounts are, or False.

        Only records that this reader may read are named.
        """
        if not people:
            return False
        # Whoever reads their own preferences does so with all rights.
        reader = self.env["matrix.log"].sudo(False)
        names = {}
        for model, group in people.grouped("res_model").items():
            readable = reader._readable_ids(model, group.mapped("res_id"))
            if readable:
                for record in reader.env[model].browse(readable):
                    names[model, record.id] = record.display_name
        named = dict(islice(names.items(), _NAMED))
        accounts = format_list(self.env, sorted(set(people.mapped("account"))))
        note = self.env._(
            "Still in Matrix rooms, where they can read what is posted: %(accounts)s.",
            accounts=accounts,
        )
        if named:
            note += " " + self.env._(
                "They can be removed on the page Matrix of: %(records)s.",
                records=format_list(self.env, list(named.values())),
            )
        rooms = people.filtered(lambda seen: (seen.res_model, seen.res_id) in named)
        beyond = set(people.mapped("room_id")) - set(rooms.mapped("room_id"))
        if beyond:
            note += " " + self.env._("Further rooms: %(count)s.", count=len(beyond))
        return note

    def _matrix_warning_of_former(self):
        """Return a warning if the stored account is replaced and stays in rooms."""
        stored = self._origin.matrix_user_id
        if not stored or stored == self.matrix_user_id:
            return None
        seen = self._matrix_rooms_of().filtered(lambda seen: seen.account == stored)
        if not seen:
            return None
        return {
            "warning": {
                "type": "notification",
                "title": self.env._("The former account stays in rooms"),
                "message": self._matrix_former_text(seen),
            }
        }
