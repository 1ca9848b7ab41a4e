import json
import logging

from odoo import SUPERUSER_ID, api, fields, models
from odoo.tools import SQL
from odoo.tools.sql import index_exists

from ...tools import content as contents
from ...tools import inbound

_logger = logging.getLogger(__name__)

_ONCE = "matrix_inbound_backend_event_key"


class MatrixInbound(models.Model):
    """The events that came in from rooms, each one once, and their outcomes.

    The worker and the homeserver send an event again when they do not know whether it
    arrived: its row proves that it did. The ids of messages and records are not foreign
    keys, because these may be deleted.
    """

    _name = "matrix.inbound"
    _description = "Event from a Matrix Room"
    _log_access = False
    _order = "id desc"
    _rec_name = "event_id"

    backend_id = fields.Many2one(
        "matrix.backend", required=True, readonly=True, ondelete="cascade"
    )
    event_id = fields.Char(string="Event ID", required=True, readonly=True)
    kind = fields.Selection(
        [
            ("message", "Message"),
            ("edit", "Edit"),
            ("redaction", "Deletion"),
            ("reaction", "Reaction"),
            ("replaced", "Room Replaced"),
            ("unreadable", "Could Not Be Read"),
        ],
        required=True,
        readonly=True,
    )
    room_id = fields.Char(string="Room ID", required=True, readonly=True)
    sender = fields.Char(required=True, readonly=True)
    received_at = fields.Datetime(string="Received", required=True, readonly=True)
    res_model = fields.Char(string="Record Model", readonly=True)
    res_id = fields.Many2oneReference(
        string="Record ID", model_field="res_model", readonly=True
    )
    record_ref = fields.Reference(
        selection=lambda self: self.env["matrix.log"]._selection_record_ref(),
        string="Record",
        compute="_compute_record_ref",
    )
    message_id = fields.Integer(
        string="Chatter Message ID", readonly=True, index="btree_not_null"
    )
    target_event_id = fields.Char(
        string="Target Event ID", readonly=True, index="btree_not_null"
    )
    reaction = fields.Char(readonly=True)
    replacement_room = fields.Char(
        string="Replaced By", readonly=True, index="btree_not_null"
    )
    is_redacted = fields.Boolean(string="Deleted in Matrix", readonly=True)
    # It could not be decrypted when it came first.
    is_late = fields.Boolean(string="Read Later", readonly=True)
    error = fields.Char(readonly=True)
    # Kept for failed events, to try them again, and for edits that wait.
    event = fields.Json(readonly=True, groups=fields.NO_ACCESS)

    @api.depends("res_model", "res_id")
    @api.depends_context("uid")
    def _compute_record_ref(self):
        """Name the record only if it exists and this user may read it."""
        log = self.env["matrix.log"]
        for model, rows in self.grouped("res_model").items():
            readable = set(log._readable_ids(model, rows.mapped("res_id")))
            for row in rows:
                found = row.res_id in readable
                row.record_ref = f"{model},{row.res_id}" if found else False

    def init(self):
        if not index_exists(self.env.cr, _ONCE):
            self.env.cr.execute(
                SQL(
                    "CREATE UNIQUE INDEX %s ON matrix_inbound (backend_id, event_id)",
                    SQL.identifier(_ONCE),
                )
            )

    @api.model
    def _ingest(self, backend, events, names):
        """Process ``events`` in the order received, for ``backend``.

        An event that fails is logged and does not hold up the others. Errors of the
        database are raised, so that all events are sent again.

        :param names: display names by Matrix ID, where they are known
        """
        # A request without a login has no user, but writing needs one.
        inbound_events = self.with_user(SUPERUSER_ID).with_context(
            matrix_names=names, matrix_followed={}
        )
        account = self._account_of(backend)
        for raw in events:
            event = inbound.read(raw)
            if event and event.sender != account:
                inbound_events._take(backend, event, raw)

    @api.model
    def _account_of(self, backend):
        """Return the Matrix ID of the account: its own messages came from Odoo."""
        status = self.env["matrix.backend.status"].sudo()
        found = status.search([("backend_id", "=", backend.id)], limit=1)
        return found.matrix_user_id or backend.sudo().inbound_account

    @api.model
    def _take(self, backend, event, raw):
        if event.kind == "unreadable" and not backend._encrypts():
            # Nobody has asked for what is written in encrypted rooms.
            return
        record = self._record_of(backend, event)
        if record is None:
            return
        row_id = self._claim(backend, event)
        if not row_id:
            return
        row = self.browse(row_id)
        # It may have been there.
        row.invalidate_recordset()
        row._follow_or_log(record, event, raw)

    def _follow_or_log(self, record, event, raw):
        """Show ``event`` in the chatter of ``record``, or store that this failed."""
        try:
            with self.env.cr.savepoint():
                self._follow(record, event)
                if self.kept_at:
                    self.event = _storable(raw)
        except Exception as error:
            self.env["matrix.outbox"]._raise_if_to_run_again(error)
            self._log_failure(error, raw)

    @api.model
    def _claim(self, backend, event):
        """Return the id of the row of ``event``, or None if it came before.

        One that could not be read may come again, readable.
        """
        values = {
            "backend_id": backend.id,
            "event_id": event.event_id,
            "kind": event.kind,
            "room_id": event.room_id,
            "sender": event.sender,
            "target_event_id": event.target,
            "reaction": event.key,
            "replacement_room": event.replacement,
            "received_at": self.env.cr.now(),
        }
        self.flush_model(["is_redacted"])
        rows = self.env.execute_query(
            SQL(
                """
                INSERT INTO matrix_inbound AS i (%s) VALUES %s
                ON CONFLICT (backend_id, event_id) DO UPDATE SET is_late = true,
                    kind = excluded.kind, target_event_id = excluded.target_event_id,
                    reaction = excluded.reaction
                WHERE i.kind = 'unreadable' AND excluded.kind <> 'unreadable'
                    AND i.is_redacted IS NOT TRUE
                RETURNING i.id
                """,
                SQL(", ").join(map(SQL.identifier, values)),
                tuple(values.values()),
            )
        )
        return rows[0][0] if rows else None

    def _log_failure(self, error, raw):
        # Without the text of the error: one of the database quotes the message.
        self.write({"error": type(error).__name__, "event": _storable(raw)})
        _logger.error(
            "The Matrix event %s could not be shown in the chatter (%s): see Matrix → "
            "From Rooms",
            self.event_id,
            type(error).__name__,
        )

    def action_try_again(self):
        """Show in the chatter what failed before."""
        self.check_access("read")
        for row in self.sudo().filtered("error"):
            event = inbound.read(row.event)
            record = event and self._record_of(row.backend_id, event)
            if record is not None:
                row._follow(record, event)
                row.write({"error": False, "event": row.kept_at and row.event})

    @api.autovacuum
    def _gc_inbound(self):
        """Delete rows that are older than the log."""
        self.env["matrix.log"]._delete_older_than_log(self._name, "received_at")


def _storable(raw):
    return json.loads(contents.clean(json.dumps(raw, ensure_ascii=False)))
