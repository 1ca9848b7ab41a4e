from odoo import api, models
from odoo.tools import SQL

from ...tools import words
from ...tools.times import date_time_text, time_text
from ..matrix_backend.health import COUNT_AT_MOST, count_text


class MatrixLane(models.Model):
    """A room or person that receives no messages while others of the account do.

    The worker stays at the lane's first message and tries it again and again. If the
    whole backend cannot send, the backend is reported instead of its lanes.
    """

    _inherit = "matrix.lane"

    @api.model
    def _held_in(self, backends, limit):
        """Return the troubles of these backends' lanes, the longest first, and how many
        there are in all.

        Reads the outbox only for the lanes that it returns.
        """
        return self._longest_held(SQL("o.backend_id = ANY(%s)", backends.ids), limit)

    @api.model
    def _held_of(self, lanes, limit):
        """Return the same as _held_in, of ``lanes``."""
        return self._longest_held(SQL("l.lane = ANY(%s)", list(lanes)), limit)

    @api.model
    def _longest_held(self, condition, limit):
        rows = self._read_held(condition, limit)
        return [self._held_trouble(row) for row in rows], rows and rows[0]["total"] or 0

    @api.model
    def _held_among(self, lanes):
        """Return ``{lane: trouble}`` for those of ``lanes`` that are held."""
        if not lanes:
            return {}
        rows = self._read_held(SQL("l.lane = ANY(%s)", list(lanes)), len(lanes))
        return {row["lane"]: self._held_trouble(row) for row in rows}

    @api.model
    def _read_held(self, condition, limit):
        return self.env.execute_query_dict(
            SQL(
                """
                WITH held AS MATERIALIZED (
                    SELECT l.lane, l.first_failed_at, l.retry_at, l.last_error,
                        o.res_model, o.res_id, o.room_id, o.matrix_user_id,
                        count(*) OVER () AS total
                    FROM matrix_lane AS l
                    JOIN matrix_outbox AS o ON o.id = l.head_id AND o.lane = l.lane
                    JOIN matrix_backend AS b ON b.id = o.backend_id AND b.is_active
                    LEFT JOIN matrix_backend_status AS s ON s.backend_id = b.id
                        AND (%(counts)s)
                    WHERE l.first_failed_at IS NOT NULL
                        -- A lane that waits for its turn after an outage has no time of
                        -- its own.
                        AND (l.retry_at IS NOT NULL
                            OR l.lease_until > now() AT TIME ZONE 'UTC')
                        AND COALESCE(s.state, 'ok') IN ('ok', 'rate_limited')
                        AND %(condition)s
                    ORDER BY l.first_failed_at, l.lane
                    LIMIT %(limit)s
                )
                SELECT held.*, waits.waiting
                FROM held
                CROSS JOIN LATERAL (
                    SELECT count(*) AS waiting FROM (
                        SELECT FROM matrix_outbox AS o WHERE o.lane = held.lane
                        LIMIT %(bound)s
                    ) AS bounded
                ) AS waits
                ORDER BY held.first_failed_at, held.lane
                """,
                counts=SQL(words.STATE_COUNTS),
                condition=condition,
                limit=limit,
                bound=COUNT_AT_MOST + 1,
            )
        )

    @api.model
    def _held_trouble(self, row):
        """Return a dict: ``lane``, ``target``, ``res_model`` and ``res_id`` of the
        message that is held, ``note`` in plain words, ``error`` as the worker got it.
        """
        return {
            "lane": row["lane"],
            "target": row["matrix_user_id"] or row["room_id"],
            "res_model": row["res_model"],
            "res_id": row["res_id"],
            "note": self._held_note(row),
            "error": row["last_error"] or "",
        }

    @api.model
    def _held_note(self, row):
        since = date_time_text(self.env, row["first_failed_at"])
        waiting, retry_at = row["waiting"], row["retry_at"]
        parts = [
            self.env._("No message has reached this person since %s", since)
            if row["matrix_user_id"]
            else self.env._("This room has not answered since %s", since),
            self.env._("one message waits")
            if waiting == 1
            else self.env._("%s messages wait", count_text(self.env, waiting)),
            self.env._("the next try is at %s", time_text(self.env, retry_at))
            if retry_at and retry_at > self.env.cr.now()
            else self.env._("it is being tried again"),
        ]
        return "; ".join(parts) + "."
