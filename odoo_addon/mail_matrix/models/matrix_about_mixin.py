from odoo import api, fields, models
from odoo.exceptions import UserError


class MatrixAboutMixin(models.AbstractModel):
    """A row that is about a record, which may be gone or another person's."""

    _name = "matrix.about.mixin"
    _description = "About a Record"

    res_model = fields.Char(string="Record Model", readonly=True)
    res_id = fields.Many2oneReference(
        string="Record ID", model_field="res_model", readonly=True
    )
    record_ref = fields.Reference(
        selection="_selection_record_ref",
        string="Record",
        compute="_compute_record_ref",
    )

    @api.model
    def _selection_record_ref(self):
        models = self.env["ir.model"].sudo().search([("transient", "=", False)])
        return [(model.model, model.name) for model in models]

    @api.depends("res_model", "res_id")
    @api.depends_context("uid")
    def _compute_record_ref(self):
        """Name the record only if it exists and this user may read it."""
        for model, rows in self.grouped("res_model").items():
            readable = set(self._readable_ids(model, rows.mapped("res_id")))
            for row in rows:
                found = row.res_id in readable
                row.record_ref = f"{model},{row.res_id}" if found else False

    @api.model
    def _readable_ids(self, model, res_ids):
        if model not in self.env or not self.env[model].has_access("read"):
            return []
        records = self.env[model].with_context(active_test=False)
        return records.search([("id", "in", res_ids)]).ids

    def action_open_record(self):
        self.ensure_one()
        if not self.record_ref:
            raise UserError(
                self.env._("This record was deleted, or you may not read it.")
            )
        return self.record_ref.get_formview_action()
