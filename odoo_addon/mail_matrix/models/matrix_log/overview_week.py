from datetime import timedelta

from babel.dates import format_timedelta

from odoo import api, models
from odoo.tools import SQL, babel_locale_parse

from ..matrix_backend.health import COUNT_AT_MOST, count_text

_WEEK = timedelta(days=7)
_DAY = timedelta(days=1)
_SLOW_SHOWN = 3
_SLOW_SECONDS = 1


class MatrixLog(models.Model):
    """Whether delivery gets better or worse, and where messages take long."""

    _inherit = "matrix.log"

    @api.model
    def get_overview(self):
        """Add ``week`` and ``slow_rooms``, for managers; False for others."""
        overview = super().get_overview()
        is_manager = overview["waiting"] is not False
        overview["week"] = is_manager and self._overview_of_week()
        overview["slow_rooms"] = is_manager and self._slow_rooms()
        return overview

    @api.model
    def _overview_of_week(self):
        """Return the counts of the last seven days as texts, and how many per cent more
        or less was sent than in the seven days before, where both can be counted."""
        now = self.env.cr.now()
        counts = [
            self._count_final("ok", now - _WEEK, now),
            self._count_final("ok", now - 2 * _WEEK, now - _WEEK),
            self._count_final("failed", now - _WEEK, now),
        ]
        sent, before, failed = counts
        is_known = 0 < before <= COUNT_AT_MOST and sent <= COUNT_AT_MOST
        trend = round(100 * (sent - before) / before) if is_known else 0
        return {
            "sent": count_text(self.env, sent),
            "failed": count_text(self.env, failed),
            "before": count_text(self.env, before),
            "trend": f"{trend:+d} %" if is_known else False,
        }

    @api.model
    def _slow_rooms(self):
        """Return the rooms whose messages took longest on the last day, by the median:
        one message that was retried says nothing about its room."""
        backends = self.env["matrix.backend"]._in_charge()
        rows = self.env.execute_query_dict(
            SQL(
                """
                SELECT room_id, count(*) AS count,
                    percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS seconds,
                    (array_agg(res_model ORDER BY date DESC))[1] AS res_model,
                    (array_agg(res_id ORDER BY date DESC))[1] AS res_id
                FROM (
                    SELECT room_id, res_model, res_id, date,
                        extract(epoch FROM date - queued_at) AS seconds
                    FROM matrix_log
                    WHERE date >= %(since)s AND status = 'ok'
                        AND backend_id = ANY(%(backends)s)
                        AND room_id IS NOT NULL AND queued_at IS NOT NULL
                    ORDER BY date DESC LIMIT %(bound)s
                ) AS newest
                GROUP BY room_id
                HAVING percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) >= %(slow)s
                ORDER BY seconds DESC, room_id LIMIT %(shown)s
                """,
                since=self.env.cr.now() - _DAY,
                backends=backends.ids,
                bound=COUNT_AT_MOST,
                slow=_SLOW_SECONDS,
                shown=_SLOW_SHOWN,
            )
        )
        locale = babel_locale_parse(self.env.lang)
        return [
            {
                **self._overview_of_lane(
                    {**row, "target": row["room_id"], "lane": row["room_id"]}
                    | {"note": "", "error": ""}
                ),
                "took": format_timedelta(
                    timedelta(seconds=row["seconds"]), locale=locale
                ),
                "count": count_text(self.env, row["count"]),
            }
            for row in rows
        ]
