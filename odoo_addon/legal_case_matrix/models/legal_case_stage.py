from odoo import api, fields, models


class LegalCaseStage(models.Model):
    """A stage can have its own text, and create rooms, for the cases that enter it."""

    _name = "legal.case.stage"
    _inherit = ["legal.case.stage", "matrix.text.mixin"]

    matrix_template = fields.Text(
        string="Matrix Text",
        groups="mail_matrix.group_matrix_manager",
        help="Text that is sent to the room when a case enters this stage. Empty: "
        "the text of the Matrix backend.",
    )
    matrix_template_html = fields.Html(
        string="Formatted Matrix Text",
        groups="mail_matrix.group_matrix_manager",
        help="The same text with formatting, for Matrix clients that show it. If only "
        "this one is filled in, the others get its words without formatting.",
    )

    matrix_create_room = fields.Boolean(
        string="Create Room",
        groups="mail_matrix.group_matrix_manager",
        help="A case that enters this stage and has no room gets one a moment later.",
    )

    @api.model
    def _matrix_text_fields(self):
        own = {"matrix_template", "matrix_template_html"}
        return own | super()._matrix_text_fields()

    def _matrix_text_scope(self, name):
        return ["legal.case"], ()

    def _matrix_text_sample(self, name, models_):
        inside = [("stage_id", "=", self.id)]
        cases = self and self.env["legal.case"].search(inside, limit=1)
        return "stage_changed", cases
