from odoo import api, fields, models


class LegalCase(models.Model):
    _name = "legal.case"
    _description = "Legal Case"
    _inherit = ["mail.thread", "mail.activity.mixin"]
    _order = "date_opened desc, id desc"
    _rec_names_search = ["name", "reference"]
    _check_company_auto = True

    name = fields.Char(required=True, tracking=True)
    reference = fields.Char(readonly=True, copy=False, index="trigram")
    partner_id = fields.Many2one(
        comodel_name="res.partner",
        string="Client",
        required=True,
        tracking=True,
        index=True,
        check_company=True,
    )
    user_id = fields.Many2one(
        comodel_name="res.users",
        string="Responsible",
        default=lambda self: self.env.user,
        domain="[('share', '=', False), ('company_ids', 'in', company_id)]",
        tracking=True,
        index=True,
        check_company=True,
    )
    lawyer_ids = fields.Many2many(
        comodel_name="res.users",
        relation="legal_case_lawyer_rel",
        column1="case_id",
        column2="user_id",
        string="Lawyers",
        domain="[('share', '=', False), ('company_ids', 'in', company_id)]",
        check_company=True,
    )
    company_id = fields.Many2one(
        comodel_name="res.company",
        required=True,
        default=lambda self: self.env.company,
        index=True,
    )
    stage_id = fields.Many2one(
        comodel_name="legal.case.stage",
        compute="_compute_stage_id",
        store=True,
        readonly=False,
        precompute=True,
        copy=False,
        ondelete="restrict",
        domain="[('company_id', 'in', (company_id, False))]",
        group_expand="_read_group_stage_ids",
        tracking=True,
        index=True,
        check_company=True,
    )
    description = fields.Html()
    date_opened = fields.Date(
        string="Opened on", default=fields.Date.context_today, copy=False
    )
    hearing_ids = fields.One2many(
        comodel_name="legal.hearing",
        inverse_name="case_id",
        # The hearings of an archived case are archived with it.
        context={"active_test": False},
    )
    hearing_count = fields.Integer(compute="_compute_hearing_count")
    next_hearing_date = fields.Datetime(
        string="Next Hearing", compute="_compute_next_hearing_date"
    )
    active = fields.Boolean(default=True)

    @api.depends("company_id")
    def _compute_stage_id(self):
        """Keep a stage that the company may use, else take the company's first one."""
        for company, cases in self.grouped("company_id").items():
            first = self.env["legal.case.stage"].search(
                [("company_id", "in", (company.id, False))], limit=1
            )
            for case in cases:
                if (
                    case.stage_id.company_id not in (company, company.browse())
                    or not case.stage_id
                ):
                    case.stage_id = first

    @api.depends("hearing_ids")
    def _compute_hearing_count(self):
        counts = dict(
            self.env["legal.hearing"]
            .with_context(active_test=False)
            ._read_group([("case_id", "in", self.ids)], ["case_id"], ["__count"])
        )
        for case in self:
            case.hearing_count = counts.get(case._origin, 0)

    @api.depends("hearing_ids.date_start", "hearing_ids.state")
    def _compute_next_hearing_date(self):
        now = fields.Datetime.now()
        for case in self:
            dates = [
                hearing.date_start
                for hearing in case.hearing_ids
                if hearing.state == "planned"
                and hearing.date_start
                and hearing.date_start >= now
            ]
            case.next_hearing_date = min(dates, default=False)

    @api.model
    def _read_group_stage_ids(self, stages, domain):
        """Show the empty columns too: a case is moved by dragging it there."""
        return stages.search([("company_id", "in", (*self.env.companies.ids, False))])

    @api.model_create_multi
    def create(self, vals_list):
        for vals in vals_list:
            if not vals.get("reference"):
                company_id = vals.get("company_id") or self.env.company.id
                vals["reference"] = (
                    self.env["ir.sequence"]
                    .with_company(company_id)
                    .next_by_code("legal.case")
                )
        return super().create(vals_list)

    def unlink(self):
        # The database alone would leave their messages and activities behind.
        self.with_context(active_test=False).hearing_ids.unlink()
        return super().unlink()

    def copy_data(self, default=None):
        vals_list = super().copy_data(default=default)
        for case, vals in zip(self, vals_list, strict=True):
            if not (default or {}).get("name"):
                vals["name"] = self.env._("%(name)s (copy)", name=case.name)
        return vals_list

    def action_view_hearings(self):
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "legal_case.legal_hearing_action"
        )
        action["domain"] = [("case_id", "=", self.id)]
        action["context"] = {"default_case_id": self.id, "active_test": False}
        return action
