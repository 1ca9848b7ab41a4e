import contextlib

from odoo import models
from odoo.exceptions import UserError
from odoo.tools import SQL
from odoo.tools.misc import hmac

from ...tools import content as contents
from ...tools.matrix_error import MatrixError

# In the creation event, which nobody can change later: which record the room is for.
MARKER = "org.odoo.record"
# How many names are tried for the room's alias: strangers may have taken the first.
_ALIASES = 4


class MatrixThreadMixin(models.AbstractModel):
    """Create the record's room, or find the one that was created for it before.

    The room's alias is made from the record, so a second click, or one after a
    transaction that was rolled back, finds the same room. Administrators of a room can
    move its alias to another room, so only a room that our account created for this
    record counts.
    """

    _inherit = "matrix.thread.mixin"

    def action_matrix_create_room(self):
        """Create a private room for the record, invite its people and link it."""
        client = self._matrix_client()
        if self.matrix_room_id:
            return self._matrix_room_notification(self.env._("Room already linked"))
        self._matrix_wait_for_other_clicks()
        account = client.whoami()["user_id"]
        room, alias, problems = self._matrix_create_or_find(client, account)
        health, found = self._matrix_look_at(client, room)
        record = self.with_context(matrix_room_is_new=True)
        record._matrix_link(room, health, found, alias)
        notes, refused = self._matrix_invite_to_new_room(client, room, account, health)
        if not self._matrix_is_ready(health):
            problems = [*problems, self._matrix_nobody_invited(health)]
        return self._matrix_room_notification(
            self.env._("Room created"), notes, problems, refused
        )

    def _matrix_create_in_background(self):
        """Create the record's room and invite its people; link nothing yet.

        Return what a matrix.room.request keeps of the room.
        """
        self._matrix_wait_for_other_clicks()
        client = self._matrix_client()
        account = client.whoami()["user_id"]
        room, alias, problems = self._matrix_create_or_find(client, account)
        health, found = self._matrix_look_at(client, room)
        self._matrix_invite_to_new_room(client, room, account, health)
        if not self._matrix_is_ready(health):
            problems = [*problems, self._matrix_nobody_invited(health)]
        return {
            "room_id": room,
            "room_alias": alias,
            "health": health,
            "found": {**found, "report": " ".join(problems)},
        }

    def _matrix_invite_to_new_room(self, client, room, account, health):
        """Invite the record's people to a room that is ready; see
        _matrix_invite_people."""
        if not self._matrix_is_ready(health):
            return [], []
        return self._matrix_invite_people(client, room, account)

    def _matrix_is_ready(self, health):
        return health == "ok" or (health == "encrypted" and self.matrix_encrypts)

    def _matrix_wait_for_other_clicks(self):
        """Handle simultaneous clicks for this record's room one after the other.

        A homeserver that gets two requests for the same alias at once creates two rooms
        and gives the alias to one of them. The click that waited finds that room, and,
        when Odoo runs its request again, finds it linked.
        """
        self.env.cr.execute(
            SQL(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
                f"{MARKER}/{self._name}/{self.id}",
            )
        )

    def _matrix_nobody_invited(self, health):
        """Return what to do about a new room to which nobody should be invited yet."""
        if health != "encrypted":
            return self.env._(
                "Nobody was invited yet. Click “Invite People” once this is settled."
            )
        return self.env._(
            "Nobody was invited yet: this homeserver encrypts every new room. Either "
            "turn on “Send Unencrypted” and click “Invite People”; or ask its "
            "administrator to let the account create rooms without encryption "
            "(Synapse: encryption_enabled_by_default_for_room_type), then empty Room "
            "ID and Room Alias and create the room again."
        )

    def _matrix_create_or_find(self, client, account):
        """Return id and alias of the record's room, and notes for the user."""
        server = account.partition(":")[2]
        own, problems = None, []
        for localpart in self._matrix_room_localparts():
            alias = f"#{localpart}:{server}"
            try:
                room = self._matrix_create(client, room_alias_name=localpart)
                return room, alias, problems
            except MatrixError as error:
                # Synapse answers 409 if the alias was taken while it created the room.
                if error.errcode != "M_ROOM_IN_USE" and error.status != 409:
                    if error.status not in (400, 403):
                        raise
                    return self._matrix_create_without_alias(client, account)
            room = self._matrix_resolve(client, alias)
            if not self._matrix_is_ours(client, room, account):
                problems.append(
                    self.env._(
                        "The alias %(alias)s leads to a room that Odoo did not create "
                        "for this record, so that room was not used.",
                        alias=alias,
                    )
                )
            elif self._matrix_can_be_used(client, room):
                return room, alias, problems
            else:
                own = room, alias
                problems.append(
                    self.env._(
                        "The room that was created before (%(alias)s) is encrypted or "
                        "was replaced, so it was not used.",
                        alias=alias,
                    )
                )
        if own:
            return *own, []
        raise UserError(
            self.env._(
                "No room was created: every alias that Odoo could give it belongs to a "
                "room that Odoo did not create. %(problems)s Create a room in your "
                "Matrix client, invite %(account)s and enter the room ID here.",
                problems=" ".join(problems),
                account=account,
            )
        )

    def _matrix_create_without_alias(self, client, account):
        """Create the room on a homeserver that refuses the alias, or all rooms.

        The account's own data, which only the account can change, names the room.
        """
        place = f"{MARKER}.{self._matrix_room_localpart()}"
        known = (client.account_data(account, place) or {}).get("room_id")
        room = known if isinstance(known, str) else None
        if not self._matrix_is_ours(client, room, account) or (
            not self._matrix_can_be_used(client, room)
        ):
            room = self._matrix_create(client)
            # The room exists and is linked now; this is only needed after a rollback.
            with contextlib.suppress(MatrixError):
                client.set_account_data(account, place, {"room_id": room})
        problem = self.env._(
            "The homeserver did not allow an alias for the room, so it can only be"
            " found by its room ID."
        )
        return room, None, [problem]

    def _matrix_create(self, client, **values):
        backend = self._matrix_backend()
        if backend._encrypts() and backend.encrypt_new_rooms:
            values["initial_state"] = [contents.ENCRYPTION]
        return client.create_room(
            # trusted_private_chat would give everybody invited full power over the room
            # for good.
            preset="private_chat",
            visibility="private",
            name=contents.clean(self.display_name)[:255],
            topic=self._matrix_room_topic(),
            creation_content={MARKER: self._matrix_room_localpart()},
            **values,
        )

    def _matrix_resolve(self, client, alias):
        """Return the room of ``alias``, or None: it may have gone meanwhile."""
        try:
            return client.resolve_alias(alias)
        except MatrixError as error:
            if error.status == 404:
                return None
            raise

    def _matrix_is_ours(self, client, room, account, marker=None):
        """Whether ``account`` is in ``room`` and created it for this record.

        :param marker: that of another record, if the room may belong to that one
        """
        if not room or room not in client.joined_rooms():
            return False
        create = client.state_event(room, "m.room.create")
        return (
            create is not None
            and create["sender"] == account
            and create["content"].get(MARKER)
            == (marker or self._matrix_room_localpart())
        )

    def _matrix_can_be_used(self, client, room):
        """Whether the room can be used, rather than a new one."""
        unusable = ["m.room.tombstone"]
        if not self.matrix_encrypts:
            unusable.append("m.room.encryption")
        return not any(client.state_event(room, event) for event in unusable)

    def _matrix_check_own_alias(self, client, alias, room):
        """Raise UserError if an alias that Odoo gives leads to somebody else's room."""
        localpart = alias[1:].partition(":")[0]
        if not localpart.startswith(f"{self._matrix_alias_prefix()}-"):
            return
        account = client.whoami()["user_id"]
        # The part after "~" distinguishes the aliases of one record.
        marker = localpart.partition("~")[0]
        if not self._matrix_is_ours(client, room, account, marker):
            raise UserError(
                self.env._(
                    "The alias %(alias)s is one that Odoo gives to its own rooms, "
                    "but it leads to a room that Odoo did not create. An "
                    "administrator of the old room may have moved it. Empty the "
                    "alias and create a room; or, if you trust this one, enter its"
                    " room ID: %(room)s",
                    alias=alias,
                    room=room[:255],
                )
            )

    def _matrix_whose_room(self, client, room, health):
        """Return a list with a text that says who created the room, if it was not
        Odoo."""
        if health in ("not_joined", "banned"):
            return []
        create = client.state_event(room, "m.room.create")
        creator = create and create["sender"]
        if not creator or creator == client.whoami()["user_id"]:
            return []
        return [
            self.env._(
                "The room was created by %(creator)s.",
                creator=contents.clean(str(creator))[:255],
            )
        ]

    def _matrix_alias_prefix(self):
        parameters = self.env["ir.config_parameter"].sudo()
        return f"odoo-{(parameters.get_param('database.uuid') or '')[:8]}"

    def _matrix_room_localpart(self):
        return f"{self._matrix_alias_prefix()}-{self._name.replace('.', '-')}-{self.id}"

    def _matrix_room_localparts(self):
        """Yield names for the room's alias. Only the first one can be guessed."""
        first = self._matrix_room_localpart()
        yield first
        for number in range(1, _ALIASES):
            secret = hmac(self.env(su=True), "mail_matrix.alias", f"{first}~{number}")
            yield f"{first}~{secret[:12]}"

    def _matrix_room_topic(self):
        return self.env._(
            "%(kind)s in Odoo: %(url)s",
            kind=self.env["ir.model"]._get(self._name).name,
            url=self._matrix_url(),
        )
