from odoo import fields, models


class ResConfigSettings(models.TransientModel):
    _inherit = "res.config.settings"

    matrix_log_retention_days = fields.Integer(
        string="Keep Deliveries (Days)",
        config_parameter="mail_matrix.log_retention_days",
        help="Older lines of the log are deleted. 0: never.",
    )

    def action_open_matrix_backend(self):
        """Open the backend of this company, or the list where there is none or many."""
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "mail_matrix.matrix_backend_action"
        )
        backend = self.env["matrix.backend"]._active_for(self.env.company)
        if backend:
            action.update(res_id=backend.id, views=[(False, "form")])
        return action
