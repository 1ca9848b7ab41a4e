import logging
from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError

from ...tools import words
from ...tools.matrix_error import MatrixError

_logger = logging.getLogger(__name__)

_SECOND = timedelta(seconds=1)
_FIRST_PAUSE = timedelta(minutes=1)
# While the homeserver is away, and while it refuses this room.
_LONGEST_PAUSE = timedelta(minutes=5)
_LONGEST_PAUSE_OF_ONE = timedelta(hours=1)
# Nearly a day, with pauses that grow to an hour.
_MOST_UNEXPECTED = 24


class MatrixRoomRequest(models.Model):
    """The scheduled action that creates the rooms and links them."""

    _inherit = "matrix.room.request"

    def _matrix_work(self):
        """Create the room of one record, or link the one that was created."""
        request = self[0]
        (self - request).unlink()
        record = request._matrix_record()
        if not record:
            request._give_up(words.ERROR_NO_ROOM, request._deleted_explanation())
            return
        record = request._in_language(record)
        request = request.with_context(lang=record.env.lang)
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

    def _in_language(self, record):
        """Return ``record`` in the language in which people read about its room."""
        company = "company_id" in record._fields and record.company_id
        return record.with_context(lang=(company or self.env.company).partner_id.lang)

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
                    self.room_id, self.health, self.found, self.room_alias
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
            # Whatever is wrong with the room, nobody waits for it any more.
            try:
                return self._link(record, give_up)
            except UserError as error:
                _logger.info("The room of %s is not linked: %s", record, error)
            except Exception as error:
                self.env["matrix.outbox"]._raise_if_to_run_again(error)
                _logger.exception("The room of %s is not linked", record)
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
        try:
            with self.env.cr.savepoint():
                left = messages._follow_moved()._without_withdrawn()
                left._log_unsent(code, reason)
        except Exception as error:
            self.env["matrix.outbox"]._raise_if_to_run_again(error)
            _logger.exception("Messages of %s,%s", self.res_model, self.res_id)
            # Without the texts of the chatter, which may have been deleted.
            messages._log_unsent(code, reason, with_chatter=False)
        self.unlink()

    def _matrix_postpone_unexpected(self, pause):
        """Try again after a pause, which grows up to ``pause``. What goes wrong again
        and again is given up: people find it in Logs, and can send it again there,
        except what was written in the chatter: that has to be written again."""
        request = self[0]
        # They have come back with what failed, and must not be due before this one.
        (self - request).unlink()
        record = request._matrix_record()
        if record:
            record = request._in_language(record)
            request = request.with_context(lang=record.env.lang)
        request.unexpected += 1
        if request.unexpected < _MOST_UNEXPECTED:
            pause = _growing(request.unexpected - 1, pause)
            reason = request.env._("Something unexpected went wrong; see Odoo's log.")
            request._put_off(reason, fields.Datetime.now() + pause)
            return
        room = request.room_id
        reason = request.env._(
            "Odoo tried %(count)s times, and something unexpected went wrong each "
            "time; see Odoo's log.",
            count=_MOST_UNEXPECTED,
        )
        request._give_up(words.ERROR_ROOM_NOT_CREATED, reason)
        if record:
            self._mention_unused_room(record, room)

    def _postpone(self, reason, longest):
        """Try this one again after a pause, which grows; return when."""
        at = fields.Datetime.now() + _growing(self.attempts, longest)
        self.attempts += 1
        self._put_off(reason, at)
        return at

    def _put_off(self, reason, at):
        if self:
            self.write({"note": str(reason), "again_at": at})
            self._trigger(at)


def _growing(tries, longest):
    """Return the pause after so many tries before this one."""
    return min(_FIRST_PAUSE * 2 ** min(tries, 10), longest)
