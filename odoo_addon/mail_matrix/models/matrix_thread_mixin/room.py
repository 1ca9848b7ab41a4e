from urllib.parse import unquote, urlencode, urlsplit

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError

from ...tools import content as contents
from ...tools import words
from ...tools.matrix_error import ExplainedError, MatrixError
from ..matrix_backend.connection import notification
from .thread import USER

MATRIX_TO = "https://matrix.to/"


# Fields with what the homeserver said about the linked room.
FOUND = (
    "matrix_resolved_alias",
    "matrix_room_health",
    "matrix_room_found",
    "matrix_room_checked_at",
)


class EncryptedRoom(ExplainedError):
    """Nobody has agreed to unencrypted messages in an encrypted room."""

    matrix_code = words.ERROR_ENCRYPTED


class MatrixThreadMixin(models.AbstractModel):
    """The room itself: link it, find it by its alias, open it."""

    _inherit = "matrix.thread.mixin"

    # Indexed for the search for another company's record with the same room.
    matrix_room_id = fields.Char(index="btree_not_null")
    matrix_resolved_alias = fields.Char(
        string="Resolved Alias",
        readonly=True,
        copy=False,
        groups=USER,
        help="The alias by which the linked room was found.",
    )
    matrix_was_linked = fields.Boolean(
        string="Had a Room", readonly=True, copy=False, groups=USER
    )
    matrix_send_unencrypted = fields.Boolean(
        string="Send Unencrypted",
        copy=False,
        tracking=True,
        groups=USER,
        help="Odoo does not encrypt messages unless a Matrix Manager has set that up. "
        "In an encrypted room the homeserver can then read what Odoo sends, and Matrix "
        "clients show a warning beside it. Without this consent nothing is sent to an "
        "encrypted room.",
    )
    matrix_encrypts = fields.Boolean(
        compute="_compute_matrix_encrypts",
        groups=USER,
        help="Messages for an encrypted room are encrypted.",
    )
    matrix_room_advice = fields.Char(compute="_compute_matrix_encrypts", groups=USER)

    @api.depends_context("uid", "lang")
    @api.depends("matrix_room_health", "matrix_send_unencrypted")
    def _compute_matrix_encrypts(self):
        """Say what becomes of messages if the room is encrypted."""
        explanation = None
        for record in self:
            record.matrix_encrypts = encrypts = record._matrix_backend()._encrypts()
            record.matrix_room_advice = False
            if record.matrix_room_health != "encrypted":
                continue
            if encrypts:
                advice = record.env._("What Odoo writes there is encrypted as well.")
            elif record.matrix_send_unencrypted:
                advice = record.env._(
                    "What Odoo writes there is not encrypted, as was allowed: the "
                    "homeserver can read it."
                )
            else:
                # The same for all of them.
                explanation = explanation or self._matrix_encrypted_explanation()
                advice = explanation
            record.matrix_room_advice = advice

    @api.constrains(lambda self: self._matrix_room_company_fields())
    def _check_matrix_room_company(self):
        """Keep companies apart: whoever links a room sends it data of their records."""
        # With all rights: people without Matrix move records to other companies, too.
        for record in self.sudo().filtered("matrix_room_id"):
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

    @api.onchange("matrix_room_id")
    def _onchange_matrix_room_id(self):
        """Show what will be saved, and with an alias the button that finds it."""
        vals = self._matrix_tidy({"matrix_room_id": self.matrix_room_id})
        self.matrix_room_id = vals.get("matrix_room_id", self._origin.matrix_room_id)
        self.matrix_room_alias = vals.get("matrix_room_alias", self.matrix_room_alias)

    def write(self, vals):
        vals = self._matrix_tidy(vals)
        if "matrix_room_id" not in vals:
            return super().write(vals)
        room = vals["matrix_room_id"] or False
        moved = self.filtered(lambda record: record.matrix_room_id != room)
        first = moved.filtered(
            lambda record: (
                room and not record.matrix_room_id and not record.matrix_was_linked
            )
        )
        # Consent and check results belong to the previous room.
        moved_vals = {"matrix_send_unencrypted": False, **vals}
        result = super(MatrixThreadMixin, moved).write(moved_vals)
        super(MatrixThreadMixin, self - moved).write(vals)
        forgotten = {name: False for name in FOUND if name not in vals}
        # With all rights: nobody may write what was found.
        moved.sudo().write({**forgotten, "matrix_was_linked": True})
        first._matrix_note_opening()
        # What was written before the room was known goes there now.
        moved._matrix_send_early()
        return result

    @api.model
    def _matrix_tidy(self, vals):
        """Accept links of matrix.to, and an alias pasted into the wrong field."""
        vals = super()._matrix_tidy(vals)
        pasted = vals.get("matrix_room_id")
        if not isinstance(pasted, str):
            return vals
        if pasted.startswith(MATRIX_TO):
            link = urlsplit(pasted).fragment.lstrip("/").split("?")[0]
            pasted = unquote(link.split("/")[0])
        if not pasted.startswith("#"):
            return {**vals, "matrix_room_id": pasted}
        # The linked room stays until the one of this alias was found.
        vals = {name: vals[name] for name in vals if name != "matrix_room_id"}
        return {**vals, "matrix_room_alias": pasted}

    def _matrix_row_values(self, backend, room):
        values = super()._matrix_row_values(backend, room)
        if room != self.matrix_room_id:
            return values
        if self.matrix_send_unencrypted:
            return {**values, "unencrypted": True}
        if self.matrix_room_health == "encrypted" and not backend._encrypts():
            # Checked here already, because somebody may be waiting for the answer.
            raise EncryptedRoom(self._matrix_encrypted_explanation())
        return values

    def _matrix_encrypted_explanation(self):
        if self.env["matrix.worker"]._can_encrypt():
            return self.env._(
                "This room is encrypted, and encryption is not set up in Odoo. A "
                "Matrix Manager can set it up on the Matrix backend. Otherwise use a "
                "room without encryption, or turn on “Send Unencrypted” on the record:"
                " the homeserver can read the messages then."
            )
        return self.env._(
            "This room is encrypted, but Odoo cannot encrypt messages: the "
            "homeserver could read them. Use a room without encryption, or turn on"
            " “Send Unencrypted” on the record."
        )

    # Buttons

    def action_matrix_resolve_alias(self):
        """Link the room that the alias leads to."""
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
                    "%(host)s has no room with the alias %(alias)s. Is it spelled "
                    "correctly?",
                    host=client.host,
                    alias=alias,
                )
            ) from None
        self._matrix_check_own_alias(client, alias, room)
        health, found = self._matrix_look_at(client, room)
        self._matrix_link(room, health, found, alias)
        notes = self._matrix_whose_room(client, room, health)
        return self._matrix_room_notification(self.env._("Room found"), notes)

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
        """Return the backend's client, for people who may write this record."""
        self.ensure_one()
        self._matrix_check_person()
        backend = self._matrix_backend()
        if not backend:
            raise UserError(self._matrix_no_backend_explanation())
        return backend._client()

    def _matrix_room_or_raise(self):
        if not self.matrix_room_id:
            raise UserError(
                self.env._("“%(record)s” has no room yet.", record=self.display_name)
            )
        return self.matrix_room_id

    def _matrix_link(self, room, health, found, alias=None):
        values = self._matrix_found_values(health, found)
        if room != self.matrix_room_id:
            values["matrix_room_id"] = room
        if alias:
            values |= {"matrix_room_alias": alias, "matrix_resolved_alias": alias}
        # With all rights: nobody may write what was found. Each button has asked
        # whether this person may write the record.
        self.sudo().write(values)

    def _matrix_post_from_bot(self, body):
        """Post a note of the Matrix Bot in the chatter, which is not for the room."""
        bot = self.env.ref("mail_matrix.user_matrix_bot")
        record = self.with_user(bot).sudo()
        record.with_context(
            matrix_inbound=True,
            mail_post_autofollow_author_skip=True,
            mail_create_nosubscribe=True,
        ).message_post(
            body=body,
            message_type="notification",
            subtype_xmlid="mail.mt_note",
            author_id=bot.partner_id.id,
            email_from=bot.partner_id.email_formatted or bot.name,
        )

    def _matrix_room_notification(self, title, notes=(), problems=(), unstored=()):
        """Return the notification of what was found and done.

        :param unstored: problems that the form shows in another place
        """
        kind = self._matrix_room_kind()
        kind = "warning" if (problems or unstored) and kind == "success" else kind
        note = self.matrix_room_health_note or self.matrix_room_id
        text = " ".join([note, *notes, *problems])
        if notes or problems:
            # The text is longer than one can read while a notification is shown.
            report = " ".join([*notes, *problems])
            found = {**(self.matrix_room_found or {}), "report": report}
            # With all rights: nobody may write what was found.
            self.sudo().matrix_room_found = found
        advice = [self.matrix_room_advice] if self.matrix_room_advice else []
        return notification(kind, title, " ".join([text, *advice, *unstored]))

    def _matrix_via(self, room):
        """Return a server that is in ``room``, or nothing: newer ids contain none."""
        for name in (room, self.matrix_room_alias or ""):
            if server := name.partition(":")[2]:
                return server
        # With all rights: plain users may not read the backend's health.
        statuses = self.env["matrix.backend.status"].sudo()
        status = statuses.search(
            [("backend_id", "=", self._matrix_backend().id)], limit=1
        )
        return (status.matrix_user_id or "").partition(":")[2]
