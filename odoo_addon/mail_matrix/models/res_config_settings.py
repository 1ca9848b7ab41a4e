from odoo import api, fields, models

_MANAGER = "mail_matrix.group_matrix_manager"


class ResConfigSettings(models.TransientModel):
    _inherit = "res.config.settings"

    matrix_log_retention_days = fields.Integer(
        string="Keep Logs (Days)",
        config_parameter="mail_matrix.log_retention_days",
        help="Older log entries are deleted. 0: never.",
    )
    matrix_backend_id = fields.Many2one(
        "matrix.backend", compute="_compute_matrix_backend_id", groups=_MANAGER
    )
    matrix_backend_state = fields.Selection(
        related="matrix_backend_id.state", string="Matrix State", groups=_MANAGER
    )
    matrix_backend_note = fields.Char(
        related="matrix_backend_id.state_note",
        string="Matrix State Explained",
        groups=_MANAGER,
    )

    @api.depends("company_id")
    def _compute_matrix_backend_id(self):
        backends = self.env["matrix.backend"]
        for settings in self:
            active = backends._active_for(settings.company_id or self.env.company)
            settings.matrix_backend_id = active.with_env(self.env)

    def action_open_matrix_backend(self):
        """Open the backend of this company, or a new one if there is none."""
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "mail_matrix.matrix_backend_action"
        )
        return {
            **action,
            "res_id": self.matrix_backend_id.id,
            "views": [(False, "form")],
        }
