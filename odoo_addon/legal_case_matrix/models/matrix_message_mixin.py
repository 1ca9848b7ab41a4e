from odoo import fields, models


class MatrixMessageMixin(models.AbstractModel):
    _inherit = "matrix.message.mixin"

    event_type = fields.Selection(
        selection_add=[
            ("case_created", "Case created"),
            ("case_summary", "Case summary"),
            ("stage_changed", "Stage changed"),
            ("hearing_created", "Hearing created"),
            ("hearing_changed", "Hearing changed"),
            ("hearing_cancelled", "Hearing cancelled"),
        ]
    )
