import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from odoo import models

from ...tools.matrix_error import MatrixError

# A person waits for the answer: after this time no invitation is started.
_INVITING_SECONDS = 20
# Somebody whose server is silent must not keep the others waiting.
_AT_ONCE = 8


class Round(NamedTuple):
    """The result of inviting the record's people: users, by what became of them."""

    there: object
    pending: object  # invited before, not there yet or any more
    invited: object
    refused: dict  # by the reason
    left_over: object  # not tried, because the time was over or the account limited
    is_limited: bool  # whether the homeserver's limit refused an invitation
    unmapped: object  # without a Matrix account
    accounts: set  # in the room or invited, whether people of the record or not


class MatrixThreadMixin(models.AbstractModel):
    """The record's people, and inviting them to its room."""

    _inherit = "matrix.thread.mixin"

    def action_matrix_invite_people(self):
        """Invite the record's people who are not in the linked room."""
        client = self._matrix_client()
        room = self._matrix_room_or_raise()
        health, found = self._matrix_look_at(client, room)
        self._matrix_link(room, health, found)
        title = self.env._("Invite people")
        if self._matrix_invites_nobody(health):
            nobody = [self.env._("Nobody was invited.")]
            return self._matrix_room_notification(title, nobody)
        account = client.whoami()["user_id"]
        invited, problems = self._matrix_invite_people(client, room, account)
        if not self.sudo()._matrix_room_people():
            problems = [
                self.env._(
                    "This record has no people yet. Add followers or a responsible"
                    " person first."
                )
            ]
        elif not invited and not problems:
            invited = [self.env._("All people of this record are in the room.")]
        return self._matrix_room_notification(title, invited, unstored=problems)

    def _matrix_invites_nobody(self, health):
        """Whether nobody is invited to a room of this ``health``."""
        return health in ("not_joined", "banned", "replaced") or (
            health == "encrypted"
            and not (self.matrix_encrypts or self.matrix_send_unencrypted)
        )

    def _matrix_room_people(self):
        """Return the users who belong in the record's room."""
        people = self.message_partner_ids.user_ids
        return people | self.user_id if "user_id" in self._fields else people

    def _matrix_invite_people(self, client, room, account):
        """Invite the record's people.

        Return two lists of texts: who was invited, and who was not and why.
        """
        result = self._matrix_invite_round(client, room, account)
        done = []
        if result.invited:
            done.append(self.env._("Invited: %(users)s.", users=_names(result.invited)))
        if result.pending:
            done.append(
                self.env._(
                    "Invited, has not joined yet: %(users)s.",
                    users=_names(result.pending),
                )
            )
        problems = self._matrix_not_invited(
            result.refused, result.left_over, result.unmapped
        )
        return done, problems

    def _matrix_invite_round(self, client, room, account, again=True):
        """Invite the record's people, store the result for each, and return it.

        :param again: also invite people who were in the room or invited before. Not in
            the background: people who declined or left would be invited without end.
        """
        members = {account, *client.joined_members(room)}
        asked = client.invited_members(room)
        # With all rights: a plain user may not read the accounts of others.
        people = self.sudo()._matrix_room_people()
        people = people.filtered(lambda user: user.active and not user.share)
        known = people.filtered("matrix_user_id")
        absent = known.filtered(lambda user: user.matrix_user_id not in members)
        # Homeservers limit how often a person can be invited in an hour.
        missing = absent.filtered(lambda user: user.matrix_user_id not in asked)
        if not again:
            missing -= self._matrix_invited_before(room, missing)
        invited, refused, limited = self._matrix_invite(client, room, account, missing)
        result = Round(
            there=known - absent,
            pending=absent - missing,
            invited=invited,
            refused=refused,
            left_over=missing - invited - missing.browse().union(*refused.values()),
            is_limited=limited,
            unmapped=people - known,
            accounts=members | asked,
        )
        self.env["matrix.room.person"]._remember(self, room, result)
        return result

    def _matrix_invited_before(self, room, users):
        """Return those of ``users`` whose account was in the room or invited there."""
        seen = self.env["matrix.room.person"]._of(self)
        accounts = {
            person.account
            for person in seen
            if person.state == "in" and person.room_id == room
        }
        return users.filtered(lambda user: user.matrix_user_id in accounts)

    def _matrix_not_invited(self, refused, left_over, unmapped):
        """Return, as a list of texts, who was not invited and why."""
        problems = []
        for reason, users in refused.items():
            accounts = [f"{user.name} ({user.matrix_user_id})" for user in users]
            problems.append(
                self.env._(
                    "Not invited: %(users)s. %(reason)s",
                    users=", ".join(accounts),
                    reason=reason,
                )
            )
        if left_over:
            problems.append(
                self.env._(
                    "Not invited yet: %(users)s. Click “Invite People” later.",
                    users=_names(left_over),
                )
            )
        if unmapped:
            problems.append(
                self.env._(
                    "Not invited, because no Matrix account is entered: %(users)s. A "
                    "Matrix Manager can enter it under Matrix → Configuration → "
                    "People.",
                    users=_names(unmapped),
                )
            )
        return problems

    def _matrix_invite(self, client, room, account, users):
        """Invite ``users`` in parallel, until the homeserver limits the account.

        Return who was invited, who was not as ``{reason: users}``, and whether a limit
        was reached.
        """
        server = account.partition(":")[2]
        until = time.monotonic() + _INVITING_SECONDS
        # Threads create error texts, but must not query the database for the language.
        _ = self.env.lang
        limited = []

        def invite(user_id):
            """Return why this person was not invited; False if that was not tried."""
            # One limit may concern a person invited too often; two concern the account.
            if len(limited) > 1 or time.monotonic() > until:
                return False
            try:
                is_local = user_id.partition(":")[2] == server
                # Homeservers accept invitations of local accounts that do not exist.
                if is_local and not client.has_account(user_id):
                    return unknown
                client.invite(room, user_id)
            except MatrixError as error:
                if error.status == 429:
                    limited.append(user_id)
                return str(error)
            return None

        unknown = self.env._(
            "%(host)s has no such account. Is it spelled correctly? A Matrix Manager "
            "can correct it under Matrix → Configuration → People.",
            host=client.host,
        )
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            answers = list(pool.map(invite, users.mapped("matrix_user_id")))
        invited, refused = users.browse(), defaultdict(users.browse)
        for user, answer in zip(users, answers, strict=True):
            if answer is None:
                invited |= user
            elif answer:
                refused[answer] |= user
        return invited, refused, bool(limited)


def _names(users):
    return ", ".join(users.mapped("name"))
