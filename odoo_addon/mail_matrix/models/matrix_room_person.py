from odoo import api, fields, models
from odoo.tools import SQL
from odoo.tools.sql import drop_index, index_exists

_ONCE = "matrix_room_person_account_once"
# Allowed one row for each user.
_FORMER_ONCE = "matrix_room_person_once"


class MatrixRoomPerson(models.Model):
    """Whether a person of a record is in its room, as it was last seen.

    Somebody who got another Matrix ID has a row for each account that is in the room.

    Written by code that calls the homeserver, never by a business transaction.
    """

    _name = "matrix.room.person"
    _description = "Person of a Matrix Room"
    _log_access = False

    res_model = fields.Char(required=True, readonly=True)
    res_id = fields.Many2oneReference(
        model_field="res_model", required=True, readonly=True
    )
    room_id = fields.Char(required=True, readonly=True)
    user_id = fields.Many2one(
        "res.users", required=True, ondelete="cascade", index=True, readonly=True
    )
    # Seen in the room, or invited: the user may have another one by now.
    account = fields.Char(readonly=True)
    state = fields.Selection(
        [
            ("in", "In the Room"),
            ("refused", "Refused"),
            ("waiting", "Not Invited Yet"),
            ("unmapped", "Without Matrix Account"),
            ("left", "Does Not Belong There Any More"),
        ],
        required=True,
        readonly=True,
    )
    note = fields.Text(readonly=True)

    def init(self):
        if index_exists(self.env.cr, _FORMER_ONCE):
            drop_index(self.env.cr, _FORMER_ONCE, self._table)
        # Even if it exists, CREATE INDEX IF NOT EXISTS would lock the table.
        if not index_exists(self.env.cr, _ONCE):
            self.env.cr.execute(
                SQL(
                    "CREATE UNIQUE INDEX %s "
                    "ON matrix_room_person "
                    "(res_model, res_id, user_id, COALESCE(account, ''))",
                    SQL.identifier(_ONCE),
                )
            )

    @api.model
    def _of(self, record):
        """Return the people of ``record``, with all rights."""
        return self.sudo().search(
            [("res_model", "=", record._name), ("res_id", "=", record.id)],
            order="id",
        )

    @api.model
    def _is_in(self, record, room, user):
        """Whether the account of ``user`` was seen in the room of ``record``, or was
        invited there."""
        account = user.sudo().matrix_user_id
        known = self._of(record).filtered(
            lambda person: person.user_id == user and person.account == account
        )
        return bool(account) and known.state == "in" and known.room_id == room

    def _is_former(self):
        """Whether the user has another account by now, or none, and this one was last
        seen in the room."""
        self.ensure_one()
        return (
            self.state in ("in", "left")
            and bool(self.account)
            and self.account != self.user_id.sudo().matrix_user_id
        )

    def _names(self):
        """Return the names of these people, with accounts that they no longer have."""
        return [
            f"{person.user_id.name} ({person.account})"
            if person._is_former()
            else person.user_id.name
            for person in self
        ]

    @api.model
    def _remember(self, record, room, result):
        """Store the result of a Round, and who is in the room but no longer belongs
        there."""
        known = self._of(record)
        states = dict.fromkeys(result.there | result.pending | result.invited, ("in",))
        for reason, users in result.refused.items():
            states |= dict.fromkeys(users, ("refused", reason))
        states |= dict.fromkeys(result.left_over, ("waiting",))
        states |= dict.fromkeys(result.unmapped, ("unmapped",))
        self._upsert(record, room, states)
        others = known.filtered(
            lambda person: (
                person.user_id not in states
                or (person.account or "") != (person.user_id.matrix_user_id or "")
            )
        )
        stay = others.filtered(
            lambda person: (
                person.state in ("in", "left")
                and person.room_id == room
                and person.account in result.accounts
            )
        )
        (others - stay).unlink()
        stay.state = "left"

    @api.model
    def _upsert(self, record, room, states):
        """Store the state of each user, and perhaps a note about it.

        By one statement: if somebody else has just stored a person whom this
        transaction does not see, PostgreSQL asks for it to be run again.
        """
        if not states:
            return
        self.flush_model()
        about = record._name, record.id, room
        rows = [
            (
                *about,
                user.id,
                user.sudo().matrix_user_id or None,
                state,
                note[0] if note else None,
            )
            for user, (state, *note) in states.items()
        ]
        self.env.cr.execute(
            SQL(
                """
                INSERT INTO matrix_room_person
                    (res_model, res_id, room_id, user_id, account, state, note)
                VALUES %s
                ON CONFLICT (res_model, res_id, user_id, COALESCE(account, ''))
                DO UPDATE SET room_id = excluded.room_id, state = excluded.state,
                    note = excluded.note
                """,
                SQL(", ").join(SQL("%s", row) for row in rows),
            )
        )
        self.invalidate_model()

    @api.model
    def _look_again(self, users):
        """Schedule a check of the rooms in which ``users`` belong."""
        people = self.sudo().search([("user_id", "in", users.ids)])
        for model, group in people.grouped("res_model").items():
            if model in self.env:
                records = self.env[model].browse(group.mapped("res_id")).exists()
                records._matrix_look_later()
