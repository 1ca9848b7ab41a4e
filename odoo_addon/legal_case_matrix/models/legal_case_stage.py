from odoo import api, fields, models


class LegalCaseStage(models.Model):
    """A stage may have words of its own for the cases that enter it."""

    _inherit = "legal.case.stage"

    matrix_template = fields.Text(
        string="Matrix Text",
        groups="mail_matrix.group_matrix_manager",
        help="What the room hears when a case enters this stage. "
        "Empty: the text of the Matrix backend.",
    )

    @api.constrains("matrix_template")
    def _check_matrix_template(self):
        """Hold these texts to the rules of the backend's texts."""
        backends = self.env["matrix.backend"]
        for stage in self:
            backends._check_template(stage.matrix_template, ["legal.case"])

    @api.model_create_multi
    def create(self, vals_list):
        if any(vals.get("matrix_template") for vals in vals_list):
            self.env["matrix.backend"]._check_template_editor()
        return super().create(vals_list)

    def write(self, vals):
        if "matrix_template" in vals and any(
            (stage.matrix_template or "") != (vals["matrix_template"] or "")
            for stage in self
        ):
            self.env["matrix.backend"]._check_template_editor()
        return super().write(vals)
