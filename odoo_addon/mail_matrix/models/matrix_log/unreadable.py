from odoo import api, models
from odoo.tools import SQL

from ...tools import words


class MatrixLog(models.Model):
    """Lines for what came in from an encrypted room and could not be decrypted."""

    _inherit = "matrix.log"

    @api.model
    def _log_unreadable(self, row, name, reason):
        """Log that the event of ``row`` of matrix.inbound could not be read.

        :param name: what its sender is called
        """
        values = {
            "backend_id": row.backend_id.id,
            "event_type": "inbound",
            "res_model": row.res_model,
            "res_id": row.res_id,
            "room_id": row.room_id,
            "payload": self.env._(
                "Message from %(name)s (%(sender)s)", name=name, sender=row.sender
            ),
            "matrix_event_id": row.event_id,
            "status": "failed",
            "error_code": words.ERROR_UNREADABLE,
            "error_message": reason,
        }
        self.env.cr.execute(
            SQL(
                "INSERT INTO matrix_log (%s) VALUES %s",
                SQL(", ").join(map(SQL.identifier, values)),
                tuple(self._bound(values).values()),
            )
        )

    @api.model
    def _log_read_later(self, row):
        """Say in the line of an event that it could be read after all."""
        self.env.cr.execute(
            SQL(
                """
                UPDATE matrix_log SET error_code = %s, error_message = %s
                WHERE (res_model, res_id) = (%s, %s) AND backend_id = %s
                    AND matrix_event_id = %s AND error_code = %s
                """,
                words.ERROR_READ_LATER,
                self.env._("Its key came later: the message is in the chatter."),
                row.res_model,
                row.res_id,
                row.backend_id.id,
                row.event_id,
                words.ERROR_UNREADABLE,
            )
        )
