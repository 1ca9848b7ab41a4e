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
        now = fields.Datetime.now()
        waiting = self.search(["|", ("again_at", "=", False), ("again_at", "<=", now)])
        if waiting:
            first = waiting[0]
            same = waiting.filtered(
                lambda look: (
                    (look.res_model, look.res_id) == (first.res_model, first.res_id)
                )
            )
            waiting -= same
            same._look()
        self.env["ir.cron"]._matrix_tell(done=1, remaining=len(waiting))

    def _look(self):
        """Check the room of one record; delete these rows unless the server is down."""
        model, res_id = self[0].res_model, self[0].res_id
        record = model in self.env and self.env[model].browse(res_id).exists()
        try:
            if record:
                with self.env.cr.savepoint():
                    record._matrix_follow_room()
        except MatrixError as error:
            is_away = error.status in (None, 401, 429) or error.status >= 500
            if is_away and self[0].noted_at > fields.Datetime.now() - _GIVEN_UP_AFTER:
                self.again_at = fields.Datetime.now() + _AGAIN_AFTER
                self._trigger(self[0].again_at)
                return
        except UserError as error:
            _logger.info("The room of %s,%s is not followed: %s", model, res_id, error)
        except Exception as error:
            self.env["matrix.outbox"]._raise_if_to_run_again(error)
            _logger.exception("The room of %s,%s cannot be followed", model, res_id)
        self.unlink()
