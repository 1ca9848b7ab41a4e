from odoo import fields, models


class LegalCaseStage(models.Model):
    _name = "legal.case.stage"
    _description = "Legal Case Stage"
    _order = "sequence, id"

    name = fields.Char(required=True, translate=True)
    sequence = fields.Integer(default=10)
    fold = fields.Boolean(
        string="Folded in Kanban",
        help="Cases of this stage are shown as a narrow column. "
        "Meant for stages in which nothing is left to do.",
    )
    description = fields.Text(
        translate=True, help="When a case belongs in this stage, for your colleagues."
    )
    company_id = fields.Many2one(
        comodel_name="res.company",
        help="Leave empty for a stage that all companies share.",
    )
    active = fields.Boolean(default=True)
