import logging
from collections import defaultdict
from contextlib import contextmanager
from typing import NamedTuple

import psycopg2
from psycopg2 import errorcodes

from odoo import api, models
from odoo.exceptions import UserError

from ...tools import content as contents
from ...tools import words

_logger = logging.getLogger(__name__)

_NOTES = "mail_matrix.notes"
_TURNING = "mail_matrix.turning"
_ONCE = "mail_matrix.once"

# Odoo runs the whole request again on these.
_RUN_AGAIN = {
    errorcodes.SERIALIZATION_FAILURE,
    errorcodes.DEADLOCK_DETECTED,
    errorcodes.LOCK_NOT_AVAILABLE,
}


class Note(NamedTuple):
    model: str
    res_id: int
    event_type: str
    cause_id: int  # id of the chatter message or the server action, else 0


class MatrixOutbox(models.Model):
    """Events of business records become messages at commit, once per transaction.

    A business transaction never fails, waits or changes because of Matrix: what goes
    wrong here becomes a failed row in the log. The work is done in a precommit
    callback, because a savepoint in the middle of a transaction would run the callbacks
    of others too early.
    """

    _inherit = "matrix.outbox"

    @api.model
    def _note(self, records, event_type, cause_id=0):
        """Remember that ``event_type`` happened to ``records``."""
        precommit = self.env.cr.precommit
        if self._is_installing() or _TURNING in precommit.data:
            return
        notes = precommit.data.get(_NOTES)
        if notes is None:
            notes = precommit.data[_NOTES] = {}
            precommit.add(self.with_env(self.env(context={}))._turn_notes_into_rows)
        made = [Note(records._name, id_, event_type, cause_id) for id_ in records.ids]
        for note in made:
            notes.setdefault(note, self.env.uid)
        if made:
            self._mark_call(records, made)

    @api.model
    def _is_installing(self):
        """Whether data of a module is being loaded, which causes no events.

        An import by a person runs in the same mode, marked by import_file. Its dry run
        rolls back what it wrote, rows of the outbox included.
        """
        context = self.env.context
        return bool(context.get("install_mode") and not context.get("import_file"))

    @api.model
    def _turn_notes_into_rows(self):
        data = self.env.cr.precommit.data
        notes = data.pop(_NOTES, None)
        if not notes:
            return
        # If the user's own changes fail, they must fail as they would without us.
        self.env.flush_all()
        notes = self._not_rolled_back(notes)
        if not notes:
            return
        # A text whose expressions write records could cause its own event for ever.
        data[_TURNING] = True
        try:
            with self._reading_once():
                self._insert_for(notes)
        except Exception as error:
            self._raise_if_to_run_again(error)
            with self._reading_once():
                self._insert_one_by_one(notes)
        finally:
            data.pop(_TURNING, None)

    @contextmanager
    def _reading_once(self):
        """Let ``_once`` and ``_existing`` read what many messages share only once.

        For code that does not change what they read.
        """
        data = self.env.cr.precommit.data
        if _ONCE in data:
            yield
            return
        data[_ONCE] = {}
        try:
            yield
        finally:
            data.pop(_ONCE, None)

    @api.model
    def _once(self, key, compute):
        """Return ``compute()``, which is called once within ``_reading_once``.

        For what many records share; plain values only, since the cache may be cleared.
        """
        known = self.env.cr.precommit.data.get(_ONCE)
        if known is None:
            return compute()
        if key not in known:
            known[key] = compute()
        return known[key]

    @api.model
    def _existing(self, model, ids):
        """Return those of these records that exist.

        Within ``_reading_once`` nothing is looked up again, and all records of a model
        are read together, however few each call names.
        """
        asked, found = self._once(("existing", model), lambda: (set(), {}))
        records = self.env[model]
        new = [id_ for id_ in dict.fromkeys(ids) if id_ and id_ not in asked]
        if new:
            asked.update(new)
            found.update(dict.fromkeys(records.browse(new).exists()._ids))
        return records.browse([id_ for id_ in ids if id_ in found]).with_prefetch(found)

    @api.model
    def _insert_for(self, notes):
        """Insert the rows of ``notes`` by one statement; log those that fail."""
        with self.env.cr.savepoint(flush=False):
            rows, failures = self._rows_of(notes)
            self._insert_rows(rows)
            self.env["matrix.log"]._insert_failures(failures)
            # A template may have computed a stored field, which is written here too.
            self.env.flush_all()

    @api.model
    def _insert_one_by_one(self, notes):
        """Find the notes that the database refused, and log those."""
        for note, uid in notes.items():
            # The cache still holds what was rolled back.
            self.env.transaction.clear()
            try:
                self._insert_for({note: uid})
            except Exception as error:
                self._raise_if_to_run_again(error)
                self._log_refused(note, uid, error)
        self.env.transaction.clear()

    @api.model
    def _log_refused(self, note, uid, error):
        self.env.transaction.clear()
        try:
            with self.env.cr.savepoint(flush=False):
                values = {"res_model": note.model, "res_id": note.res_id}
                code = words.ERROR_TEMPLATE
                record = self.sudo().env[note.model].browse(note.res_id)
                event = self._event_of(note, record.with_user(uid).sudo())
                failure = self._failure(note, uid, error, code, values, event)
                self.env["matrix.log"]._insert_failures([failure])
        except Exception as second_error:
            self._raise_if_to_run_again(second_error)
            # Without the texts: an error of the database quotes the row.
            _logger.error(
                "An event for Matrix was lost and could not be logged: %s of %s,%s "
                "(%s)",
                note.event_type,
                note.model,
                note.res_id,
                type(second_error).__name__,
            )

    @api.model
    def _raise_if_to_run_again(self, error):
        """Raise the database's error that caused ``error`` if Odoo retries on it."""
        cause = self._cause_to_run_again(error)
        if cause:
            raise cause

    @api.model
    def _cause_to_run_again(self, error):
        """Return the database's error that caused ``error`` if Odoo retries on it."""
        while error:
            if isinstance(error, psycopg2.InterfaceError) or (
                isinstance(error, psycopg2.Error)
                and (error.pgcode in _RUN_AGAIN or self.env.cr.connection.closed)
            ):
                return error
            error = error.__cause__ or error.__context__
        return None

    @api.model
    def _rows_of(self, notes):
        """Return the outbox rows of ``notes`` and the failures, each in their order."""
        ids = defaultdict(list)
        for note in notes:
            ids[note.model].append(note.res_id)
        existing = {
            model: self.sudo().env[model].browse(set(res_ids)).exists()
            for model, res_ids in ids.items()
            if model in self.env
        }
        chatter = [note.cause_id for note in notes if note.event_type == "chatter"]
        self._existing("mail.message", chatter)
        for records in existing.values():
            if hasattr(records, "_matrix_read_together"):
                records._matrix_read_together()
        rows, failures = [], []
        for note in self._opening_first(notes, existing):
            uid = notes[note]
            records = existing.get(note.model)
            if not records or note.res_id not in records._ids:
                failures += self._failures_of_gone(note, uid)
                continue
            record = records.browse(note.res_id).with_prefetch(records._prefetch_ids)
            # The text is rendered with all rights, as the user who caused the event.
            record = record.with_user(uid).sudo()
            values = {"res_model": note.model, "res_id": note.res_id}
            code = words.ERROR_ROOM
            event = self._event_of(note, record)
            try:
                target = event._matrix_target(note.event_type)
                if target:
                    backend, values = target
                    code = words.ERROR_TEMPLATE
                    row = event._matrix_row(note.event_type, backend, values)
                    rows.append(row)
                    if note.event_type == "chatter":
                        rows += event._matrix_file_rows(backend, values)
            except Exception as error:
                self._raise_if_to_run_again(error)
                if isinstance(error, psycopg2.Error):
                    raise
                code = getattr(error, "matrix_code", code)
                failures.append(self._failure(note, uid, error, code, values, event))
        return rows, failures

    @api.model
    def _opening_first(self, notes, existing):
        """Return ``notes`` in the order in which rooms should read them.

        This is the order in which they happened, except that a new record comes before
        its lines: lines are saved with it, and so noted before it.
        """
        openings = {note for note in notes if self._is_opening(note)}
        if not openings or len(notes) == 1:
            return list(notes)
        rooms, places, firsts = {}, {}, {}
        for place, note in enumerate(notes):
            records = existing.get(note.model)
            room = note.model, note.res_id
            if hasattr(records, "_matrix_room_record") and note.res_id in records._ids:
                record = records.browse(note.res_id)
                record = record.with_prefetch(records._prefetch_ids)
                record = record._matrix_room_record()
                room = record._name, record.id
            rooms[note], places[note] = room, place
            firsts.setdefault(rooms[note], place)
        return sorted(
            notes,
            key=lambda note: (
                (firsts[rooms[note]], 0) if note in openings else (places[note], 1)
            ),
        )

    @api.model
    def _is_opening(self, note):
        records = self.env.get(note.model)
        return (
            hasattr(records, "_matrix_opening_events")
            and note.event_type in records._matrix_opening_events()
        )

    @api.model
    def _failures_of_gone(self, note, uid):
        """Return the log rows of a note whose record was deleted.

        Most events do not matter any more then. But whoever set up a server action on
        deletion expects a message, and none can be made.
        """
        if note.event_type != "automation":
            return []
        action = self.with_user(uid).sudo().env["ir.actions.server"]
        action = action.browse(note.cause_id).exists()
        return [action._matrix_failure_without_record()] if action else []

    @api.model
    def _event_of(self, note, record):
        """Return what creates this event's message: the record, or a server action
        about it."""
        if note.event_type == "automation":
            action = record.env["ir.actions.server"].browse(note.cause_id)
            return action.with_context(matrix_record=record)
        return record.with_context(matrix_message_id=note.cause_id)

    @api.model
    def _failure(self, note, uid, error, code, values, event):
        """Return the log row of a note that did not become a message."""
        cause = error.__cause__ if isinstance(error, UserError) else None
        text = f"{error}: {cause}" if cause else str(error)
        if code == words.ERROR_TEMPLATE or note.event_type == "automation":
            # Many places hold texts: name the one to fix.
            text = f"{event._matrix_place(note.event_type)}: {text}"
        return {
            "event_type": note.event_type,
            "user_id": uid,
            "error_code": code,
            # The log keeps 1 KB of it.
            "error_message": contents.clean(text[:2000]),
            **values,
            **getattr(error, "about", {}),
        }
