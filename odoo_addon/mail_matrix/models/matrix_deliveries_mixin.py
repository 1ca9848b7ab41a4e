from odoo import api, models
from odoo.exceptions import AccessError
from odoo.tools import SQL

USER = "mail_matrix.group_matrix_user"
_SHOWN = 5
_MAX_TEXT = 300
# A form shows what was queued a moment ago, and must not be slow because of a long
# queue in front of that.
NEWEST_WAITING = 10_000


class MatrixDeliveriesMixin(models.AbstractModel):
    """A record that people send messages from, and the deliveries of these messages."""

    _name = "matrix.deliveries.mixin"
    _description = "Record whose Matrix Deliveries are Shown"

    @api.model
    def _matrix_is_user(self):
        return self.env.su or self.env.user.has_group(USER)

    @api.model
    def _matrix_check_user(self):
        """Raise AccessError unless this person may act in Matrix at all."""
        if not self._matrix_is_user():
            raise AccessError(
                self.env._(
                    "Only members of the group “%(group)s” may do this. An "
                    "administrator can add you to it.",
                    group=self.env.ref(USER).sudo().name,
                )
            )

    def get_matrix_deliveries(self):
        """Return the last messages of this record and what holds them up, as a dict.

        ``rows``: the newest first, each a dict: ``key``, ``date`` (UTC), ``event``,
        ``text`` (shortened), ``outcome`` (waiting, ok, failed or held),
        ``outcome_text``, ``note`` (why it waits or failed), ``reactions`` (those of
        people in the room), ``log_id``, ``can_retry``.
        ``troubles``: in plain words, why the room receives nothing. ``count``: how many
        messages there are in all. Raises AccessError if the user may not read the
        record, or no deliveries at all.
        """
        self.ensure_one()
        self.check_access("read")
        self.env["matrix.log"].check_access("read")
        waiting = self._matrix_waiting(_SHOWN)
        logs = self._matrix_logged(2 * _SHOWN)
        # A held message has its failed row already, and is still waiting.
        held = {log.txn_id: log for log in logs if not log.is_final}
        rows = self._matrix_early_rows(_SHOWN)
        rows += [self._matrix_waiting_row(row, held.get(row.txn_id)) for row in waiting]
        # What was queued again has another row, or will have one.
        ended = logs.filtered(lambda log: log.is_final and not log.was_retried)
        rows += [self._matrix_logged_row(log) for log in ended]
        lanes = {self._matrix_own_lane(), *waiting.mapped("lane")} - {None}
        held_lanes = self.env["matrix.lane"]._held_among(sorted(lanes))
        return {
            "rows": rows[:_SHOWN],
            "troubles": [trouble["note"] for trouble in held_lanes.values()],
            "count": self._matrix_count_messages(),
        }

    def _matrix_own_lane(self):
        """Return the lane in which messages of this record would wait now, or None."""
        return None

    def _matrix_lane_of_own_room(self):
        """Return that lane unless all records share its room; otherwise None."""
        return self._matrix_own_lane()

    def _matrix_logged(self, limit):
        """Return the newest log rows of this record, with all rights.

        Whoever may read the record may know what was sent about it.
        """
        about = [("res_model", "=", self._name), ("res_id", "=", self.id)]
        return self.env["matrix.log"].sudo().search(about, limit=limit)

    def _matrix_waiting(self, limit):
        """Return the newest outbox rows of this record, with all rights."""
        rows = self.env.execute_query(
            SQL(
                """
                SELECT id FROM (
                    SELECT id, res_model, res_id FROM matrix_outbox
                    ORDER BY id DESC LIMIT %s
                ) AS newest
                WHERE res_model = %s AND res_id = %s
                ORDER BY id DESC LIMIT %s
                """,
                NEWEST_WAITING,
                self._name,
                self.id,
                limit,
            )
        )
        return self.env["matrix.outbox"].sudo().browse(row[0] for row in rows)

    def _matrix_waiting_row(self, row, held):
        outcome = "held" if held else "waiting"
        return {
            "key": f"outbox-{row.id}",
            "date": row.queued_at,
            "event": self._matrix_event_name(row),
            "text": _shortened(row.body),
            "outcome": outcome,
            "outcome_text": self._matrix_outcome_name(outcome),
            "note": held.error_message
            if held
            else self._matrix_waiting_notes(row)[row],
            "log_id": held.id if held else False,
        }

    def _matrix_early_rows(self, limit):
        """Return the newest messages that wait for the room to be created."""
        return [
            {
                "key": f"outbox-{row.waiting_id}",
                "date": row.queued_at,
                "event": self._matrix_event_name(row),
                "text": _shortened(row.payload),
                "outcome": row.outcome,
                "outcome_text": self._matrix_outcome_name(row.outcome),
                "note": row.reason,
                "log_id": False,
            }
            for row in self.env["matrix.message"]._early_of(self, limit)
        ]

    def _matrix_logged_row(self, log):
        return {
            "key": f"log-{log.id}",
            "date": log.date,
            "event": self._matrix_event_name(log),
            "text": _shortened(log.payload),
            "outcome": log.outcome,
            "outcome_text": self._matrix_outcome_name(log.outcome),
            # One that was delivered may have an error too: some devices cannot read it.
            "note": log.error_message,
            "reactions": log.reactions,
            "log_id": log.id,
            "can_retry": False,
        }

    @api.model
    def _matrix_waiting_notes(self, rows):
        """Return by row why messages that were not tried yet wait, or nothing."""
        is_silent = self.env["matrix.worker"]._all_silent()
        silent = self.env._(
            "No worker is running. The message will be sent once one is started."
        )
        notes = {}
        for row in rows:
            if not row.backend_id.is_active:
                notes[row] = self.env._("The Matrix backend was turned off.")
            else:
                notes[row] = silent if is_silent else row.backend_id.state_note
        return notes

    def _matrix_event_name(self, row):
        names = dict(row._fields["event_type"]._description_selection(self.env))
        return names.get(row.event_type, row.event_type)

    def _matrix_outcome_name(self, outcome):
        field = self.env["matrix.log"]._fields["outcome"]
        names = dict(field._description_selection(self.env))
        return names.get(outcome) or self.env._("Waiting")


def _shortened(text):
    text = text or ""
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"
