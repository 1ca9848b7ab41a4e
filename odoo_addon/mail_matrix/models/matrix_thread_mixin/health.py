from odoo import api, fields, models

from ...tools import content as contents
from ...tools.matrix_error import MatrixError
from .thread import USER

# From this room version on, creators have full power without being in the power levels.
FIRST_VERSION_WITH_CREATORS = 12


class MatrixThreadMixin(models.AbstractModel):
    """Whether Odoo can post in the linked room, and who can read it."""

    _inherit = "matrix.thread.mixin"

    matrix_room_health = fields.Selection(
        selection="_matrix_room_states",
        string="Room State When Checked",
        readonly=True,
        copy=False,
        groups=USER,
        help="Result of the last Check Room.",
    )

    @api.model
    def _matrix_room_states(self):
        # By a method: Odoo has no translations of a list in an abstract model.
        states = {
            "ok": self.env._("Ready"),
            "not_joined": self.env._("Not in the room"),
            "no_power": self.env._("Cannot post"),
            "encrypted": self.env._("Encrypted"),
            "public": self.env._("Public"),
            "replaced": self.env._("Replaced"),
            "banned": self.env._("Banned"),
        }
        return list(states.items())

    def action_matrix_check_room(self):
        """Check whether the account can post in the room; join it if possible."""
        client = self._matrix_client()
        room = self._matrix_room_or_raise()
        health, found = self._matrix_look_at(client, room)
        self._matrix_link(room, health, found)
        if not self._matrix_invites_nobody(health):
            # Nobody could be invited as long as the room was not usable.
            self._matrix_look_later()
        titles = {
            "success": self.env._("Room ready"),
            "warning": self.env._("Room ready, with a warning"),
            "danger": self.env._("Room not usable"),
        }
        return self._matrix_room_notification(titles[self._matrix_room_kind()])

    def _matrix_room_kind(self):
        """Return the kind of notification for what was found."""
        health = self.matrix_room_state
        if health in ("ok", False):
            return "success"
        if health == "encrypted" and self.matrix_encrypts:
            return "success"
        agreed = health == "encrypted" and self.matrix_send_unencrypted
        return "warning" if agreed or health == "public" else "danger"

    def _matrix_look_at(self, client, room):
        """Return the health of ``room`` and what was found, as in matrix_room_found;
        join the room if that is possible."""
        account = client.whoami()["user_id"]

        def found(health, code=None, **values):
            return health, {"code": code or health, "account": account, **values}

        is_new = room not in client.joined_rooms()
        if is_new and (refusal := self._matrix_join(client, room)):
            return found(refusal)
        tombstone = client.state_event(room, "m.room.tombstone")
        if tombstone:
            new = contents.clean(str(tombstone["content"].get("replacement_room")))
            return found("replaced", room=new[:255])
        if not self._matrix_may_post(client, room, account):
            return found("no_power")
        is_encrypted = client.state_event(room, "m.room.encryption") is not None
        if is_encrypted and not self.matrix_encrypts:
            return found("encrypted")
        if self._matrix_is_public(client, room):
            return found("public", "public_joined" if is_new else "public")
        return found("encrypted" if is_encrypted else "ok")

    def _matrix_join(self, client, room):
        """Join ``room``; return the health of the room if that is refused."""
        try:
            client.join(room)
        except MatrixError as error:
            # Synapse answers M_BAD_STATE if the account is banned, M_FORBIDDEN if it
            # was not invited, and M_UNKNOWN or 404 for rooms that it does not know.
            if error.errcode == "M_BAD_STATE":
                return "banned"
            if error.status in (403, 404):
                return "not_joined"
            raise
        return None

    @api.model
    def _matrix_is_public(self, client, room):
        """Whether anybody may join ``room`` without being invited."""
        rules = client.state_event(room, "m.room.join_rules")
        return rules is not None and rules["content"].get("join_rule") == "public"

    @api.model
    def _matrix_may_post(self, client, room, account):
        """Whether the room's power levels let ``account`` send messages."""
        levels = client.state_event(room, "m.room.power_levels")
        if levels is None:
            return True
        levels = levels["content"]
        events, users = levels.get("events"), levels.get("users")
        needed = _level(events, "m.room.message", _level(levels, "events_default", 0))
        own = _level(users, account, _level(levels, "users_default", 0))
        return own >= needed or self._matrix_is_creator(client, room, account)

    @api.model
    def _matrix_is_creator(self, client, room, account):
        create = client.state_event(room, "m.room.create")
        if create is None:
            return False
        version = create["content"].get("room_version")
        creators = create["content"].get("additional_creators")
        return (
            isinstance(version, str)
            and version.isdigit()
            and int(version) >= FIRST_VERSION_WITH_CREATORS
            and account
            in [create["sender"], *(creators if isinstance(creators, list) else [])]
        )


def _level(levels, name, default):
    """Return a power level, which members of a room may have set to anything."""
    level = levels.get(name, default) if isinstance(levels, dict) else default
    return level if isinstance(level, int) else default
