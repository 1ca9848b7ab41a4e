from collections.abc import Collection

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tools import SQL
from odoo.tools.sql import index_exists

from ..tools import content as contents

_MANAGER = "mail_matrix.group_matrix_manager"
# Negative search operators, each with the operator that it negates.
_POSITIVE = {
    "=": ("in", False),
    "!=": ("in", True),
    "not in": ("in", True),
    "not ilike": ("ilike", True),
    "not any": ("any", True),
}
# All other fields are what the homeserver says about the person.
_LINKS = {"partner_id"}


class MatrixContact(models.Model):
    """A person in Matrix whom a backend's account can write to.

    The Matrix ID is the key. People choose their own names: these are shown, and never
    used for matching.
    """

    _name = "matrix.contact"
    _inherit = ["avatar.mixin", "matrix.deliveries.mixin"]
    _description = "Matrix Contact"
    _order = "name, matrix_user_id, id"
    _rec_names_search = ["name", "matrix_user_id"]

    name = fields.Char(readonly=True, help="What the person is called in Matrix.")
    matrix_user_id = fields.Char(string="Matrix ID", required=True, readonly=True)
    avatar_url = fields.Char(
        string="Avatar Address", readonly=True, groups=_MANAGER, copy=False
    )
    avatar_fetched_at = fields.Datetime(groups=fields.NO_ACCESS)
    # The sync that found this person last: syncs may begin in the same second.
    found_by = fields.Integer(groups=fields.NO_ACCESS)
    is_direct = fields.Boolean(
        string="Direct Chat",
        readonly=True,
        help="The account has a room for direct messages with this person.",
    )
    is_gone = fields.Boolean(
        string="Account Gone",
        readonly=True,
        help="The homeserver no longer knows this account.",
    )
    last_seen = fields.Datetime(
        string="Last Found",
        readonly=True,
        help="When Sync Contacts last found this person.",
    )
    backend_id = fields.Many2one(
        "matrix.backend", required=True, readonly=True, ondelete="cascade", index=True
    )
    company_id = fields.Many2one(related="backend_id.company_id", store=True)
    user_id = fields.Many2one(
        "res.users",
        string="Odoo User",
        compute="_compute_user_id",
        search="_search_user_id",
        compute_sudo=True,
        help="The user of Odoo whose Matrix account this is.",
    )
    partner_id = fields.Many2one(
        "res.partner",
        string="Contact in Odoo",
        ondelete="set null",
        index="btree_not_null",
        help="You can write to this person in Matrix from this form.",
    )

    def init(self):
        result = super().init()
        # Checked first: even IF NOT EXISTS waits for transactions that write contacts.
        if not index_exists(self.env.cr, "matrix_contact_person_key"):
            self.env.cr.execute(
                """
                CREATE UNIQUE INDEX matrix_contact_person_key
                    ON matrix_contact (backend_id, matrix_user_id)
                """
            )
        return result

    @api.constrains("matrix_user_id")
    def _check_matrix_user_id(self):
        for contact in self:
            if not contents.is_user_id(contact.matrix_user_id):
                raise ValidationError(
                    self.env._(
                        "“%(account)s” is not a valid Matrix account. Write it as "
                        "@name:example.org, with at most 255 bytes.",
                        account=contact.matrix_user_id[:300],
                    )
                )

    @api.depends("name", "matrix_user_id")
    def _compute_display_name(self):
        for contact in self:
            contact.display_name = contact.name or contact.matrix_user_id

    @api.depends("matrix_user_id")
    def _compute_user_id(self):
        accounts = self.mapped("matrix_user_id")
        users = self.env["res.users"].search([("matrix_user_id", "in", accounts)])
        by_account = {user.matrix_user_id: user for user in users}
        for contact in self:
            contact.user_id = by_account.get(contact.matrix_user_id)

    @api.model
    def _search_user_id(self, operator, value):
        # With all rights: which accounts belong to users is shown on each contact.
        mapped = self.env["res.users"].sudo().search([("matrix_user_id", "!=", False)])
        operator, is_negative = _POSITIVE.get(operator, (operator, False))
        if operator == "in":
            wanted = {*value} if isinstance(value, Collection) else {value}
            found = mapped.filtered(lambda user: user.id in wanted)
            if False in wanted:
                # Contacts without a user: all except those of the other users.
                found, is_negative = mapped - found, not is_negative
        else:
            # 19.0 turns a search for a name into "any" with its own domain.
            domain = value if operator == "any" else [("name", operator, value)]
            found = mapped.filtered_domain(domain)
        accounts = found.mapped("matrix_user_id")
        return [("matrix_user_id", "not in" if is_negative else "in", accounts)]

    def write(self, vals):
        if not self.env.su and not vals.keys() <= _LINKS:
            self._check_manager()
        return super().write(vals)

    def _check_manager(self):
        if not self.env.user.has_group(_MANAGER):
            raise AccessError(
                self.env._(
                    "Only Matrix Managers may change a Matrix contact; you may link it "
                    "to a contact in Odoo."
                )
            )

    # Direct messages

    def action_start_dm(self):
        """Open the composer for a direct message to this person."""
        self.ensure_one()
        self._matrix_check_user()
        self.check_access("read")
        return self._composer_action({"default_contact_id": self.id})

    @api.model
    def _composer_action(self, context):
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Direct Message in Matrix"),
            "res_model": "matrix.direct.composer",
            "view_mode": "form",
            "views": [(False, "form")],
            "target": "new",
            "context": context,
        }

    def _enqueue_direct(self, body):
        """Queue a direct message to this person and return its transaction id.

        The worker finds or creates the room. Raises AccessError if this user may not
        write to people in Matrix, UserError if the message cannot be sent.
        """
        self.ensure_one()
        self._matrix_check_user()
        self.check_access("read")
        if self.is_gone:
            raise UserError(
                self.env._(
                    "The account %(account)s no longer exists on its homeserver.",
                    account=self.matrix_user_id,
                )
            )
        return self._enqueue_direct_to(
            self.backend_id.sudo(), self.matrix_user_id, body
        )

    @api.model
    def _enqueue_direct_to(self, backend, matrix_user_id, body):
        """Queue a direct message to an account; see _enqueue_direct.

        :param backend: the record that sends, with all rights
        """
        values = self._direct_values(backend, matrix_user_id)
        outbox = self.env["matrix.outbox"]
        return outbox._insert_written(backend, "dm", body, values)

    @api.model
    def _direct_values(self, backend, matrix_user_id):
        """Return the target of a row for an account; see _enqueue_direct."""
        if not backend.is_active:
            raise UserError(
                self.env._(
                    "The Matrix backend “%(backend)s” is turned off. Use Sync Contacts "
                    "to find this person through the active one.",
                    backend=backend.name,
                )
            )
        if matrix_user_id == backend.account:
            raise UserError(
                self.env._(
                    "%(account)s is the account that Odoo itself writes with.",
                    account=matrix_user_id,
                )
            )
        return {"backend_id": backend.id, "matrix_user_id": matrix_user_id}

    # The outcomes of the messages: users see their own, managers all.

    def _matrix_logged(self, limit):
        about = [
            ("backend_id", "=", self.backend_id.id),
            ("matrix_user_id", "=", self.matrix_user_id),
        ]
        return self.env["matrix.log"].search(about, limit=limit).sudo()

    def _matrix_own_lane(self):
        return f"{self.backend_id.id}/{self.matrix_user_id}"

    def _matrix_waiting(self, limit):
        is_manager = self.env.user.has_group(_MANAGER)
        reads_all = is_manager and self.backend_id in self.backend_id._in_charge()
        rows = self.env.execute_query(
            SQL(
                """
                SELECT id FROM matrix_outbox
                -- A range, so that it is read by the index on lanes even
                -- when the planner expects few lanes.
                WHERE lane >= %s AND lane <= %s AND (%s OR user_id = %s)
                ORDER BY lane DESC, id DESC LIMIT %s
                """,
                self._matrix_own_lane(),
                self._matrix_own_lane(),
                reads_all,
                self.env.uid,
                limit,
            )
        )
        return self.env["matrix.outbox"].sudo().browse(row[0] for row in rows)

    def action_view_messages(self):
        """Open the log of the direct messages with this person."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Messages to %(name)s", name=self.display_name),
            "res_model": "matrix.log",
            "view_mode": "list,form",
            "domain": [
                ("backend_id", "=", self.backend_id.id),
                ("matrix_user_id", "=", self.matrix_user_id),
            ],
        }

    # What the homeserver says

    @api.model
    def _store_found(self, backend, found, sync_id):
        """Create or update the contacts that the sync ``sync_id`` has found.

        :param found: ``{Matrix ID: values}``, values as tools.people.profile plus
            ``is_direct``
        :return: how many of them are new
        """
        known = self.search(
            [("backend_id", "=", backend.id), ("matrix_user_id", "in", list(found))]
        )
        seen = {"last_seen": fields.Datetime.now(), "found_by": sync_id}
        for contact in known:
            values = {**found[contact.matrix_user_id], "is_gone": False}
            changed = {
                name: value
                for name, value in values.items()
                if (contact[name] or False) != (value or False)
            }
            if "avatar_url" in changed:
                # The picture has changed or is gone: the next sync fetches it.
                changed.update(image_1920=False, avatar_fetched_at=False)
            contact.write({**changed, **seen})
        ids = set(known.mapped("matrix_user_id"))
        new = [
            {**values, "backend_id": backend.id, **seen}
            for account, values in found.items()
            if account not in ids
        ]
        self.create(new)
        return len(new)
