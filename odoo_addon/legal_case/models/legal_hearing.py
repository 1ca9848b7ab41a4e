from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import ValidationError


class LegalHearing(models.Model):
    _name = "legal.hearing"
    _description = "Legal Hearing"
    _inherit = ["mail.thread", "mail.activity.mixin"]
    _order = "date_start, id"

    name = fields.Char(required=True, tracking=True)
    case_id = fields.Many2one(
        comodel_name="legal.case", required=True, ondelete="cascade", index=True
    )
    partner_id = fields.Many2one(related="case_id.partner_id", string="Client")
    user_id = fields.Many2one(related="case_id.user_id", store=True)
    company_id = fields.Many2one(related="case_id.company_id", store=True, index=True)
    active = fields.Boolean(related="case_id.active", store=True)
    date_start = fields.Datetime(
        string="Starts at", required=True, tracking=True, index=True
    )
    duration = fields.Float(default=1.0, help="In hours.")
    date_stop = fields.Datetime(
        string="Ends at", compute="_compute_date_stop", store=True
    )
    location = fields.Char(
        tracking=True, help="Court and room, or where else the hearing takes place."
    )
    judge = fields.Char()
    state = fields.Selection(
        selection=[
            ("planned", "Planned"),
            ("held", "Held"),
            ("cancelled", "Cancelled"),
        ],
        default="planned",
        required=True,
        tracking=True,
        copy=False,
    )
    note = fields.Html(string="Notes")

    @api.constrains("duration")
    def _check_duration(self):
        for hearing in self:
            if hearing.duration < 0:
                raise ValidationError(
                    self.env._(
                        "The duration of the hearing “%(name)s” is negative "
                        "(%(duration)s hours). Enter zero or more hours.",
                        name=hearing.name,
                        duration=hearing.duration,
                    )
                )

    @api.depends("date_start", "duration")
    def _compute_date_stop(self):
        for hearing in self:
            hearing.date_stop = hearing.date_start and hearing.date_start + timedelta(
                hours=hearing.duration
            )

    def action_hold(self):
        self.state = "held"

    def action_cancel(self):
        self.state = "cancelled"

    def action_plan(self):
        self.state = "planned"
