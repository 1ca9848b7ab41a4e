from odoo import api, models

from ...tools import changes, words


class MatrixLog(models.Model):
    """A failed chatter message is sent only as it is in Odoo now, or not at all."""

    _inherit = "matrix.log"

    def _is_lost_chatter(self):
        """Whether this is a chatter message that never had a room."""
        return (
            self.event_type == "chatter"
            and not self.room_id
            and self.error_code in words.CHATTER_WITHOUT_ROOM
        )

    def _says_chatter(self):
        """Whether this has the text, or a file, of a chatter message."""
        return self.event_type == "chatter" and self.matrix_type != changes.REDACTION

    def _leave_stale_chatter(self, left):
        """Return these rows without those whose text must not be sent.

        :param Counter left: counts those, by the reason in plain words
        """
        said = self.filtered(lambda row: row._says_chatter())
        refusals = self.env["matrix.mirror"]._refusals_to_requeue(said)
        left.update(refusals.values())
        return self.filtered(lambda row: row.id not in refusals)

    def _for_previous_room(self):
        """Return those chatter messages that failed in a room that their record does
        not have now: there they would not follow what was edited since.

        Until its own room is there, a record still has the backend's default room.
        """
        return self.filtered(
            lambda row: (
                row._says_chatter()
                and (record := row._room_record())
                and not record._matrix_awaits_room()
                and row.room_id != record._matrix_room_for(row.backend_id)
            )
        )

    @api.model
    def _previous_room_explanation(self):
        return self.env._(
            "The record has another room now. Click “Send Again”, which sends there."
        )
