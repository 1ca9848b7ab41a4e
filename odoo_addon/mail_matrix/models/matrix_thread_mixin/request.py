from odoo import api, fields, models

from .thread import USER

# By the scheduled action, while a form is open.
_CHANGED_MEANWHILE = (
    "matrix_room_id",
    "matrix_room_request",
    "matrix_room_request_note",
)


class MatrixThreadMixin(models.AbstractModel):
    """Rooms that are created in the background, and what is written until then.

    Saving a record calls no homeserver: it inserts a matrix.room.request.
    """

    _inherit = "matrix.thread.mixin"

    matrix_room_request = fields.Selection(
        selection="_matrix_room_request_states",
        string="Room Creation",
        compute="_compute_matrix_room_request",
        groups=USER,
    )
    matrix_room_request_note = fields.Char(
        string="Room Creation Explained",
        compute="_compute_matrix_room_request",
        groups=USER,
    )

    @api.model
    def _matrix_room_request_states(self):
        # By a method: Odoo has no translations of a list in an abstract model.
        return [
            ("open", self.env._("In progress")),
            ("failed", self.env._("Failed, will be tried again")),
        ]

    @api.depends_context("lang")
    def _compute_matrix_room_request(self):
        notes = self.env["matrix.room.request"]._notes_of(self._name, self._origin.ids)
        for record in self:
            note = notes.get(record._origin.id)
            is_open = note is not None and not record.matrix_room_id
            state = "failed" if note else "open"
            record.matrix_room_request = is_open and state
            record.matrix_room_request_note = is_open and note

    @api.model_create_multi
    def create(self, vals_list):
        records = super().create(vals_list)
        records.sudo().filtered(
            lambda record: record._matrix_wants_room_from_start()
        )._matrix_request_room()
        return records

    def unlink(self):
        # Due now: nothing has to wait for the next try any more.
        requested = self.env["matrix.room.request"]._open()
        awaiting = self.filtered(lambda record: (record._name, record.id) in requested)
        self.env["matrix.room.request"]._insert(awaiting)
        return super().unlink()

    def _matrix_wants_room_from_start(self):
        """Whether a new record gets a room without being asked."""
        return self._matrix_backend().create_rooms

    def _matrix_request_room(self):
        """Have rooms created for those of these records that have none."""
        if self.env["matrix.outbox"]._is_installing():
            return
        requested = self.env["matrix.room.request"]._open()
        # With all rights: rooms are created whoever causes it.
        records = self.sudo().filtered(
            lambda record: (
                (record._name, record.id) not in requested
                and record.matrix_enabled
                and not record.matrix_room_id
                and not record.matrix_room_alias
                and record._matrix_backend()
            )
        )
        self.env["matrix.room.request"]._insert(records)
        summary = self._matrix_summary_event()
        if summary:
            summed_up = records.filtered(lambda record: record._matrix_sums_up())
            summed_up._matrix_note(summary)

    def get_matrix_deliveries(self):
        """Add whether the room is being created, and what is true now of the fields
        that change then: a form that shows something else is read again."""
        now = self.sudo()
        return {
            **super().get_matrix_deliveries(),
            "awaits_room": self._matrix_awaits_room(),
            "now": {name: now[name] for name in _CHANGED_MEANWHILE},
        }

    def _matrix_awaits_room(self):
        """Whether messages are kept until the record's room has been created."""
        self.ensure_one()
        requested = self.env["matrix.room.request"]._open()
        return (self._name, self.id) in requested

    def _matrix_room_for(self, backend):
        """Return the room that messages go to, if there is one.

        None while the record's own room is being created: see _matrix_awaits_room.
        """
        if self._matrix_awaits_room():
            return None
        return self.matrix_room_id or backend.default_room_id

    def _matrix_send_early(self):
        """Send what was kept, now that these records have rooms."""
        waiting = self.filtered(
            lambda record: record.matrix_room_id and record._matrix_awaits_room()
        )
        self.env["matrix.room.request"]._insert(waiting)

    def _matrix_target(self, event_type):
        if event_type == self._matrix_created_event() and (
            self._matrix_awaits_room() and self._matrix_sums_up()
        ):
            # The summary says it.
            return None
        return super()._matrix_target(event_type)
