from odoo import fields, models

_MANAGER = "mail_matrix.group_matrix_manager"


class MatrixBackend(models.Model):
    _inherit = "matrix.backend"

    notify_ticket_created = fields.Boolean(default=True, groups=_MANAGER)
    template_ticket_created = fields.Text(
        default="Ticket {{ object.name }} created", groups=_MANAGER
    )
    notify_ticket_moved = fields.Boolean(default=True, groups=_MANAGER)
    template_ticket_moved = fields.Text(
        default="Ticket {{ object.name }} moved to {{ object.stage }}", groups=_MANAGER
    )
    notify_visit_created = fields.Boolean(default=True, groups=_MANAGER)
    template_visit_created = fields.Text(
        default="Visit of {{ object.ticket_id.name }} on "
        "{{ format_datetime(object.date) }}",
        groups=_MANAGER,
    )
