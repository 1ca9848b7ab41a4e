import logging
from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import SQL

from ..tools import record_index

_logger = logging.getLogger(__name__)

_AFTER_UNEXPECTED = timedelta(hours=1)


class MatrixBackgroundMixin(models.AbstractModel):
    """Rows about records for which a scheduled action calls the homeserver.

    Business transactions insert rows and do nothing else. The rows of one record are
    worked off together, each record in a transaction of its own.
    """

    _name = "matrix.background.mixin"
    _description = "Work about Records in the Background"

    # The scheduled action's XML ID.
    _matrix_cron = None
    _matrix_again_after = timedelta(minutes=5)

    res_model = fields.Char(required=True, readonly=True)
    res_id = fields.Many2oneReference(
        model_field="res_model", required=True, readonly=True
    )
    noted_at = fields.Datetime(required=True, readonly=True)
    again_at = fields.Datetime(readonly=True)

    def init(self):
        if not self._abstract:
            record_index.create(self.env.cr, self._table)

    @api.model
    def _trigger(self, at=None):
        cron = self.env.ref(self._matrix_cron, False)
        if cron:
            cron.sudo()._trigger(at)

    @api.model
    def _cron_look(self):
        """Look for work, and do that of the record that has waited longest."""
        first = self._first_due()
        if first:
            self.search(first._matrix_together())._matrix_work_or_postpone()
        remaining = self.search_count(self._due())
        self.env["ir.cron"]._matrix_tell(done=1, remaining=remaining)

    def _matrix_together(self):
        """Return the domain of the rows that are worked off with this one."""
        return [("res_model", "=", self.res_model), ("res_id", "=", self.res_id)]

    def _matrix_work_or_postpone(self):
        """Do the work of one record. Whatever goes wrong, the next record has its
        turn."""
        try:
            with self.env.cr.savepoint():
                self._matrix_work()
        except Exception as error:
            self.env["matrix.outbox"]._raise_if_to_run_again(error)
            _logger.exception(
                "Failed, and will be tried again: %s of %s,%s",
                self._description,
                self[0].res_model,
                self[0].res_id,
            )
            self._matrix_postpone_unexpected(_AFTER_UNEXPECTED)

    def _matrix_postpone_unexpected(self, pause):
        """Do the work of these rows, which failed unexpectedly, after ``pause``."""
        raise NotImplementedError

    def _matrix_work(self):
        """Do the work of one record; delete these rows unless to be done again."""
        raise NotImplementedError

    @api.model
    def _due(self):
        now = fields.Datetime.now()
        return ["|", ("again_at", "=", False), ("again_at", "<=", now)]

    @api.model
    def _first_due(self):
        self.flush_model()
        rows = self.env.execute_query(
            SQL(
                "SELECT id FROM %s WHERE again_at IS NULL OR again_at <= %s "
                "ORDER BY COALESCE(again_at, noted_at), id LIMIT 1",
                SQL.identifier(self._table),
                fields.Datetime.now(),
            )
        )
        return self.browse(row_id for (row_id,) in rows)

    @api.model
    def _due_of(self, backend):
        """Return the rows that are due, of all records that ``backend`` serves."""
        rows = self.browse()
        for model, group in self.search(self._due()).grouped("res_model").items():
            records = self._matrix_records(model, group.mapped("res_id"))
            if records:
                served = records.filtered(lambda rec: rec._matrix_backend() == backend)
                rows |= group._matrix_about(served)
        return rows

    def _matrix_about(self, records):
        """Return those of these rows that are about ``records``, of their model, and
        need the homeserver."""
        ids = set(records.ids)
        return self.filtered(lambda row: row.res_id in ids)

    @api.model
    def _is_about_all(self, error):
        """Whether the other records of the backend would get the same answer."""
        return error.status in (None, 401, 429) or error.status >= 500

    def _matrix_record(self):
        """Return the record that these rows are about, or nothing if it is gone."""
        return self._matrix_records(self[0].res_model, [self[0].res_id])

    @api.model
    def _matrix_records(self, model, res_ids):
        """Return those of these records that exist; None if they have no rooms any
        more, because an addon was uninstalled."""
        records = self.env.get(model)
        if not hasattr(records, "_matrix_room_record"):
            return None
        return records.browse(res_ids).exists()
