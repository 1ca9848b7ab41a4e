from odoo import api, models
from odoo.tools import SQL

from ...tools import words

# A room that is replaced again and again before its record follows.
_MAX_HOPS = 20


class MatrixInbound(models.Model):
    """Finds the record whose room was replaced by another one, which the record does
    not have yet.

    The worker joins the new room before it can check that room and store that it
    follows. So that nothing written meanwhile is lost, it counts what the old room says
    about its successor, until the worker refuses to follow.
    """

    _inherit = "matrix.inbound"

    @api.model
    def _records_before(self, backend, room):
        """Return the records of the room that ``room`` replaced, over any number of
        hops."""
        followed = self._rooms_followed(backend)
        for olds in _hops(room, lambda news: _olds(followed, news)):
            if records := self._records_linked_to(backend, olds):
                return records
        since = []

        def olds_as_said(news):
            said = self._read_replacements(backend, news)
            said = [row for row in said if row[0] not in followed.get(row[1], ())]
            used = {new for new in {row[1] for row in said} if self._is_used(new)}
            said = [row for row in said if row[1] not in used]
            since.extend(received_at for _old, _new, received_at in said)
            return {old for old, _new, _received_at in said} | _olds(followed, news)

        for olds in _hops(room, olds_as_said):
            if records := self._records_linked_to(backend, olds):
                return [] if self._is_refused(records, min(since)) else records
        return []

    @api.model
    def _rooms_followed(self, backend):
        """Return the rooms that the worker has followed; see matrix.lane. They are read
        once for the events of one call."""
        known = self.env.context.get("matrix_followed", {})
        if backend.id not in known:
            known[backend.id] = self.env["matrix.lane"]._rooms_followed(backend)
        return known[backend.id]

    @api.model
    def _read_replacements(self, backend, rooms):
        """Return (old room, new room, when Odoo heard it) as the old rooms say it."""
        self.flush_model(["replacement_room"])
        return self.env.execute_query(
            SQL(
                """
                SELECT room_id, replacement_room, received_at FROM matrix_inbound
                WHERE replacement_room = ANY(%s) AND backend_id = %s
                """,
                list(rooms),
                backend.id,
            )
        )

    @api.model
    def _is_used(self, room):
        """Whether Odoo knows ``room`` as something else than the successor of a room.

        Whoever may replace the room of a record could direct to that record what other
        people write elsewhere.
        """
        # Rooms that were created and are not linked yet.
        requests = self.env["matrix.room.request"].sudo()
        return bool(
            self._rooms_linked([room])
            or requests.search_count([("room_id", "=", room)], limit=1)
            or self.env["matrix.lane"]._is_direct(room)
        )

    @api.model
    def _is_refused(self, records, since):
        """Whether the worker has refused to follow from the room of ``records``."""
        return bool(
            self.env.execute_query(
                SQL(
                    """
                    SELECT FROM matrix_log
                    WHERE (res_model, res_id) IN (%s) AND date >= %s
                        AND status = 'failed' AND is_final AND error_code = %s
                    LIMIT 1
                    """,
                    SQL(", ").join(SQL("%s", (one._name, one.id)) for one in records),
                    since,
                    words.ERROR_REPLACED,
                )
            )
        )


def _hops(room, olds):
    """Yield the rooms that ``room`` replaced, then those that these replaced, and so
    on, as ``olds`` knows for several rooms."""
    known, news = {room}, {room}
    for _hop in range(_MAX_HOPS):
        news = olds(news) - known
        if not news:
            return
        known |= news
        yield sorted(news)


def _olds(followed, news):
    return {old for new in news for old in followed.get(new, ())}
