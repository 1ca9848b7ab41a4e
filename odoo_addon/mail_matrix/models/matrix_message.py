import json

from odoo import api, fields, models
from odoo.tools import SQL

from ..tools import words
from .matrix_deliveries_mixin import USER

# A record's messages are searched for among this many of the newest messages of all
# rooms, and in addition among all those that wait for the record's own room. All
# records share the default room.
_NEWEST_WAITING = 10_000

# In place of the lane, for messages whose room is still being created.
_EARLY = "early"


class MatrixMessage(models.Model):
    """The state of a message: it waits, or the log says how it ended.

    The id is twice that of the log's line, or twice that of the outbox and one more if
    the message waits: both are positive, as the addresses of the web client demand.
    Ids, records and lanes are searched for through the indexes of the tables.
    """

    _name = "matrix.message"
    _inherit = "matrix.readable.mixin"
    _description = "Matrix Message"
    _auto = False
    _log_access = False
    _order = "date desc, queued_at desc, id desc"
    _rec_name = "payload"

    date = fields.Datetime(readonly=True)
    log_id = fields.Integer(readonly=True)
    waiting_id = fields.Integer(readonly=True)
    lane = fields.Char(readonly=True)
    payload = fields.Char(string="Text", readonly=True)
    outcome = fields.Selection(
        [("waiting", "Waiting"), *words.OUTCOMES], string="Status", readonly=True
    )
    error_message = fields.Char(string="Error", readonly=True)
    retry_at = fields.Datetime(string="Next Try", readonly=True)
    reason = fields.Char(
        compute="_compute_reason", help="Why it was not sent, or not yet."
    )

    def _table_source(self):
        """A delivery that is not final is left out: its message is still waiting."""
        return SQL(
            """
            (
                SELECT o.id * 2 + 1 AS id, NULL::bigint AS log_id, o.id AS waiting_id,
                    o.lane, o.queued_at AS date, o.content ->> 'body' AS payload,
                    CASE WHEN held.head_id IS NULL THEN 'waiting' ELSE 'held' END
                        AS outcome,
                    held.last_error AS error_message, lane.retry_at,
                    o.backend_id, o.event_type, o.res_model, o.res_id, o.room_id,
                    o.matrix_user_id, o.matrix_type, o.content, o.txn_id,
                    o.attachment_id, o.user_id, o.queued_at
                FROM matrix_outbox AS o
                LEFT JOIN matrix_lane AS lane ON lane.lane = o.lane
                LEFT JOIN matrix_lane AS held ON held.lane = o.lane
                    AND held.head_id = o.id AND held.first_failed_at IS NOT NULL
                UNION ALL
                SELECT e.id * 2 + 1, NULL, e.id, %(early)s, e.queued_at,
                    e.content ->> 'body', 'waiting', NULL, NULL,
                    e.backend_id, e.event_type, e.res_model, e.res_id, NULL,
                    NULL, e.matrix_type, e.content, e.txn_id,
                    e.attachment_id, e.user_id, e.queued_at
                FROM matrix_early_message AS e
                UNION ALL
                SELECT l.id * 2, l.id, NULL, NULL, l.date, l.payload,
                    CASE WHEN l.status = 'ok' THEN 'ok'
                        WHEN l.error_code IN %(not_posted)s THEN 'not_posted'
                        ELSE COALESCE(%(others)s::jsonb ->> l.error_code, 'failed')
                        END,
                    l.error_message, NULL,
                    l.backend_id, l.event_type, l.res_model, l.res_id, l.room_id,
                    l.matrix_user_id, l.matrix_type, l.content, l.txn_id,
                    l.attachment_id, l.user_id, l.queued_at
                FROM matrix_log AS l
                WHERE l.is_final
            ) AS matrix_message
            """,
            early=_EARLY,
            not_posted=words.NOT_POSTED,
            others=json.dumps(words.OTHER_OUTCOMES),
        )

    @api.model
    def _search(self, domain, offset=0, limit=None, order=None, **options):
        terms = sum(map(_by_own_id, domain), [])
        return super()._search(terms, offset, limit, order, **options)

    @api.model
    def _domain_of(self, record):
        """Return the domain of the messages of ``record``, which uses indexes."""
        self.env.cr.execute("SELECT max(id) FROM matrix_outbox")
        newest = self.env.cr.fetchone()[0] or 0
        return [
            ("res_model", "=", record._name),
            ("res_id", "=", record.id),
            "|",
            "|",
            ("log_id", "!=", False),
            ("waiting_id", ">", newest - _NEWEST_WAITING),
            ("lane", "in", [record._matrix_lane_of_own_room() or "", _EARLY]),
        ]

    @api.depends_context("lang")
    @api.depends("outcome", "error_message", "lane")
    def _compute_reason(self):
        records = self.env["matrix.deliveries.mixin"]
        early = self.filtered(lambda row: row.lane == _EARLY)
        early._compute_reason_of_early()
        # With all rights: a plain user can read only what holds up the backend.
        others = (self - early).sudo()
        unexplained = others.filtered(
            lambda row: not row.error_message and row.outcome in ("waiting", "held")
        )
        notes = unexplained and records._matrix_waiting_notes(unexplained) or {}
        for row in others:
            row.reason = row.error_message or notes.get(row)

    def _compute_reason_of_early(self):
        requests = self.env["matrix.room.request"]
        for model, rows in self.grouped("res_model").items():
            notes = requests._notes_of(model, rows.mapped("res_id"))
            for row in rows:
                row.reason = notes.get(row.res_id) or self.env._(
                    "Waits for its room, which is being created."
                )

    @api.model
    def _early_of(self, record, limit):
        """Return the newest messages of ``record`` that have no room yet, with all
        rights."""
        domain = [("res_model", "=", record._name), ("res_id", "=", record.id)]
        return self.sudo().search(
            [("lane", "=", _EARLY), *domain], limit=limit, order="waiting_id desc"
        )

    def action_open(self):
        """Open the line in the log, or the message that waits."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "res_model": "matrix.log" if self.log_id else self._name,
            "res_id": self.log_id or self.id,
            "views": [(False, "form")],
        }

    def action_discard(self):
        """Give up what waits; see matrix.outbox."""
        self.check_access("read")
        early = self.filtered(lambda row: row.lane == _EARLY)
        # With all rights: whoever reads a message here need not read the whole queue.
        waiting = (
            self.env["matrix.outbox"]
            .sudo()
            .browse(filter(None, (self - early).mapped("waiting_id")))
        )
        return waiting._discard(early.mapped("waiting_id"))


class MatrixDeliveriesMixin(models.AbstractModel):
    _inherit = "matrix.deliveries.mixin"

    matrix_message_count = fields.Integer(
        string="Matrix Messages", compute="_compute_matrix_message_count", groups=USER
    )

    def _compute_matrix_message_count(self):
        for record in self:
            record.matrix_message_count = record._matrix_count_messages()

    def _matrix_count_messages(self):
        """Return how many messages of this record are waiting or have an outcome."""
        if not self._origin:
            return 0
        # With all rights: whoever may read the record may know what was sent about it.
        messages = self.env["matrix.message"].sudo()
        return messages.search_count(messages._domain_of(self._origin))

    def action_view_matrix_messages(self):
        """Open all messages of this record: waiting, sent, failed, discarded."""
        self.ensure_one()
        self._matrix_check_user()
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "mail_matrix.matrix_message_action"
        )
        return {**action, "domain": self.env["matrix.message"]._domain_of(self)}


def _by_own_id(term):
    """Return ``term`` of a domain as terms on the ids of the two tables."""
    if not isinstance(term, list | tuple) or term[0] != "id":
        return [term]
    _name, operator, ids = term
    ids = [ids] if isinstance(ids, int) and operator == "=" else ids
    if operator not in ("=", "in") or not isinstance(ids, list | tuple | set):
        return [term]
    return [
        "|",
        ("log_id", "in", [number // 2 for number in ids if number % 2 == 0]),
        ("waiting_id", "in", [number // 2 for number in ids if number % 2]),
    ]
