from odoo import api, fields, models

from .thread import USER


class MatrixThreadMixin(models.AbstractModel):
    """Why nothing is sent just now, if the cause is not in the record."""

    _inherit = "matrix.thread.mixin"

    matrix_trouble = fields.Char(compute="_compute_matrix_trouble", groups=USER)

    @api.depends_context("uid", "lang")
    def _compute_matrix_trouble(self):
        for record in self:
            record.matrix_trouble = record._matrix_trouble_of(record._matrix_backend())

    @api.model
    def _matrix_trouble_of(self, backend):
        if not backend:
            return self._matrix_no_backend_explanation()
        if not backend.state or backend.state in ("ok", "rate_limited"):
            return False
        states = dict(backend._fields["state"]._description_selection(self.env))
        return f"{states[backend.state]}: {backend.state_note}"
