from odoo import api, fields, models
from odoo.exceptions import ValidationError

from .thread import USER


class MatrixThreadMixin(models.AbstractModel):
    """Shows what is written in the room in the chatter."""

    _inherit = "matrix.thread.mixin"

    matrix_receives_replies = fields.Boolean(
        string="Shared Room: Replies Here",
        copy=False,
        tracking=True,
        groups=USER,
        help="If several records share the room, what people write there appears in "
        "the chatter of this one. Replies to a message appear where the message is.",
    )

    @api.constrains("matrix_room_id", "matrix_receives_replies")
    def _check_matrix_receives_replies(self):
        # With all rights: the other record may be hidden from this user.
        for record in self.sudo().filtered("matrix_receives_replies"):
            for name in self.env["matrix.inbound"]._room_models():
                twins = self.env[name].sudo().with_context(active_test=False)
                domain = [("matrix_room_id", "=", record.matrix_room_id)]
                domain += [("matrix_receives_replies", "=", True)]
                if name == record._name:
                    domain += [("id", "!=", record.id)]
                if record.matrix_room_id and twins.search_count(domain, limit=1):
                    raise ValidationError(
                        self.env._(
                            "Another record receives the replies of this room. Turn "
                            "“Shared Room: Replies Here” off there first."
                        )
                    )

    def _matrix_posts_chatter(self, message):
        if self.env.context.get("matrix_inbound"):
            # It came from the room.
            return False
        return super()._matrix_posts_chatter(message)
