from urllib.parse import unquote, urlencode, urlsplit

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError

from ..tools import content as contents
from ..tools import words
from ..tools.matrix_client import MatrixError
from .matrix_backend_connection import notification

MATRIX_TO = "https://matrix.to/"
# From this version on the creators of a room rule it without standing in its levels.
FIRST_VERSION_WITH_CREATORS = 12


class EncryptedRoom(UserError):
    """Nobody has agreed to messages that stand readable in an encrypted room."""

    matrix_code = words.ERROR_ENCRYPTED


class MatrixThreadMixin(models.AbstractModel):
    """The room itself: find it, create it, look whether it can be spoken in."""

    _inherit = "matrix.thread.mixin"

    # Serves the search for another company's record with the same room.
    matrix_room_id = fields.Char(index="btree_not_null")
    matrix_send_unencrypted = fields.Boolean(
        string="Send Unencrypted",
        copy=False,
        help="Odoo cannot encrypt. In an encrypted room its messages stand readable "
        "for the homeserver, and clients mark them with a warning. Without this "
        "consent nothing is sent to an encrypted room.",
    )
    matrix_room_health = fields.Selection(
        selection=[
            ("ok", "Ready"),
            ("not_joined", "Not in the room"),
            ("no_power", "May not speak"),
            ("encrypted", "Encrypted"),
            ("replaced", "Replaced"),
            ("banned", "Banned"),
        ],
        string="Room State",
        readonly=True,
        copy=False,
        help="What Check Room found last.",
    )
    matrix_room_health_note = fields.Char(
        string="Room State Explained", readonly=True, copy=False
    )

    @api.constrains(lambda self: self._matrix_room_company_fields())
    def _check_matrix_room_company(self):
        """Keep companies apart: who links a room sends it his records' data."""
        for record in self.filtered("matrix_room_id"):
            company = "company_id" in record._fields and record.company_id
            for model in self._matrix_room_models():
                # With all rights: the other company's records are hidden from the user,
                # and the answer does not say which one it is.
                twins = self.env[model].sudo().with_context(active_test=False)
                domain = [("matrix_room_id", "=", record.matrix_room_id)]
                domain += [("company_id", "!=", False)]
                if company:
                    domain += [("company_id", "!=", company.id)]
                if twins.search_count(domain, limit=1):
                    raise ValidationError(
                        self.env._(
                            "The room %(room)s cannot be linked here: another company "
                            "uses it. Choose another room, or create one.",
                            room=record.matrix_room_id,
                        )
                    )

    @api.model
    def _matrix_room_company_fields(self):
        company = ["company_id"] if "company_id" in self._fields else []
        return ["matrix_room_id", *company]

    @api.model
    def _matrix_room_models(self):
        """Return the names of the models whose records have rooms and companies."""
        names = self.env.registry.descendants(["matrix.thread.mixin"], "_inherit")
        return [
            name
            for name in sorted(names)
            if not self.env[name]._abstract and "company_id" in self.env[name]._fields
        ]

    def write(self, vals):
        changes_room = "matrix_room_id" in vals and "matrix_room_health" not in vals
        if changes_room:
            # What was found was true of the room before.
            vals = dict(vals, matrix_room_health=False, matrix_room_health_note=False)
        return super().write(vals)

    @api.model
    def _matrix_tidy(self, vals):
        """Take links of matrix.to, and an alias pasted into the wrong field."""
        vals = super()._matrix_tidy(vals)
        pasted = vals.get("matrix_room_id")
        if not isinstance(pasted, str):
            return vals
        if pasted.startswith(MATRIX_TO):
            link = urlsplit(pasted).fragment.lstrip("/").split("?")[0]
            pasted = unquote(link.split("/")[0])
        if pasted.startswith("#"):
            return {**vals, "matrix_room_id": False, "matrix_room_alias": pasted}
        return {**vals, "matrix_room_id": pasted}

    def _matrix_row_values(self, backend, room):
        values = super()._matrix_row_values(backend, room)
        if room != self.matrix_room_id:
            return values
        if self.matrix_send_unencrypted:
            return {**values, "unencrypted": True}
        if self.matrix_room_health == "encrypted":
            # Before the worker finds it out: somebody may be waiting for the answer.
            raise EncryptedRoom(self._matrix_encrypted_explanation())
        return values

    def _matrix_encrypted_explanation(self):
        return self.env._(
            "This room is encrypted, and Odoo cannot encrypt: its messages would "
            "stand there readable for the homeserver. Use a room without encryption, "
            "or allow “Send Unencrypted” on the record."
        )

    # Buttons

    def action_matrix_resolve_alias(self):
        """Link the room that the alias stands for."""
        client = self._matrix_client()
        alias = self.matrix_room_alias
        if not alias:
            raise UserError(self.env._("Enter the alias of the room first."))
        try:
            room = client.resolve_alias(alias)
        except MatrixError as error:
            if error.errcode != "M_NOT_FOUND":
                raise
            raise UserError(
                self.env._(
                    "%(host)s knows no room with the alias %(alias)s. Is it spelled "
                    "correctly?",
                    host=client.host,
                    alias=alias,
                )
            ) from None
        health, note = self._matrix_look_at(client, room)
        if health == "encrypted":
            raise UserError(self._matrix_encrypted_explanation())
        self._matrix_link(room, health, note)
        return self._matrix_room_notification(self.env._("Room found"))

    def action_matrix_check_room(self):
        """Look whether the account can speak in the room, and join it if invited."""
        client = self._matrix_client()
        room = self._matrix_room_or_raise()
        health, note = self._matrix_look_at(client, room)
        self._matrix_link(room, health, note)
        return self._matrix_room_notification(self.env._("Room checked"))

    def action_matrix_create_room(self):
        """Create a private room for the record, invite its people and link it.

        The room's alias is made of the record: asked again, after a double click or a
        transaction that was rolled back, the same room is found and linked.
        """
        client = self._matrix_client()
        if self.matrix_room_id:
            return self._matrix_room_notification(self.env._("Room already linked"))
        account = client.whoami()["user_id"]
        localpart = self._matrix_room_localpart()
        alias = f"#{localpart}:{account.partition(':')[2]}"
        room = self._matrix_create_or_find(client, localpart, alias)
        problems = self._matrix_invite_people(client, room, account)
        health, note = self._matrix_look_at(client, room)
        self._matrix_link(room, health, note, alias)
        return self._matrix_room_notification(self.env._("Room created"), problems)

    def action_matrix_open(self):
        """Open the room in the person's own Matrix client."""
        self.ensure_one()
        room = self._matrix_room_or_raise()
        query = urlencode({"via": server}) if (server := self._matrix_via(room)) else ""
        return {
            "type": "ir.actions.act_url",
            "url": contents.matrix_to(room) + (query and f"?{query}"),
            "target": "new",
        }

    # What the buttons do

    def _matrix_client(self):
        """Return the client of the backend in charge, for who may write this record."""
        self.ensure_one()
        self._matrix_check_person()
        backend = self._matrix_backend()
        if not backend:
            raise UserError(
                self.env._(
                    "No Matrix backend is active for this company. A Matrix Manager "
                    "can set one up under Matrix → Backends."
                )
            )
        return backend._client()

    def _matrix_room_or_raise(self):
        if not self.matrix_room_id:
            raise UserError(
                self.env._("“%(record)s” has no room yet.", record=self.display_name)
            )
        return self.matrix_room_id

    def _matrix_link(self, room, health, note, alias=None):
        values = {"matrix_room_health": health, "matrix_room_health_note": note}
        if room != self.matrix_room_id:
            values["matrix_room_id"] = room
        if alias:
            values["matrix_room_alias"] = alias
        self.write(values)

    def _matrix_room_notification(self, title, problems=()):
        good = self.matrix_room_health in ("ok", False)
        kind = "danger" if not good else "warning" if problems else "success"
        texts = [self.matrix_room_health_note or self.matrix_room_id, *problems]
        return notification(kind, title, " ".join(texts))

    def _matrix_look_at(self, client, room):
        """Return (health, explanation) of ``room``; join it if invited."""
        account = client.whoami()["user_id"]
        if room not in client.joined_rooms():
            try:
                client.join(room)
            except MatrixError as error:
                # Synapse says M_BAD_STATE to who is banned, M_FORBIDDEN to who was not
                # invited, M_UNKNOWN and 404 of rooms that it does not know.
                if error.errcode == "M_BAD_STATE":
                    return "banned", self.env._(
                        "%(account)s is banned from this room. Somebody who rules it "
                        "must lift the ban.",
                        account=account,
                    )
                if error.status in (403, 404):
                    return "not_joined", self.env._(
                        "%(account)s is not in this room. Invite it there, then check "
                        "again.",
                        account=account,
                    )
                raise
        tombstone = client.state_event(room, "m.room.tombstone")
        if tombstone:
            return "replaced", self.env._(
                "This room was replaced by %(room)s. Enter the new room's ID, if you "
                "trust whoever replaced it.",
                room=str(tombstone["content"].get("replacement_room"))[:255],
            )
        if not self._matrix_may_speak(client, room, account):
            return "no_power", self.env._(
                "%(account)s may read this room, but not write there. Raise its role "
                "in the room's settings.",
                account=account,
            )
        if not client.state_event(room, "m.room.encryption"):
            return "ok", self.env._(
                "%(account)s is in the room and may speak.", account=account
            )
        if self.matrix_send_unencrypted:
            return "ok", self.env._(
                "%(account)s may speak. The room is encrypted, Odoo's messages are "
                "not.",
                account=account,
            )
        return "encrypted", self._matrix_encrypted_explanation()

    @api.model
    def _matrix_may_speak(self, client, room, account):
        """Whether the room's levels let ``account`` send messages."""
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

    def _matrix_create_or_find(self, client, localpart, alias):
        try:
            return client.create_room(
                localpart,
                # trusted_private_chat would give everybody invited the rule for ever.
                preset="private_chat",
                visibility="private",
                name=contents.clean(self.display_name)[:255],
                topic=self._matrix_room_topic(),
            )
        except MatrixError as error:
            if error.errcode != "M_ROOM_IN_USE":
                raise
        room = client.resolve_alias(alias)
        if room not in client.joined_rooms():
            raise UserError(
                self.env._(
                    "The alias %(alias)s belongs to a room that Odoo's account is not "
                    "in. Remove the alias there, or invite the account and link the "
                    "room.",
                    alias=alias,
                )
            )
        return room

    def _matrix_room_localpart(self):
        parameters = self.env["ir.config_parameter"].sudo()
        database = (parameters.get_param("database.uuid") or "")[:8]
        return f"odoo-{database}-{self._name.replace('.', '-')}-{self.id}"

    def _matrix_room_topic(self):
        return self.env._(
            "%(kind)s in Odoo: %(url)s",
            kind=self.env["ir.model"]._get(self._name).name,
            url=self._matrix_url(),
        )

    def _matrix_room_people(self):
        """Return the users who belong into the record's room."""
        people = self.message_partner_ids.user_ids
        return people | self.user_id if "user_id" in self._fields else people

    def _matrix_invite_people(self, client, room, account):
        """Invite the record's people and return who could not be, in plain words."""
        there = {account, *client.joined_members(room)}
        problems = []
        # With all rights: a plain user may not read the accounts of others.
        people = self.sudo()._matrix_room_people()
        for user in people.filtered(lambda user: user.active and not user.share):
            if not user.matrix_user_id:
                problems.append(
                    self.env._(
                        "%(user)s was not invited: no Matrix account is entered for "
                        "this user.",
                        user=user.name,
                    )
                )
                continue
            if user.matrix_user_id in there:
                continue
            try:
                client.invite(room, user.matrix_user_id)
            except MatrixError as error:
                problems.append(
                    self.env._(
                        "%(user)s (%(account)s) was not invited. %(reason)s",
                        user=user.name,
                        account=user.matrix_user_id,
                        reason=error,
                    )
                )
        return problems

    def _matrix_via(self, room):
        """Return a server that is in ``room``, or nothing: newer ids name none."""
        for name in (room, self.matrix_room_alias or ""):
            if server := name.partition(":")[2]:
                return server
        # With all rights: plain users do not see how the backend is.
        statuses = self.env["matrix.backend.status"].sudo()
        status = statuses.search(
            [("backend_id", "=", self._matrix_backend().id)], limit=1
        )
        return (status.matrix_user_id or "").partition(":")[2]


def _level(levels, name, default):
    """Return a power level, which the people of a room may have set to anything."""
    level = levels.get(name, default) if isinstance(levels, dict) else default
    return level if isinstance(level, int) else default
