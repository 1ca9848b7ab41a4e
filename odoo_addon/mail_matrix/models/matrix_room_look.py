import logging
from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from ..tools.matrix_error import MatrixError

_logger = logging.getLogger(__name__)

_NOTED = "matrix.room.look"
_GIVEN_UP_AFTER = timedelta(days=1)


class MatrixRoomLook(models.Model):
    """A record whose people have changed: its room has to be checked."""

    _name = "matrix.room.look"
    _inherit = "matrix.background.mixin"
    _description = "Matrix Room to Look At"
    _log_access = False
    _order = "id"

    _matrix_cron = "mail_matrix.matrix_room_look_cron"

    @api.model
    def _note(self, records):
        """Have the rooms of ``records`` checked after this transaction."""
        noted = self.env.cr.precommit.data.setdefault(_NOTED, set())
        if records and not noted:
            self.env.cr.precommit.add(self.sudo()._insert_noted)
        noted.update((record._name, record.id) for record in records)

    @api.model
    def _insert_noted(self):
        """Insert what was noted: one row for each record, by one statement."""
        noted = self.env.cr.precommit.data.pop(_NOTED, ())
        if not noted:
            return
        self.env.cr.execute(
            SQL(
                "INSERT INTO matrix_room_look (res_model, res_id, noted_at) VALUES %s",
                SQL(", ").join(
                    SQL("(%s, %s, now() AT TIME ZONE 'UTC')", model, res_id)
                    for model, res_id in sorted(noted)
                ),
            )
        )
        self._trigger()

    def _matrix_together(self):
        return [*self._due(), *super()._matrix_together()]

    def _matrix_work(self):
        """Check the room of one record."""
        record = self._matrix_record()
        try:
            if record:
                with self.env.cr.savepoint():
                    is_unfinished = record._matrix_follow_room()
                if is_unfinished:
                    self._matrix_postpone("not everybody could be invited within a day")
                    return
        except MatrixError as error:
            if self._is_about_all(error):
                # The others would fail, each after a timeout. They come first next
                # time: it may be this room only that fails.
                others = self._due_of(record._matrix_backend()) - self
                others._matrix_postpone(error)
                pause = self._matrix_again_after + timedelta(seconds=1)
                self._matrix_postpone(error, pause)
                return
            self._log_given_up(error)
        except UserError as error:
            _logger.info("The room of %s is not followed: %s", record, error)
        except Exception as error:
            self.env["matrix.outbox"]._raise_if_to_run_again(error)
            _logger.exception("The room of %s cannot be followed", record)
        self.unlink()

    def _matrix_postpone_unexpected(self, pause):
        self._matrix_postpone("something unexpected went wrong", pause)

    def _matrix_postpone(self, reason, pause=None):
        """Check these rooms later, but give up those that have waited for a day."""
        now = fields.Datetime.now()
        young = self.filtered(lambda look: look.noted_at > now - _GIVEN_UP_AFTER)
        if young:
            young.again_at = now + (pause or self._matrix_again_after)
            self._trigger(young[0].again_at)
        old = self - young
        old._log_given_up(reason)
        old.unlink()

    def _log_given_up(self, reason):
        for model, res_id in sorted({(look.res_model, look.res_id) for look in self}):
            _logger.warning("Gave up following %s,%s: %s", model, res_id, reason)
