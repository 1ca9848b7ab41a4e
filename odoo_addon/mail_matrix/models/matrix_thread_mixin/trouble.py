from odoo import api, fields, models

from .thread import USER


class MatrixThreadMixin(models.AbstractModel):
    """Why nothing is being sent, if the cause is not in the record."""

    _inherit = "matrix.thread.mixin"

    matrix_trouble = fields.Char(compute="_compute_matrix_trouble", groups=USER)

    matrix_room_mark = fields.Selection(
        selection="_matrix_room_marks",
        compute="_compute_matrix_room_mark",
        groups=USER,
        help="What is wrong with the room, for lists and cards.",
    )

    @api.model
    def _matrix_room_marks(self):
        # By a method: Odoo has no translations of a list in an abstract model.
        return [
            ("missing", self.env._("No Matrix room")),
            ("failed", self.env._("Matrix room not usable")),
        ]

    def _compute_matrix_room_mark(self):
        notes = self.env["matrix.room.request"]._notes_of(self._name, self.ids)
        lanes = {
            # With all rights: plain users may not read backends.
            record: None if record.id in notes else record.sudo()._matrix_lane()
            for record in self
        }
        known = sorted(set(lanes.values()) - {None})
        held = self.env["matrix.lane"]._held_among(known)
        for record in self:
            record.matrix_room_mark = record._matrix_mark_of(
                lanes[record] in held, notes.get(record.id)
            )

    def _matrix_mark_of(self, is_held, request_note):
        """Return the mark of one record.

        :param request_note: why its room could not be created in the background; None
            if that was not asked for
        """
        backend = self._matrix_backend()
        if not self.matrix_enabled or not backend:
            return False
        if request_note is not None and not self.matrix_room_id:
            return "failed" if request_note else False
        if not self.matrix_room_id and not backend.default_room_id:
            return "missing"
        is_unusable = self.matrix_room_id and self._matrix_room_kind() == "danger"
        return "failed" if is_unusable or is_held else False

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
