from odoo import models
from odoo.exceptions import UserError

from ...tools import words


class MatrixThreadMixin(models.AbstractModel):
    """Failed messages are sent again from the record, by people who may write there."""

    _inherit = "matrix.thread.mixin"

    def _matrix_logged_row(self, log):
        row = super()._matrix_logged_row(log)
        may_send = self._matrix_is_user() and self.has_access("write")
        return {**row, "can_retry": may_send and self._matrix_can_retry(log)}

    def _matrix_can_retry(self, log):
        return (
            log.outcome == "failed"
            and log.error_code != words.ERROR_DELETED
            and bool(log.content and log.txn_id)
            # What never had a room can only be sent as a new message, which a Matrix
            # Manager does in Logs.
            and bool(log.room_id or log.matrix_user_id)
            and not log.was_retried
        )

    def action_matrix_retry(self, log_id):
        """Queue a failed message of this record again; return a notification.

        Raises AccessError if the person could not write to the room either.
        """
        self.ensure_one()
        self._matrix_check_person()
        log = self.env["matrix.log"].search(
            [
                ("id", "=", log_id),
                ("res_model", "=", self._name),
                ("res_id", "=", self.id),
            ]
        )
        if not log or log.outcome != "failed":
            raise UserError(self.env._("This is not a failed message of this record."))
        return log._retry()
