from odoo import api, fields, models
from odoo.tools import SQL

from ...tools import changes, words
from ...tools.times import date_time_text
from .thread import USER

# What the worker writes into the log when the room takes no message of the account. A
# redaction needs another right, and a file may be refused for itself.
_REFUSALS = {
    "M_FORBIDDEN": "refused",
    words.ERROR_REPLACED: "replaced",
}


class MatrixThreadMixin(models.AbstractModel):
    """What is known of the linked room, in the language of whoever reads it.

    That is what the last check found, or why the room has refused a message since.
    """

    _inherit = "matrix.thread.mixin"

    matrix_room_found = fields.Json(
        string="Found in the Room",
        readonly=True,
        copy=False,
        groups=USER,
        help="A code and its values; “report” is what a click has done besides.",
    )
    matrix_room_checked_at = fields.Datetime(
        string="Room Checked", readonly=True, copy=False, groups=USER
    )
    matrix_room_state = fields.Selection(
        selection="_matrix_room_states_known",
        string="Room State",
        compute="_compute_matrix_room_state",
        groups=USER,
        help="Found by Check Room, or by the last message.",
    )
    matrix_room_health_note = fields.Char(
        string="Room State Explained",
        compute="_compute_matrix_room_state",
        groups=USER,
    )

    @api.model
    def _matrix_room_states_known(self):
        return [
            *self._matrix_room_states(),
            ("refused", self.env._("Refuses messages")),
        ]

    @api.depends_context("lang", "tz")
    @api.depends(
        "matrix_room_id",
        "matrix_room_health",
        "matrix_room_found",
        "matrix_room_checked_at",
    )
    def _compute_matrix_room_state(self):
        refusals = self._matrix_refusals()
        for record in self:
            refusal = refusals.get(record._origin.id)
            if refusal:
                record.matrix_room_state = _REFUSALS[refusal["error_code"]]
                record.matrix_room_health_note = record.env._(
                    "Refused a message on %(time)s: %(reason)s. “Check Room” shows "
                    "whether that is still so.",
                    time=date_time_text(record.env, refusal["date"]),
                    reason=(refusal["error_message"] or "").rstrip("."),
                )
            else:
                record.matrix_room_state = record.matrix_room_health
                record.matrix_room_health_note = record._matrix_found_text(
                    record.matrix_room_found or {"code": record.matrix_room_health}
                )

    def _matrix_refusals(self):
        """Return by id why the rooms of these records refused the last message, if that
        was after the last check."""
        # With all rights: whoever may read the record may know what was sent about it.
        linked = self._origin.sudo().filtered(
            lambda record: (
                record.matrix_room_id
                # Earlier versions did not store when a room was checked.
                and (record.matrix_room_checked_at or not record.matrix_room_health)
            )
        )
        if not linked:
            return {}
        rows = self.env.execute_query_dict(
            SQL(
                """
                SELECT DISTINCT ON (l.res_id) l.res_id, l.status, l.date, l.error_code,
                    l.error_message
                FROM matrix_log AS l
                JOIN unnest(%s::integer[], %s::text[], %s::timestamp[])
                    AS r (id, room_id, checked_at) ON r.id = l.res_id
                WHERE l.res_model = %s AND l.res_id = ANY(%s) AND l.room_id = r.room_id
                    AND l.is_final AND l.event_type <> 'inbound'
                    AND (l.status = 'ok' OR l.error_code IN %s)
                    AND l.attachment_id IS NULL AND l.matrix_type IS DISTINCT FROM %s
                    AND (r.checked_at IS NULL OR l.date > r.checked_at)
                ORDER BY l.res_id, l.id DESC
                """,
                linked.ids,
                linked.mapped("matrix_room_id"),
                [record.matrix_room_checked_at or None for record in linked],
                self._name,
                linked.ids,
                tuple(_REFUSALS),
                changes.REDACTION,
            )
        )
        return {row["res_id"]: row for row in rows if row["status"] == "failed"}

    def _matrix_found_values(self, health, found):
        """Return the values to store of a room that was looked at now."""
        return {
            "matrix_room_health": health,
            "matrix_room_found": found,
            "matrix_room_checked_at": self.env.cr.now(),
        }

    @api.model
    def _matrix_found_text(self, found):
        """Return what was found as a sentence, or nothing.

        :param found: a dict: ``code``, its values, and perhaps ``report``
        """
        if not found:
            return False
        text = self._matrix_found_texts(found).get(found.get("code"))
        return " ".join(filter(None, [text, found.get("report")])) or False

    @api.model
    def _matrix_found_texts(self, found):
        """Return by code what a room is like."""
        # Earlier versions stored only the code.
        account = found.get("account") or self.env._("The account")
        room = found.get("room") or self.env._("another one")
        return {
            "ok": self.env._(
                "%(account)s is in the room and can post.", account=account
            ),
            # What this means for messages is said by matrix_room_advice.
            "encrypted": self.env._(
                "%(account)s is in the room, which is encrypted, and can post.",
                account=account,
            ),
            "public": self.env._(
                "%(account)s can post here. The room is public: anyone who finds "
                "it can read what Odoo writes.",
                account=account,
            ),
            "public_joined": self.env._(
                "%(account)s has joined this room without an invitation, "
                "because the room is public: anyone who finds it can read what"
                " Odoo writes.",
                account=account,
            ),
            "no_power": self.env._(
                "%(account)s can read this room, but cannot post in it. Give the "
                "account a higher role in the room's settings.",
                account=account,
            ),
            "not_joined": self.env._(
                "%(account)s is not in this room. Invite the account there, "
                "then check again.",
                account=account,
            ),
            "banned": self.env._(
                "%(account)s is banned from this room. An administrator of the"
                " room must lift the ban.",
                account=account,
            ),
            "replaced": self.env._(
                "This room was replaced by %(room)s. Enter the new room's ID if "
                "you trust the person who replaced it.",
                room=room,
            ),
            "replaced_follows": self.env._(
                "This room was replaced by another one. Odoo follows to it as "
                "soon as its account is invited there."
            ),
            "replaced_stays": self.env._(
                "This room was replaced by another one, and Odoo does not follow "
                "by itself, because nothing may be sent to the encrypted room. "
                "Enter the new room's ID if you trust the person who replaced it."
            ),
        }
