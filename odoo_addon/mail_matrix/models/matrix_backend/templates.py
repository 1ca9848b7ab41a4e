from odoo import api, fields, models

_PREFIX = "template_"


class MatrixBackend(models.Model):
    """The texts of all events, including those of other addons."""

    _name = "matrix.backend"
    _inherit = ["matrix.backend", "matrix.text.mixin"]

    text_problems = fields.Text(
        compute="_compute_text_problems", groups="mail_matrix.group_matrix_manager"
    )

    @api.depends_context("uid", "allowed_company_ids")
    def _compute_text_problems(self):
        """List the invalid texts of all models: this is where people look."""
        problems = self._matrix_invalid_texts(self.env.companies)
        self.text_problems = "\n".join(problems) or False

    def _register_hook(self):
        """Log the texts that an upgrade made invalid, once all addons are loaded."""
        super()._register_hook()
        if self.pool.updated_modules:
            self._matrix_log_invalid_texts()

    @api.model
    def _matrix_text_fields(self):
        return {name for name in self._fields if name.startswith(_PREFIX)}

    def _matrix_text_scope(self, name):
        event_type = name.removeprefix(_PREFIX)
        variables = self.env["matrix.event.mixin"]._matrix_variable_names(event_type)
        return self._models_of_template(event_type), variables

    def _matrix_text_sample(self, name, models_):
        event_type = name.removeprefix(_PREFIX)
        found = self and self.env["matrix.preview"]._first_record(event_type)
        if not found:
            return event_type, None
        model, _comma, res_id = found.partition(",")
        return event_type, self.env[model].browse(int(res_id))

    def _matrix_text_backend(self):
        return self

    @api.model
    def _models_of_template(self, event_type):
        """Return the models that this event happens to; all, if none names it."""
        models_ = self._template_models()
        return [
            name
            for name in models_
            if event_type in self.env[name]._matrix_event_types()
        ] or models_

    @api.model
    def _template_models(self):
        """Return the models whose events these texts describe."""
        names = self.env.registry.descendants(["matrix.event.mixin"], "_inherit")
        return [name for name in sorted(names) if not self.env[name]._abstract]
