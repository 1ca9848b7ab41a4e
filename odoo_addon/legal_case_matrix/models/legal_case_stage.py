from odoo import fields, models


class LegalCaseStage(models.Model):
    _inherit = "legal.case.stage"

    matrix_template = fields.Text(
        string="Matrix Text",
        translate=True,
        groups="mail_matrix.group_matrix_manager",
        help="What the room hears when a case enters this stage. "
        "Empty: the text of the Matrix backend.",
    )
