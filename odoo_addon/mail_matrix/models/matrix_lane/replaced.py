import logging
from collections import defaultdict
from datetime import timedelta

from markupsafe import Markup

from odoo import api, models
from odoo.exceptions import UserError
from odoo.tools import SQL

_logger = logging.getLogger(__name__)

# What somebody does while the room of a record changes may be committed to the old lane
# afterwards: the new lane rests until that has been sent.
_REST_SECONDS = 5
_CRON = "mail_matrix.matrix_replaced_cron"
# After the message that makes the worker look into the old room.
_LOOKS = [timedelta(seconds=seconds) for seconds in (5, 20, 60)]


class MatrixLane(models.Model):
    """Rooms that were replaced, and that the worker has followed.

    It sends what waits for the old room to the new one. When nothing is left, the
    records are linked to the new room.
    """

    _inherit = "matrix.lane"

    @api.model
    def _cron_follow_replaced(self):
        """Link the records of a replaced room to the new room, each room in a
        transaction of its own: the new room rests from then on."""
        replaced = self._read_replaced()
        remaining = len(replaced)
        for backend_id, old, new in replaced:
            remaining -= 1
            backend = self.env["matrix.backend"].browse(backend_id).exists()
            if backend and self._follow_replaced(backend, old, new):
                break
        self.env["ir.cron"]._matrix_tell(done=1, remaining=remaining)

    @api.model
    def _read_replaced(self):
        """Return (backend id, old room, new room) of rooms for which nothing waits, and
        which still are the room of a record or the default room of a backend."""
        replaced = self.env.execute_query(
            SQL(
                """
                SELECT split_part(l.lane, '/', 1)::integer,
                    substr(l.lane, strpos(l.lane, '/') + 1), l.room_id
                FROM matrix_lane AS l
                WHERE l.room_id IS NOT NULL AND l.lane ~ '^[0-9]+/!'
                    AND (l.lease_until IS NULL
                        OR l.lease_until < now() AT TIME ZONE 'UTC')
                    AND NOT EXISTS (
                        SELECT FROM matrix_outbox AS o WHERE o.lane = l.lane
                    )
                ORDER BY l.id
                """
            )
        )
        olds = {old for _backend_id, old, _new in replaced}
        linked = self.env["matrix.inbound"]._rooms_linked(olds) if olds else ()
        return [row for row in replaced if row[1] in linked]

    @api.model
    def _rooms_followed(self, backend):
        """Return the rooms that the worker has followed: the old ones by the new one.

        Read by the lanes, because there is no index on rooms.
        """
        prefix = f"{backend.id}/"
        rows = self.env.execute_query(
            SQL(
                """
                SELECT lane, room_id FROM matrix_lane
                WHERE lane >= %s AND lane < %s AND room_id IS NOT NULL
                """,
                f"{prefix}!",
                # The next character: lanes are in the order of their bytes.
                f'{prefix}"',
            )
        )
        followed = defaultdict(list)
        for lane, room in rows:
            followed[room].append(lane.removeprefix(prefix))
        return followed

    @api.model
    def _is_direct(self, room):
        """Whether ``room`` is the direct room with a person."""
        return bool(
            self.env.execute_query(
                SQL(
                    "SELECT FROM matrix_lane "
                    "WHERE room_id = %s AND lane ~ '^[0-9]+/@' LIMIT 1",
                    room,
                )
            )
        )

    @api.model
    def _follow_replaced(self, backend, old, new):
        """Link everything that has the room ``old`` to ``new``; return whether there
        was anything that could be."""
        is_default = backend.default_room_id == old
        if is_default:
            backend.default_room_id = new
            _logger.info(
                "The default room of backend %s was replaced by %s", backend.id, new
            )
        moved = [
            self._relink(record, old, new)
            for name in self.env["matrix.inbound"]._room_models()
            for record in self.env[name]
            .sudo()
            .with_context(active_test=False)
            .search([("matrix_room_id", "=", old)])
            if record._matrix_backend() == backend
        ]
        has_moved = is_default or any(moved)
        if has_moved:
            self._let_rest(f"{backend.id}/{new}")
        return has_moved

    @api.model
    def _let_rest(self, lane):
        self.env.cr.execute(
            SQL(
                """
                INSERT INTO matrix_lane AS l (lane, retry_at)
                -- Not now(), which is when this transaction began.
                VALUES (
                    %s, clock_timestamp() AT TIME ZONE 'UTC' + %s * interval '1 s'
                )
                ON CONFLICT (lane) DO UPDATE
                SET retry_at = GREATEST(l.retry_at, excluded.retry_at)
                """,
                lane,
                _REST_SECONDS,
            )
        )

    @api.model
    def _relink(self, record, old, new):
        """Link ``record`` to the new room and say so in its chatter; return whether
        that was possible."""
        author = self.env.ref("mail_matrix.user_matrix_bot")
        record = self.env["matrix.outbox"]._in_language_of(record, record)
        record = record.with_user(author).sudo()
        # The note says it.
        record = record.with_context(tracking_disable=True)
        try:
            with self.env.cr.savepoint():
                record.write(
                    {
                        "matrix_room_id": new,
                        # The alias leads to the new room, or to nowhere.
                        "matrix_resolved_alias": record.matrix_resolved_alias,
                    }
                )
                said = record.env._(
                    "The Matrix room was replaced by another one, for example by an "
                    "upgrade. Messages go to the new room from now on."
                )
                rooms = Markup("<p>%s</p><p class='text-muted'>%s → %s</p>")
                record._matrix_post_from_bot(rooms % (said, old, new))
        except UserError as error:
            # For example because a record of another company has the new room.
            _logger.warning(
                "%s,%s is not linked to the room that replaced its own: %s",
                record._name,
                record.id,
                error,
            )
            return False
        return True

    @api.model
    def _follow_replaced_soon(self):
        """Link the records once the worker has had time to follow."""
        cron = self.env.ref(_CRON, raise_if_not_found=False)
        if cron:
            now = self.env.cr.now()
            cron.sudo()._trigger([now + delay for delay in _LOOKS])
