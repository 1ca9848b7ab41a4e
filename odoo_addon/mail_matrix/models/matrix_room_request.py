import logging
from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from ..tools import words
from ..tools.matrix_error import MatrixError
from ..tools.times import time_text
from .matrix_backend.health import COUNT_AT_MOST, count_text

_logger = logging.getLogger(__name__)

_CALLED = "mail_matrix.room_request_called"
_SECOND = timedelta(seconds=1)
_FIRST_PAUSE = timedelta(minutes=1)
# While the homeserver is away, and while it refuses this room.
_LONGEST_PAUSE = timedelta(minutes=5)
_LONGEST_PAUSE_OF_ONE = timedelta(hours=1)


class MatrixRoomRequest(models.Model):
    """A record whose room is created in the background.

    While a transaction sees a request for a record, it keeps the record's messages as
    matrix.early.message, each with a request that comes with it. The transaction that
    sends them deletes the requests that it sees. So a message is never sent before one
    that was committed when it was written, and none is left behind.

    The room is created in one transaction, which calls the homeserver and stores the
    answer here, and linked in the next, which calls nobody. The record is written only
    there, so that people who edit it meanwhile do not get in the way.
    """

    _name = "matrix.room.request"
    _inherit = "matrix.background.mixin"
    _description = "Matrix Room to Create"
    _log_access = False
    _order = "id"

    _matrix_cron = "mail_matrix.matrix_room_request_cron"

    attempts = fields.Integer(readonly=True)
    note = fields.Char(readonly=True, help="Why there is no room yet.")
    # The room that was created and is not linked yet.
    backend_id = fields.Integer(readonly=True)
    room_id = fields.Char(readonly=True)
    room_alias = fields.Char(readonly=True)
    health = fields.Char(readonly=True)
    health_note = fields.Char(readonly=True)

    # What business transactions do

    @api.model
    def _insert(self, records, again=None):
        """Request the rooms of ``records`` by one statement.

        :param again: a datetime by the id of a record, before which nothing is tried
        """
        if not records:
            return
        now = self.env.cr.now()
        self.env.cr.execute(
            SQL(
                "INSERT INTO matrix_room_request "
                "(res_model, res_id, noted_at, again_at) VALUES %s",
                SQL(", ").join(
                    SQL("%s", (records._name, res_id, now, (again or {}).get(res_id)))
                    for res_id in records.ids
                ),
            )
        )
        self._call_cron()

    @api.model
    def _call_cron(self):
        """Let the scheduled action run after this transaction."""
        precommit = self.env.cr.precommit
        if not precommit.data.get(_CALLED):
            precommit.data[_CALLED] = True
            precommit.add(self.sudo()._called)

    @api.model
    def _called(self):
        self.env.cr.precommit.data.pop(_CALLED, None)
        self._trigger()

    @api.model
    def _open(self):
        """Return the records that have requests, as pairs of model and id."""
        return self.env["matrix.outbox"]._once(
            "requested rooms",
            lambda: set(
                self.env.execute_query(
                    SQL("SELECT DISTINCT res_model, res_id FROM matrix_room_request")
                )
            ),
        )

    @api.model
    def _again(self, model, res_ids):
        """Return when the rooms of these records are tried again, by id."""
        rows = self.env.execute_query(
            SQL(
                "SELECT res_id, max(again_at) FROM matrix_room_request "
                "WHERE res_model = %s AND res_id = ANY(%s) GROUP BY res_id",
                model,
                list(res_ids),
            )
        )
        return dict(rows)

    # What the record shows

    @api.model
    def _notes_of(self, model, res_ids):
        """Return in plain words why these records have no room yet, by id.

        The text is empty while nothing has gone wrong.
        """
        requests = self.sudo().search(
            [("res_model", "=", model), ("res_id", "in", res_ids)]
        )
        return {
            res_id: group.filtered("note")[:1]._explanation()
            for res_id, group in requests.grouped("res_id").items()
        }

    @api.model
    def _troubles_of(self, backends):
        """Return (model, ids, text) of the records for which messages wait because
        their room could not be created.

        The text has the reason that most of them share.
        """
        rows = self.env.execute_query(
            SQL(
                """
                SELECT waits.res_model, array_agg(waits.res_id ORDER BY waits.res_id),
                    mode() WITHIN GROUP (ORDER BY waits.note)
                FROM (
                    SELECT r.res_model, r.res_id, max(r.note) AS note
                    FROM matrix_room_request AS r
                    WHERE r.note <> '' AND EXISTS (
                        SELECT FROM matrix_early_message AS e
                        WHERE e.res_model = r.res_model AND e.res_id = r.res_id
                            AND e.backend_id = ANY(%s)
                    )
                    GROUP BY r.res_model, r.res_id
                    LIMIT %s
                ) AS waits
                GROUP BY waits.res_model ORDER BY waits.res_model
                """,
                backends.ids,
                COUNT_AT_MOST + 1,
            )
        )
        return [
            (model, res_ids, self._trouble(len(res_ids), note.strip()))
            for model, res_ids, note in rows
        ]

    @api.model
    def _trouble(self, count, note):
        if count == 1:
            return self.env._("One record waits for its room: %(reason)s", reason=note)
        return self.env._(
            "%(count)s records wait for their room: %(reason)s",
            count=count_text(self.env, count),
            reason=note,
        )

    def _explanation(self):
        if not self:
            return ""
        return self.env._(
            "The room could not be created: %(reason)s Odoo tries again at %(time)s, "
            "and keeps the messages until then.",
            reason=self.note.strip(),
            time=time_text(self.env, self.again_at),
        )

    # The scheduled action

    def _matrix_work(self):
        """Create the room of one record, or link the one that was created."""
        request = self[0]
        (self - request).unlink()
        record = request._matrix_record()
        if not record:
            request._give_up(words.ERROR_NO_ROOM, request._deleted_explanation())
            return
        company = "company_id" in record._fields and record.company_id
        lang = (company or self.env.company).partner_id.lang
        request = request.with_context(lang=lang)
        record = record.with_context(lang=lang)
        backend = record._matrix_backend()
        if not record.matrix_enabled:
            request._stop(record, backend)
        elif not backend:
            reason = record._matrix_no_backend_explanation()
            request._postpone(reason, _LONGEST_PAUSE)
        elif record.matrix_room_id:
            room = request.room_id
            request._finish(record)
            self._mention_unused_room(record, room)
        elif record.matrix_room_alias:
            # Somebody has a room in mind, which must not be replaced.
            reason = record.env._(
                "A room alias was entered. Click “Find Room” to use that room, or "
                "empty Room Alias to have a room created."
            )
            request._postpone(reason, _LONGEST_PAUSE)
        elif request._has_room_at(backend):
            try:
                request._link(record, request._finish)
            except UserError as error:
                request._postpone(error, _LONGEST_PAUSE_OF_ONE)
        else:
            request._create_room(record, backend)

    def _matrix_about(self, records):
        roomless = records.filtered(lambda record: not record.matrix_room_id)
        rows = super()._matrix_about(roomless)
        return rows.filtered(lambda request: not request.room_id)

    def _has_room_at(self, backend):
        return self.room_id and self.backend_id == backend.id

    def _create_room(self, record, backend):
        try:
            with self.env.cr.savepoint():
                found = record._matrix_create_in_background()
        except MatrixError as error:
            if self._is_about_all(error):
                # The others would fail, each after a timeout. They come first next
                # time: it may be this room only that fails.
                at = self._postpone(error, _LONGEST_PAUSE)
                (self._due_of(backend) - self)._put_off(error, at - _SECOND)
            else:
                self._postpone(error, _LONGEST_PAUSE_OF_ONE)
        except UserError as error:
            self._postpone(error, _LONGEST_PAUSE_OF_ONE)
        except Exception as error:
            self.env["matrix.outbox"]._raise_if_to_run_again(error)
            _logger.exception("The room of %s was not created", record)
            reason = self.env._("Something unexpected went wrong; see Odoo's log.")
            self._postpone(reason, _LONGEST_PAUSE_OF_ONE)
        else:
            # Due at once: the next round links it, in a transaction of its own.
            values = {"backend_id": backend.id, "again_at": False, "note": False}
            self.write({**found, **values})

    def _link(self, record, then):
        """Link the room that was created, and end this request by ``then``.

        Raises UserError if the record does not accept the room.
        """
        try:
            with self.env.cr.savepoint():
                record.with_context(matrix_room_is_new=True)._matrix_link(
                    self.room_id, self.health, self.health_note, self.room_alias
                )
                then(record)
        except Exception as error:
            if not self.env["matrix.outbox"]._cause_to_run_again(error):
                raise
            # Somebody has written the record meanwhile: the next round sees that.

    def _finish(self, record):
        """Queue for the record's room what was written before it had one."""
        # What the room opens with is kept too, to be sent before the rest.
        self.env(context={})["matrix.outbox"]._turn_notes_into_rows()
        messages = self.env["matrix.early.message"]._of(self)
        # From here on messages are queued directly.
        self.search(self._matrix_together()).unlink()
        messages._send_to(record)

    def _stop(self, record, backend):
        """Send nothing: Matrix was turned off. A room that was created is linked all
        the same, or at least named: otherwise nobody would know of it."""
        room = self.room_id
        reason = record.env._("“Send to Matrix” was turned off for this record.")

        def give_up(_record):
            self._give_up(words.ERROR_OFF, reason)

        is_taken = record.matrix_room_id or record.matrix_room_alias
        if self._has_room_at(backend) and not is_taken:
            try:
                return self._link(record, give_up)
            except UserError as error:
                # Nobody waits for that room any more.
                _logger.info("The room of %s is not linked: %s", record, error)
        give_up(record)
        self._mention_unused_room(record, room)
        return None

    @api.model
    def _mention_unused_room(self, record, room):
        """Say in the chatter that ``room`` was created for ``record`` in vain."""
        if not room or room == record.matrix_room_id:
            return
        try:
            with self.env.cr.savepoint():
                record._matrix_post_from_bot(
                    record.env._(
                        "Odoo had created the room %(room)s for this record. It is not "
                        "used: whoever was invited to it can leave it. To use it, "
                        "enter its ID as Room ID.",
                        room=room,
                    )
                )
        except Exception as error:
            self.env["matrix.outbox"]._raise_if_to_run_again(error)
            _logger.exception("The chatter of %s does not name %s", record, room)

    def _deleted_explanation(self):
        if not self.room_id:
            return self.env._("The record was deleted before it had a room.")
        return self.env._(
            "The record was deleted before its room was linked. Whoever was invited to "
            "the room %(room)s can leave it.",
            room=self.room_id,
        )

    def _give_up(self, code, reason):
        """Log why what was written is not sent."""
        messages = self.env["matrix.early.message"]._of(self)
        messages._follow_moved()._without_withdrawn()._log_unsent(code, reason)
        self.unlink()

    def _matrix_postpone(self, reason, pause):
        self._put_off(reason, fields.Datetime.now() + pause)

    def _postpone(self, reason, longest):
        """Try this one again after a pause, which grows; return when."""
        pause = min(_FIRST_PAUSE * 2 ** min(self.attempts, 10), longest)
        at = fields.Datetime.now() + pause
        self.attempts += 1
        self._put_off(reason, at)
        return at

    def _put_off(self, reason, at):
        if self:
            self.write({"note": str(reason), "again_at": at})
            self._trigger(at)
