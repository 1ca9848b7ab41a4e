from odoo import api, models
from odoo.exceptions import UserError


class MatrixInbound(models.Model):
    """A room was replaced: Odoo follows to the new one."""

    _inherit = "matrix.inbound"

    def _follow_replaced(self, record, event):
        """Queue a message, with which the worker follows or finds out why it may not.

        Until then the records show that their room is not usable.
        """
        is_news = self._says_another_room(record)
        # First, because it asks what is known about the room so far.
        follows = not is_news or self._announce_replacement(record)
        for linked in self._records_of_room(self.backend_id, event.room_id):
            if not is_news and linked.matrix_room_health == "replaced":
                continue
            code = "replaced_follows" if follows else "replaced_stays"
            linked.write(linked._matrix_found_values("replaced", {"code": code}))
        if is_news and follows:
            self.env["matrix.lane"]._follow_replaced_soon()

    def _says_another_room(self, record):
        """Whether this is not what the room said before, which counts no more."""
        earlier = self.search(
            [
                ("backend_id", "=", self.backend_id.id),
                ("room_id", "=", self.room_id),
                ("replacement_room", "!=", False),
                ("id", "!=", self.id),
            ]
        )
        if not self.replacement_room and not earlier:
            return record.matrix_room_health != "replaced"
        said = earlier.mapped("replacement_room")
        earlier.replacement_room = False
        return self.replacement_room not in said

    @api.model
    def _announce_replacement(self, record):
        """Queue the message, unless one waits already: the worker follows with that.

        Return False if nothing may be sent from the old room.
        """
        outbox = self.env["matrix.outbox"]
        record = outbox._in_language_of(record, record)
        backend = record._matrix_backend()
        # Another one than that of the event, if this was replaced more than once.
        room = record.matrix_room_id
        try:
            values = record._matrix_row_values(backend, room)
        except UserError:
            # The old room is encrypted, and nothing is sent from it to another one.
            return False
        lane = [("lane", "=", f"{backend.id}/{room}")]
        if outbox.search_count([*lane, ("event_type", "=", "room_replaced")], limit=1):
            return True
        text = record.env._("Messages from Odoo continue in this room.")
        row = outbox._row(backend, "room_replaced", text, values)
        outbox._insert_rows([{**row, "expires_at": None}])
        return True
