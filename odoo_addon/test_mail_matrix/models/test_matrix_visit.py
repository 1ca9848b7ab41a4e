from odoo import api, fields, models


class TestMatrixVisit(models.Model):
    """A record whose events are posted in the ticket's room."""

    _name = "test.matrix.visit"
    _inherit = "matrix.event.mixin"
    _description = "Visit Posted in the Room of its Ticket"

    ticket_id = fields.Many2one("test.matrix.ticket", required=True, ondelete="cascade")
    date = fields.Datetime()

    @api.model_create_multi
    def create(self, vals_list):
        visits = super().create(vals_list)
        visits._matrix_note("visit_created")
        return visits

    def _matrix_room_record(self):
        return self.ticket_id

    @api.model
    def _matrix_event_types(self):
        return ["visit_created", *super()._matrix_event_types()]
