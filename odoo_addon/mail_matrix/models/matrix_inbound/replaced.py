from odoo import api, models
from odoo.exceptions import UserError


class MatrixInbound(models.Model):
    """A room was replaced: Odoo follows to the new one."""

    _inherit = "matrix.inbound"

    def _follow_replaced(self, record, event):
        """Queue a message, with which the worker follows or finds out why it may not.

        Until then the records show that their room is not usable.
        """
        records = self._records_linked_to(self.backend_id, [event.room_id])
        for linked in records:
            linked = self.env["matrix.outbox"]._in_language_of(linked, linked)
            linked.write(
                {
                    "matrix_room_health": "replaced",
                    "matrix_room_health_note": linked.env._(
                        "This room was replaced by another one. Odoo follows to it as "
                        "soon as its account is invited there."
                    ),
                }
            )
        if records:
            self._announce_replacement(record, event.room_id)
            self.env["matrix.lane"]._follow_replaced_soon()

    @api.model
    def _announce_replacement(self, record, room):
        outbox = self.env["matrix.outbox"]
        record = outbox._in_language_of(record, record)
        backend = record._matrix_backend()
        try:
            values = record._matrix_row_values(backend, room)
        except UserError:
            # The old room is encrypted, and nothing is sent from it to another one.
            return
        text = record.env._("Messages from Odoo continue in this room.")
        row = outbox._row(backend, "room_replaced", text, values)
        outbox._insert_rows([{**row, "expires_at": None}])
