from datetime import timedelta

from babel.dates import format_timedelta

from odoo import api, fields, models
from odoo.tools import SQL, babel_locale_parse, formatLang

from ...tools import words
from ...tools.times import time_text

# Counting stops here: a long queue must not make a screen slow.
COUNT_AT_MOST = 10_000

_MANAGER = "mail_matrix.group_matrix_manager"


class MatrixBackend(models.Model):
    """The backend's health: what waits, since when, and whether a worker runs."""

    _inherit = "matrix.backend"

    state = fields.Selection(
        words.BACKEND_STATES, compute="_compute_state", groups=_MANAGER
    )
    state_note = fields.Char(compute="_compute_state", groups=_MANAGER)
    account = fields.Char(compute="_compute_state", groups=_MANAGER)
    waiting_count = fields.Char(
        string="Waiting",
        compute="_compute_waiting",
        groups=_MANAGER,
        help="Messages that have not been sent yet, as far as you may read them.",
    )
    oldest_queued_at = fields.Datetime(
        string="Oldest Waiting", compute="_compute_waiting", groups=_MANAGER
    )
    oldest_age = fields.Char(
        string="Oldest Waiting For", compute="_compute_waiting", groups=_MANAGER
    )
    sent_count = fields.Integer(
        string="Sent in 24 Hours", compute="_compute_delivered", groups=_MANAGER
    )
    failed_count = fields.Integer(
        string="Failed in 24 Hours", compute="_compute_delivered", groups=_MANAGER
    )
    worker_last_seen = fields.Datetime(compute="_compute_worker", groups=_MANAGER)
    worker_missing = fields.Boolean(compute="_compute_worker", groups=_MANAGER)

    @api.depends_context("uid", "allowed_company_ids", "lang", "tz")
    @api.depends("is_active", "homeserver_url", "token_sealed", "appservice_user_id")
    def _compute_state(self):
        """Read no waiting message of active backends: pages of records show a state."""
        found = self._read_state()
        for backend in self:
            row = found.get(backend._origin.id, {})
            backend.state = row.get("state")
            backend.state_note = self._state_note(row)
            backend.account = row.get("matrix_user_id")
            if not backend.is_active and backend.oldest_queued_at:
                backend.state_note = self.env._(
                    "This backend is turned off while messages are waiting "
                    "(%(count)s). Turn it on again, move the messages to the "
                    "active backend, or discard them.",
                    count=backend.waiting_count,
                )

    @api.depends_context("uid", "allowed_company_ids", "lang")
    def _compute_waiting(self):
        found = self._read_waiting()
        self._count_readable(found)
        for backend in self:
            count, oldest = found.get(backend._origin.id, (0, False))
            backend.waiting_count = count_text(self.env, count)
            backend.oldest_queued_at = oldest
            backend.oldest_age = self._age_of(oldest)

    def _count_readable(self, found):
        """Count in ``found`` only what waits for the companies of this manager."""
        if not self._reads_some_only():
            return
        outbox = self.env["matrix.outbox"].sudo(False)
        for backend in self.filtered(lambda backend: not backend.company_id):
            if backend._origin.id in found:
                # One query, since each finds out anew what the manager may read.
                rows = outbox.search(
                    [("backend_id", "=", backend._origin.id)],
                    order="id",
                    limit=COUNT_AT_MOST + 1,
                )
                oldest = rows[:1].sudo().queued_at
                found[backend._origin.id] = len(rows), oldest

    @api.model
    def _age_of(self, time):
        if not time:
            return False
        locale = babel_locale_parse(self.env.lang)
        return format_timedelta(self.env.cr.now() - time, locale=locale)

    def _read_state(self):
        """Return by id what the workers know of these backends.

        Workers write a state only when something is wrong: a backend without one that
        has delivered within a day is healthy.
        """
        rows = self.env.execute_query_dict(
            SQL(
                """
                SELECT b.id, s.reason, s.paused_until, s.matrix_user_id,
                    b.appservice_user_id IS NOT NULL AS is_appservice,
                    COALESCE(s.state, CASE WHEN EXISTS (
                        SELECT FROM matrix_log AS l
                        WHERE l.backend_id = b.id AND l.status = 'ok'
                            AND l.date > now() AT TIME ZONE 'UTC' - interval '1 day'
                    ) THEN 'ok' END) AS state
                FROM matrix_backend AS b
                LEFT JOIN matrix_backend_status AS s ON s.backend_id = b.id
                    AND (%(counts)s)
                WHERE b.id = ANY(%(ids)s)
                """,
                counts=SQL(words.STATE_COUNTS),
                ids=self._origin.ids,
            )
        )
        return {row["id"]: row for row in rows}

    def _read_waiting(self):
        """Return by id how many messages wait for these backends, and since when; only
        those for which some do."""
        rows = self.env.execute_query(
            SQL(
                """
                SELECT b.id, w.waiting, o.queued_at
                FROM matrix_backend AS b
                CROSS JOIN LATERAL (
                    SELECT count(*) AS waiting
                    FROM (
                        SELECT FROM matrix_outbox
                        -- '0' follows '/': the lanes of this backend
                        WHERE lane >= b.id::text || '/' AND lane < b.id::text || '0'
                        LIMIT %(bound)s
                    ) AS bounded
                ) AS w
                CROSS JOIN LATERAL (
                    -- no search where nothing waits
                    SELECT queued_at FROM matrix_outbox
                    WHERE w.waiting > 0 AND backend_id = b.id ORDER BY id LIMIT 1
                ) AS o
                WHERE b.id = ANY(%(ids)s)
                """,
                bound=COUNT_AT_MOST + 1,
                ids=self._origin.ids,
            )
        )
        return {id_: (waiting, oldest) for id_, waiting, oldest in rows}

    @api.model
    def _state_note(self, row):
        """Return in plain words what the state means and how it ends, or nothing."""
        state, reason = row.get("state"), row.get("reason")
        if state in (None, "ok"):
            return False
        if state == "rate_limited":
            parts = [
                self.env._("All messages will arrive, but slowly."),
                self._next_one_note(row["paused_until"]),
            ]
        else:
            ends = {
                "down": self.env._("The worker tries again every minute."),
                "unauthorized": self._unauthorized_note(row),
                "misconfigured": self.env._(
                    "Correct the address or the token; Test Connection shows details."
                ),
                "paused": self.env._(
                    "An administrator of the server resumes sending with: "
                    "odoo-matrix-worker resume"
                ),
            }
            parts = [
                reason and f"{reason[0].upper()}{reason[1:].rstrip('.')}.",
                self.env._("Messages wait."),
                ends.get(state),
            ]
        return " ".join(part for part in parts if part)

    @api.model
    def _unauthorized_note(self, row):
        if not row.get("is_appservice"):
            return self.env._("Enter a valid access token on the backend.")
        return self.env._(
            "Have the homeserver load the registration file again, or click “Send with "
            "the Access Token” on the backend."
        )

    @api.model
    def _next_one_note(self, until):
        if not until or until <= self.env.cr.now():
            return None
        time = time_text(self.env, until)
        return self.env._("The next message will be sent at %(time)s.", time=time)

    @api.depends_context("uid")
    def _compute_delivered(self):
        since = self.env.cr.now() - timedelta(days=1)
        # As in the Overview: a held message has not failed, since it will be sent.
        groups = self.env["matrix.log"]._read_group(
            [
                ("backend_id", "in", self.ids),
                ("date", ">=", since),
                ("is_final", "=", True),
                ("error_code", "not in", words.NOT_FAILED),
            ],
            ["backend_id", "status"],
            ["__count"],
        )
        counts = {(backend, status): count for backend, status, count in groups}
        for backend in self:
            backend.sent_count = counts.get((backend._origin, "ok"), 0)
            backend.failed_count = counts.get((backend._origin, "failed"), 0)

    def _compute_worker(self):
        workers = self.env["matrix.worker"]
        latest = workers.search([], limit=1)
        for backend in self:
            backend.worker_last_seen = latest.last_seen
            backend.worker_missing = backend.is_active and workers._all_silent()

    def action_view_waiting(self):
        return self._open("mail_matrix.matrix_lane_action")

    def action_view_log(self):
        return self._open_log("ok")

    def action_view_failed(self):
        return self._open_log("failed")

    def _open_log(self, outcome):
        """Open the list of what the button counts."""
        action = self._open("mail_matrix.matrix_log_action")
        action["context"] = {
            f"search_default_{outcome}": 1,
            "search_default_last_day": 1,
        }
        return action

    def _open(self, xmlid):
        self.ensure_one()
        self.check_access("read")
        action = self.env["ir.actions.act_window"]._for_xml_id(xmlid)
        action["domain"] = [("backend_id", "=", self.id)]
        return action


def count_text(env, count):
    """Return ``count`` as people read it: ``9,999``, and ``10,000+`` beyond."""
    text = formatLang(env, min(count, COUNT_AT_MOST), digits=0)
    return text + ("+" if count > COUNT_AT_MOST else "")
