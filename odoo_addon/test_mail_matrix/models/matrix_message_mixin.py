from odoo import fields, models


class MatrixMessageMixin(models.AbstractModel):
    _inherit = "matrix.message.mixin"

    event_type = fields.Selection(
        selection_add=[
            ("ticket_created", "Ticket created"),
            ("ticket_moved", "Ticket moved"),
            ("visit_created", "Visit created"),
        ]
    )
