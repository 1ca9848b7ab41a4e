from odoo import api, fields, models


class TestMatrixTicket(models.Model):
    _name = "test.matrix.ticket"
    _inherit = "matrix.thread.mixin"
    _description = "Ticket with a Matrix Room"

    name = fields.Char(required=True, tracking=True)
    stage = fields.Char(default="New", tracking=True)
    company_id = fields.Many2one("res.company")
    partner_id = fields.Many2one("res.partner")
    user_ids = fields.Many2many("res.users")
    visit_ids = fields.One2many("test.matrix.visit", "ticket_id")
    secret = fields.Char(groups="base.group_system")
    # A text may read a field that runs code of other addons.
    echo = fields.Char(compute="_compute_echo")

    def _compute_echo(self):
        for ticket in self:
            ticket.echo = ticket.name

    @api.model_create_multi
    def create(self, vals_list):
        tickets = super().create(vals_list)
        tickets._matrix_note("ticket_created")
        return tickets

    def write(self, vals):
        result = super().write(vals)
        if "stage" in vals:
            self._matrix_note("ticket_moved")
        return result

    @api.model
    def _matrix_opening_events(self):
        return ["ticket_created", *super()._matrix_opening_events()]

    @api.model
    def _matrix_event_types(self):
        return ["ticket_created", "ticket_moved", *super()._matrix_event_types()]
