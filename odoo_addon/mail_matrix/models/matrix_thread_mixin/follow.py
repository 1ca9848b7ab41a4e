from odoo import api, fields, models
from odoo.tools import format_list

from ...tools.matrix_error import MatrixError
from .thread import USER

# Turned on, each of these may allow invitations that were not allowed before.
_ALLOWING = ("matrix_enabled", "matrix_send_unencrypted")


class MatrixThreadMixin(models.AbstractModel):
    """The people in the room follow those of the record.

    People who are new on the record are invited in the background; people who leave it
    can be removed from the room by a click. Saving a record calls no homeserver.
    """

    _inherit = "matrix.thread.mixin"

    matrix_follow_people = fields.Boolean(
        string="Invite New People",
        default=True,
        tracking=True,
        groups=USER,
        help="Anybody who becomes responsible for this record or follows it is "
        "invited to the room. Off: only the button “Invite People” invites.",
    )
    matrix_people_note = fields.Text(compute="_compute_matrix_people", groups=USER)
    matrix_people_left = fields.Text(compute="_compute_matrix_people", groups=USER)

    @api.depends_context("lang")
    def _compute_matrix_people(self):
        """Say who could not be invited, and who is still in the room."""
        people = self.env["matrix.room.person"]
        for record in self:
            known = people._of(record._origin) if record._origin else people
            known = known.filtered(
                lambda person, room=record.matrix_room_id: person.room_id == room
            )
            # Somebody who has left the record since no longer matters here.
            present = known.filtered(lambda person: person.user_id.active)
            by_state = {
                state: group.user_id
                for state, group in present.grouped("state").items()
            }
            refused = present.filtered(lambda person: person.state == "refused")
            problems = record._matrix_not_invited(
                {
                    note: group.user_id
                    for note, group in refused.grouped("note").items()
                },
                by_state.get("waiting"),
                by_state.get("unmapped"),
            )
            record.matrix_people_note = "\n".join(problems) or False
            left = record._matrix_people_to_remove(known)
            former = left.filtered(lambda person: person._is_former())
            notes = []
            if left - former:
                notes.append(
                    record.env._(
                        "No longer on this record, but still in the room: %(users)s.",
                        users=format_list(record.env, (left - former)._names()),
                    )
                )
            if former:
                notes.append(
                    record.env._(
                        "Still in the room with an account that they no longer have: "
                        "%(users)s.",
                        users=format_list(record.env, former._names()),
                    )
                )
            record.matrix_people_left = "\n".join(notes) or False

    @api.model_create_multi
    def create(self, vals_list):
        records = super().create(vals_list)
        records._matrix_look_later()
        return records

    def write(self, vals):
        result = super().write(vals)
        is_allowed = any(vals.get(name) for name in _ALLOWING)
        if is_allowed or self._matrix_people_fields() & vals.keys():
            self._matrix_look_later()
        return result

    def _message_subscribe(self, *args, **kwargs):
        known = self._matrix_followers()
        result = super()._message_subscribe(*args, **kwargs)
        # Each message subscribes its author, who mostly follows the record already.
        new = self._matrix_followers() - known
        self.browse(new.mapped("res_id"))._matrix_look_later()
        return result

    def message_unsubscribe(self, *args, **kwargs):
        result = super().message_unsubscribe(*args, **kwargs)
        self._matrix_look_later()
        return result

    @api.model
    def _matrix_people_fields(self):
        """Return the names of the fields that decide who belongs in which room."""
        return {"user_id", "matrix_room_id", "matrix_follow_people"}

    def _matrix_look_later(self):
        self.env["matrix.room.look"]._note(self._matrix_with_following_room())

    def _matrix_with_following_room(self):
        # With all rights: rooms follow, whoever assigns the people.
        return self.sudo().filtered(
            lambda record: record.matrix_room_id and record.matrix_follow_people
        )

    def _matrix_followers(self):
        """Return the followers of those records whose rooms follow them."""
        records = self._matrix_with_following_room()
        # With all rights: see there.
        return (
            self.env["mail.followers"]
            .sudo()
            .search([("res_model", "=", self._name), ("res_id", "in", records.ids)])
        )

    def _matrix_follow_room(self):
        """Invite new people and find out who has left. Called in the background.

        Return whether something is left to do later.
        """
        room = self.matrix_room_id
        if not (room and self.matrix_enabled and self.matrix_follow_people):
            return False
        if not self._matrix_backend():
            # It may be turned off for a moment only.
            return True
        company = "company_id" in self._fields and self.company_id
        lang = (company or self.env.company).partner_id.lang
        record = self.with_context(lang=lang)
        record._matrix_wait_for_other_clicks()
        client = record._matrix_backend()._client()
        health, _note = record._matrix_look_at(client, room)
        if record._matrix_invites_nobody(health):
            return False
        account = client.whoami()["user_id"]
        result = record._matrix_invite_round(client, room, account, again=False)
        return result.is_limited or bool(result.left_over)

    # Who has left

    def _matrix_people_to_remove(self, known):
        """Return those of ``known`` whose accounts belong in the room for no record any
        more."""
        left = known.filtered(
            lambda person: person.state == "left" or person._is_former()
        )
        # With all rights: a plain user may not read the accounts of others.
        people = left and self._matrix_people_of_room().sudo()
        accounts = set(people.mapped("matrix_user_id")) if left else set()
        return left.filtered(lambda person: person.account not in accounts)

    def _matrix_people_of_room(self):
        """Return the people of all records that share this record's room."""
        people = self.env["res.users"]
        for model in self._matrix_models_with_rooms():
            # With all rights: the room is the same for those who see other records.
            records = self.env[model].sudo()
            for record in records.search(
                [("matrix_room_id", "=", self.matrix_room_id)]
            ):
                people |= record._matrix_room_people()
        return people.filtered("active")

    @api.model
    def _matrix_models_with_rooms(self):
        names = self.env.registry.descendants(["matrix.thread.mixin"], "_inherit")
        return [name for name in sorted(names) if not self.env[name]._abstract]

    def action_matrix_remove_people(self):
        """Remove from the room those who are no longer people of the record."""
        client = self._matrix_client()
        room = self._matrix_room_or_raise()
        self._matrix_wait_for_other_clicks()
        left = self._matrix_people_to_remove(self.env["matrix.room.person"]._of(self))
        members = {*client.joined_members(room), *client.invited_members(room)}
        removed, problems = [], []
        for person in left:
            try:
                if person.account in members:
                    client.kick(room, person.account)
            except MatrixError as error:
                problems.append(
                    self.env._(
                        "Not removed: %(user)s (%(account)s). %(reason)s",
                        user=person.user_id.name,
                        account=person.account,
                        reason=error,
                    )
                )
                continue
            removed += person._names()
            person.unlink()
        report = removed and [
            self.env._(
                "No longer in the room: %(users)s.",
                users=format_list(self.env, list(dict.fromkeys(removed))),
            )
        ]
        title = self.env._("Remove people")
        return self._matrix_room_notification(title, report or [], problems)

    def action_matrix_keep_people(self):
        """Let those stay in the room who are no longer people of the record."""
        self.ensure_one()
        self._matrix_check_person()
        people = self.env["matrix.room.person"]._of(self)
        people.filtered(
            lambda person: person.state == "left" or person._is_former()
        ).unlink()
