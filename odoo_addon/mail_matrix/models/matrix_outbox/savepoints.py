from itertools import count
from typing import NamedTuple

from odoo import api, models
from odoo.tools import SQL

_CALLS = "mail_matrix.calls"
_marks = count(1)


class Call(NamedTuple):
    """One call of _note: what it noted, and which values were not written yet."""

    mark: str
    previous: str | None  # the mark that was set before
    notes: list
    pending: dict  # values by name of field, by id of record


class MatrixOutbox(models.Model):
    """Drops what was noted in a savepoint that was rolled back.

    Odoo forgets its callbacks when a savepoint that flushes is rolled back, but knows
    nothing of the others. PostgreSQL does: a setting of the transaction is rolled back
    with the savepoint. Each call sets it to a new mark and keeps the mark that
    it replaced, so that the calls that were not rolled back form a chain that ends with
    the mark that is set at commit.
    """

    _inherit = "matrix.outbox"

    @api.model
    def _mark_call(self, records, notes):
        """Remember in which savepoint ``notes`` about ``records`` were made."""
        mark = str(next(_marks))
        # OFFSET 0: the setting is read before it is set.
        self.env.cr.execute(
            SQL(
                """
                SELECT was.mark, set_config('mail_matrix.mark', %s, true)
                FROM (
                    SELECT current_setting('mail_matrix.mark', true) AS mark OFFSET 0
                ) AS was
                """,
                mark,
            )
        )
        previous, _mark = self.env.cr.fetchone()
        calls = self.env.cr.precommit.data.setdefault(_CALLS, [])
        calls.append(Call(mark, previous, notes, _pending(records.sudo())))

    @api.model
    def _not_rolled_back(self, notes):
        """Return those of ``notes`` that were not rolled back. Flush before calling
        it."""
        calls = self.env.cr.precommit.data.pop(_CALLS, [])
        calls = {call.mark: call for call in calls}
        self.env.cr.execute("SELECT current_setting('mail_matrix.mark', true)")
        (mark,) = self.env.cr.fetchone()
        happened = set()
        while mark in calls:
            call = calls.pop(mark)
            happened.update(call.notes)
            mark = call.previous
        for call in calls.values():
            happened.update(note for note in call.notes if self._was_kept(note, call))
        return {note: uid for note, uid in notes.items() if note in happened}

    @api.model
    def _was_kept(self, note, call):
        """Whether a change in a lost savepoint was written after all.

        Changes that Odoo had not yet written when the savepoint was rolled back are
        written at commit, unless the cache was cleared.
        """
        pending = call.pending.get(note.res_id)
        record = self.sudo().env[note.model].browse(note.res_id)
        if not pending or not record.exists():
            return False
        # The cache may still hold what the database rolled back.
        record.invalidate_recordset(pending, flush=False)
        return all(record[name] == value for name, value in pending.items())


def _pending(records):
    """Return the values of ``records`` that Odoo has not written yet."""
    # 18.0 keeps them in the cache, 19.0 in the transaction.
    dirty = getattr(records.env.transaction, "field_dirty", None)
    dirty = records.env.cache._dirty if dirty is None else dirty
    pending = {}
    for field, ids in dirty.items():
        if field.model_name != records._name or field.name in models.MAGIC_COLUMNS:
            continue
        for record in records:
            if record.id in ids:
                pending.setdefault(record.id, {})[field.name] = record[field.name]
    return pending
