from odoo import fields, models


class MatrixBackend(models.Model):
    _inherit = "matrix.backend"

    notify_ticket_created = fields.Boolean(default=True)
    template_ticket_created = fields.Text(default="Ticket {{ object.name }} created")
    notify_ticket_moved = fields.Boolean(default=True)
    template_ticket_moved = fields.Text(
        default="Ticket {{ object.name }} moved to {{ object.stage }}"
    )
    notify_visit_created = fields.Boolean(default=True)
    template_visit_created = fields.Text(
        default="Visit of {{ object.ticket_id.name }} on "
        "{{ format_datetime(object.date) }}"
    )
