import logging
from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from ..tools.matrix_error import MatrixError

_logger = logging.getLogger(__name__)

_NOTED = "matrix.room.look"
_AGAIN_AFTER = timedelta(minutes=5)
_GIVEN_UP_AFTER = timedelta(days=1)


class MatrixRoomLook(models.Model):
    """A record whose people have changed: its room has to be checked.

    Business transactions insert rows and do nothing else; a scheduled action calls the
    homeserver. Several rows for one record cause one check.
    """

    _name = "matrix.room.look"
    _description = "Matrix Room to Look At"
    _log_access = False
    _order = "id"

    res_model = fields.Char(required=True, readonly=True)
    res_id = fields.Many2oneReference(
        model_field="res_model", required=True, readonly=True
    )
    noted_at = fields.Datetime(required=True, readonly=True)
    again_at = fields.Datetime(readonly=True)

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

    @api.model
    def _trigger(self, at=None):
        cron = self.env.ref("mail_matrix.matrix_room_look_cron", False)
        if cron:
            cron.sudo()._trigger(at)

    @api.model
    def _cron_look(self):
        """Check one room, the one that has waited longest."""
        first = self._first_due()
        if first:
            same = [("res_model", "=", first.res_model), ("res_id", "=", first.res_id)]
            self.search([*self._due(), *same])._look()
        remaining = self.search_count(self._due())
        self.env["ir.cron"]._matrix_tell(done=1, remaining=remaining)

    @api.model
    def _due(self):
        now = fields.Datetime.now()
        return ["|", ("again_at", "=", False), ("again_at", "<=", now)]

    @api.model
    def _first_due(self):
        self.flush_model()
        rows = self.env.execute_query(
            SQL(
                "SELECT id FROM matrix_room_look "
                "WHERE again_at IS NULL OR again_at <= %s "
                "ORDER BY COALESCE(again_at, noted_at), id LIMIT 1",
                fields.Datetime.now(),
            )
        )
        return self.browse(row_id for (row_id,) in rows)

    def _look(self):
        """Check the room of one record; delete these rows unless to be done again."""
        model, res_id = self[0].res_model, self[0].res_id
        record = model in self.env and self.env[model].browse(res_id).exists()
        try:
            if record:
                with self.env.cr.savepoint():
                    is_unfinished = record._matrix_follow_room()
                if is_unfinished:
                    self._postpone("not everybody could be invited within a day")
                    return
        except MatrixError as error:
            if error.status in (None, 401, 429) or error.status >= 500:
                # The others would get the same answer, each after a timeout. They come
                # first next time: it may be this room only that fails.
                others = self._due_of(record._matrix_backend()) - self
                others._postpone(error)
                self._postpone(error, _AGAIN_AFTER + timedelta(seconds=1))
                return
            self._log_given_up(error)
        except UserError as error:
            _logger.info("The room of %s,%s is not followed: %s", model, res_id, error)
        except Exception as error:
            self.env["matrix.outbox"]._raise_if_to_run_again(error)
            _logger.exception("The room of %s,%s cannot be followed", model, res_id)
        self.unlink()

    @api.model
    def _due_of(self, backend):
        """Return the rows that are due, of all records that ``backend`` serves."""
        rows = self.browse()
        for model, looks in self.search(self._due()).grouped("res_model").items():
            if model not in self.env:
                continue
            records = self.env[model].browse(looks.mapped("res_id")).exists()
            served = records.filtered(lambda rec: rec._matrix_backend() == backend)
            ids = set(served.ids)
            rows |= looks.filtered(lambda look, ids=ids: look.res_id in ids)
        return rows

    def _postpone(self, reason, pause=_AGAIN_AFTER):
        """Check these rooms later, but give up those that have waited for a day."""
        now = fields.Datetime.now()
        young = self.filtered(lambda look: look.noted_at > now - _GIVEN_UP_AFTER)
        if young:
            young.again_at = now + pause
            self._trigger(now + pause)
        old = self - young
        old._log_given_up(reason)
        old.unlink()

    def _log_given_up(self, reason):
        for model, res_id in sorted({(look.res_model, look.res_id) for look in self}):
            _logger.warning("Gave up following %s,%s: %s", model, res_id, reason)
