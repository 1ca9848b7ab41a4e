from odoo import models

_SHOWN = 5


class MatrixThreadMixin(models.AbstractModel):
    """What became of a record's messages, for the widget on its form."""

    _inherit = "matrix.thread.mixin"

    def get_matrix_deliveries(self):
        """Return the last messages of this record, the newest first.

        Each is a dict: ``key``, ``date`` (UTC), ``event``, ``text``, ``outcome``
        (waiting, ok, failed or held), ``outcome_text``, ``error``, ``log_id``.
        Raises AccessError where the user may not read the record.
        """
        self.ensure_one()
        self.check_access("read")
        # With all rights: who may read the record may know what was sent about it.
        about = [("res_model", "=", self._name), ("res_id", "=", self.id)]
        waiting = (
            self.env["matrix.outbox"]
            .sudo()
            .search(about, order="id desc", limit=_SHOWN)
        )
        logs = self.env["matrix.log"].sudo().search(about, limit=2 * _SHOWN)
        # A held message has its failed row already, and waits still.
        held = {log.txn_id: log for log in logs if not log.is_final}
        rows = [self._matrix_waiting_row(row, held.get(row.txn_id)) for row in waiting]
        rows += [self._matrix_logged_row(log) for log in logs if log.is_final]
        return rows[:_SHOWN]

    def _matrix_waiting_row(self, row, held):
        outcomes = (
            dict(held._fields["outcome"]._description_selection(self.env))
            if held
            else {}
        )
        return {
            "key": f"outbox-{row.id}",
            "date": row.queued_at,
            "event": self._matrix_event_name(row),
            "text": row.body,
            "outcome": "held" if held else "waiting",
            "outcome_text": outcomes.get("held") or self.env._("Waiting"),
            "error": held.error_message if held else False,
            "log_id": held.id if held else False,
        }

    def _matrix_logged_row(self, log):
        outcomes = dict(log._fields["outcome"]._description_selection(self.env))
        return {
            "key": f"log-{log.id}",
            "date": log.date,
            "event": self._matrix_event_name(log),
            "text": log.payload,
            "outcome": log.outcome,
            "outcome_text": outcomes[log.outcome],
            "error": log.error_message if log.outcome != "ok" else False,
            "log_id": log.id,
        }

    def _matrix_event_name(self, row):
        names = dict(row._fields["event_type"]._description_selection(self.env))
        return names.get(row.event_type, row.event_type)
