from odoo import api, fields, models
from odoo.exceptions import ValidationError

from ..tools import content as contents


class ResUsers(models.Model):
    """Who a user of Odoo is in Matrix."""

    _inherit = "res.users"

    matrix_user_id = fields.Char(
        string="Matrix Account",
        copy=False,
        help="For example @name:example.org. Rooms that Odoo creates invite it.",
    )
    matrix_display_name = fields.Char(string="Name in Matrix", copy=False)

    @property
    def SELF_READABLE_FIELDS(self):
        return [*super().SELF_READABLE_FIELDS, "matrix_user_id", "matrix_display_name"]

    @api.constrains("matrix_user_id")
    def _check_matrix_user_id(self):
        for user in self:
            account = user.matrix_user_id
            if account and not contents.is_user_id(account):
                raise ValidationError(
                    self.env._(
                        "“%(account)s” is no Matrix account. Write it as "
                        "@name:example.org",
                        account=account[:300],
                    )
                )
