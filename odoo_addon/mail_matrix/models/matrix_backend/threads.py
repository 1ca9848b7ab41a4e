from odoo import fields, models

_MANAGER = "mail_matrix.group_matrix_manager"


class MatrixBackend(models.Model):
    """Whether the messages of a record form a thread."""

    _inherit = "matrix.backend"

    use_threads = fields.Boolean(
        string="Threads",
        help="The message about a new record begins a thread, and later messages about "
        "the record are sent in it. Useful where several records share a room.",
        groups=_MANAGER,
    )
