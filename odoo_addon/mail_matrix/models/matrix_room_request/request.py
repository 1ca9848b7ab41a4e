from collections import Counter, defaultdict

from odoo import api, fields, models
from odoo.tools import SQL

from ...tools.times import time_text
from ..matrix_backend.health import COUNT_AT_MOST, count_text

_CALLED = "mail_matrix.room_request_called"


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
    # How often something unexpected went wrong.
    unexpected = fields.Integer(readonly=True)
    note = fields.Char(readonly=True, help="Why there is no room yet.")
    # The room that was created and is not linked yet.
    backend_id = fields.Integer(readonly=True)
    room_id = fields.Char(readonly=True)
    room_alias = fields.Char(readonly=True)
    health = fields.Char(readonly=True)
    found = fields.Json(readonly=True)

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
    def _troubles_of(self, backends, readable):
        """Return (model, ids, text) of the records for which messages wait because
        their room could not be created.

        The text has the reason that most of them share.

        :param readable: returns for a model and ids those that the user may know of;
            None if that is all of them
        """
        rows = self.env.execute_query(
            SQL(
                """
                SELECT r.res_model, r.res_id, max(r.note)
                FROM matrix_room_request AS r
                WHERE r.note <> '' AND EXISTS (
                    SELECT FROM matrix_early_message AS e
                    WHERE e.res_model = r.res_model AND e.res_id = r.res_id
                        AND e.backend_id = ANY(%s)
                )
                GROUP BY r.res_model, r.res_id
                ORDER BY r.res_model, r.res_id
                LIMIT %s
                """,
                backends.ids,
                # The first ones may be those that the user may not know of.
                None if readable else COUNT_AT_MOST + 1,
            )
        )
        notes = defaultdict(dict)
        for model, res_id, note in rows:
            notes[model][res_id] = note.strip()
        troubles = []
        for model, by_id in notes.items():
            found = readable(model, list(by_id)) if readable else by_id
            res_ids = sorted(found)[: COUNT_AT_MOST + 1]
            if res_ids:
                [(note, _count)] = Counter(map(by_id.get, res_ids)).most_common(1)
                troubles.append((model, res_ids, self._trouble(len(res_ids), note)))
        return troubles

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
