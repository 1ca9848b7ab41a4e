from odoo import api, fields, models


class LegalCaseStage(models.Model):
    """A stage can have its own text for the cases that enter it."""

    _name = "legal.case.stage"
    _inherit = ["legal.case.stage", "matrix.text.mixin"]

    matrix_template = fields.Text(
        string="Matrix Text",
        groups="mail_matrix.group_matrix_manager",
        help="Text that is sent to the room when a case enters this stage. Empty: "
        "the text of the Matrix backend.",
    )

    @api.model
    def _matrix_text_fields(self):
        return {"matrix_template", *super()._matrix_text_fields()}

    def _matrix_text_scope(self, name):
        return ["legal.case"], ()

    def _matrix_text_sample(self, name):
        cases = self.env["legal.case"].search([("stage_id", "=", self.id)], limit=1)
        return "stage_changed", cases
