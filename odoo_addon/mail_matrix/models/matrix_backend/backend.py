import re
from urllib.parse import urlsplit

from odoo import api, fields, models, tools
from odoo.exceptions import AccessError, ValidationError
from odoo.tools import SQL
from odoo.tools.sql import index_exists

from ...tools import content, migrations, words

# Other users see only that there is a backend, and its name.
_MANAGER = "mail_matrix.group_matrix_manager"

# Not a host with a port.
_SCHEME = re.compile(r"\w+:(?!\d)")

_ONE_ACTIVE = "matrix_backend_one_active_per_company"


class MatrixBackend(models.Model):
    """A homeserver, and the account there that Odoo uses."""

    _name = "matrix.backend"
    _description = "Matrix Backend"
    _order = "is_active desc, name, id"

    name = fields.Char(required=True)
    company_id = fields.Many2one(
        "res.company",
        default=lambda self: self.env.company,
        # Without its company it would serve all others.
        ondelete="restrict",
        help="Messages about records of this company are sent through this "
        "backend. Without a company, it serves all companies that have no "
        "backend of their own.",
    )
    homeserver_url = fields.Char(
        string="Homeserver URL",
        required=True,
        help="Address of the homeserver's client API, for example "
        "https://matrix.example.org",
        groups=_MANAGER,
    )
    default_sender_display = fields.Char(
        string="Sender Name",
        help="The name that people see in Matrix. Test Connection sets it on the "
        "account.",
    )
    sign_messages = fields.Boolean(
        string="Show Who Writes",
        help="What people write in Odoo begins with their name in the room: all "
        "messages come from the same Matrix account.",
        groups=_MANAGER,
    )
    verify_ssl = fields.Boolean(
        string="Verify TLS Certificate",
        default=True,
        help="Turn off only for a test server with a self-signed certificate.",
        groups=_MANAGER,
    )
    is_active = fields.Boolean(
        string="Active",
        default=lambda self: not self._active_twin(self.env.company.id),
        copy=False,
        help="One backend can be active for each company, and one for all others.",
    )
    hold_on_outage = fields.Boolean(
        string="Keep Messages During an Outage",
        default=True,
        help="While the homeserver does not answer, messages wait and go out in order "
        "afterwards. Otherwise each one fails for good after one more try.",
        groups=_MANAGER,
    )
    expire_hours = fields.Integer(
        string="Give Up After (Hours)",
        help="A message that could not be sent within this time is given up and "
        "logged as failed. Messages for a room that is still being created wait "
        "for it, however long that takes. 0: no limit.",
        groups=_MANAGER,
    )
    default_room_id = fields.Char(
        string="Default Room ID",
        help="Messages about records without a room of their own go to this room. "
        "Empty: no messages are sent about them.",
        groups=_MANAGER,
    )
    create_rooms = fields.Boolean(
        string="Create Rooms Automatically",
        help="Each new record gets a room of its own a moment after it is saved. What "
        "happens until then is posted there, not in the default room.",
        groups=_MANAGER,
    )
    config_version = fields.Integer(
        readonly=True,
        default=1,
        copy=False,
        help="Increased by the database at each change that the worker must see.",
        # With a high number written here, workers would miss every later change.
        groups=fields.NO_ACCESS,
    )
    configured_at = fields.Datetime(
        readonly=True,
        copy=False,
        help="When the address or the token was last changed. Written by the database.",
        groups=_MANAGER,
    )
    notify_chatter = fields.Boolean(
        string="Chatter Messages", default=True, groups=_MANAGER
    )
    template_chatter = fields.Text(
        string="Chatter Text",
        default="{{ author }}: {{ text }}",
        groups=_MANAGER,
    )
    message_type_chatter = fields.Selection(
        words.MESSAGE_TYPES,
        string="Chatter Type",
        default="m.text",
        required=True,
        groups=_MANAGER,
    )
    template_test = fields.Text(
        string="Test Text",
        default=lambda self: self.env._("Hello from Odoo"),
        groups=_MANAGER,
    )

    def init(self):
        """Create the contract's tables, which refer to this model's own table."""
        migrations.apply(self.env.cr)
        # Even if it exists, CREATE INDEX IF NOT EXISTS would lock the table.
        if not index_exists(self.env.cr, _ONE_ACTIVE):
            self.env.cr.execute(
                SQL(
                    "CREATE UNIQUE INDEX %s ON matrix_backend "
                    "(COALESCE(company_id, 0)) WHERE is_active",
                    SQL.identifier(_ONE_ACTIVE),
                )
            )

    @api.constrains("homeserver_url")
    def _check_homeserver_url(self):
        for backend in self:
            problem = backend._homeserver_url_problem(backend.homeserver_url)
            if problem:
                raise ValidationError(problem)

    @api.constrains("default_room_id")
    def _check_default_room_id(self):
        for backend in self:
            room = backend.default_room_id
            if room and not content.is_room_id(room):
                raise ValidationError(
                    self.env._(
                        "“%(room)s” is not a valid room ID. A room ID begins with "
                        "“!”; your Matrix client shows it in the room's settings "
                        "under Advanced.",
                        room=room,
                    )
                )

    @api.constrains("expire_hours")
    def _check_expire_hours(self):
        for backend in self:
            if not 0 <= backend.expire_hours <= 24 * 365:
                raise ValidationError(
                    self.env._(
                        "Enter a time between 0 (no limit) and 8760 hours (one "
                        "year), not %(hours)s.",
                        hours=backend.expire_hours,
                    )
                )

    @api.model_create_multi
    def create(self, vals_list):
        vals_list = [self._tidy(vals) for vals in vals_list]
        for vals in vals_list:
            company_id = vals.get("company_id", self.env.company.id)
            if "is_active" not in vals:
                vals["is_active"] = not self.browse()._active_twin(company_id)
            elif vals["is_active"]:
                self.browse()._refuse_second_active(company_id)
        backends = super().create(vals_list)
        # Odoo 18 does not check the groups of fields here.
        if any(backend.config_version != 1 for backend in backends.sudo()):
            raise AccessError(self.env._("Only the database counts the changes."))
        self.env.registry.clear_cache()
        return backends

    def write(self, vals):
        if {"is_active", "company_id"} & vals.keys():
            for backend in self:
                if vals.get("is_active", backend.is_active):
                    company_id = vals.get("company_id", backend.company_id.id)
                    backend._refuse_second_active(company_id)
        result = super().write(self._tidy(vals))
        if "company_id" in vals:
            # Odoo checks access only before the write, against the previous company.
            self.check_access("write")
        self.env.registry.clear_cache()
        return result

    def unlink(self):
        result = super().unlink()
        self.env.registry.clear_cache()
        return result

    def copy_data(self, default=None):
        """A copy is inactive: two active ones are refused."""
        default = {"is_active": False, **(default or {})}
        vals_list = super().copy_data(default)
        if "name" not in default:
            for vals in vals_list:
                vals["name"] = self.env._("%(name)s (copy)", name=vals["name"])
        return vals_list

    @api.ondelete(at_uninstall=False)
    def _unlink_except_waiting(self):
        """The database refuses it too, but with an error that helps nobody."""
        waiting = (
            self.env["matrix.outbox"]
            .sudo()
            .search([("backend_id", "in", self.ids)], limit=1)
        )
        if waiting:
            raise ValidationError(
                self.env._(
                    "Messages of “%(backend)s” are still waiting to be sent. Send "
                    "or discard them first, or deactivate the backend instead.",
                    backend=waiting.backend_id.name,
                )
            )

    def _refuse_second_active(self, company_id):
        """Raise ValidationError if another backend than these serves the company.

        With two, it would be unclear which one sends. Checked before the write: after
        it, the index matrix_backend_one_active_per_company, which stops two
        transactions at the same time, would raise its own error first.
        """
        twin = self._active_twin(company_id)
        if twin and company_id:
            raise ValidationError(
                self.env._(
                    "%(company)s already has the active Matrix backend “%(twin)s”. "
                    "Deactivate it first.",
                    company=twin.company_id.name,
                    twin=twin.name,
                )
            )
        if twin:
            raise ValidationError(
                self.env._(
                    "“%(twin)s” is already the active Matrix backend for all "
                    "companies. Deactivate it first, or choose a company here.",
                    twin=twin.name,
                )
            )

    def _active_twin(self, company_id):
        """Return, with all rights, another backend that serves the company."""
        return self.sudo().search(
            [
                ("id", "not in", self.ids),
                ("is_active", "=", True),
                ("company_id", "=", company_id),
            ],
            limit=1,
        )

    @api.model
    def _tidy(self, vals):
        """Return ``vals`` without blanks and a last slash left over from pasting, and
        with https:// before an address that names no scheme."""
        vals = dict(vals)
        for name in ("homeserver_url", "default_room_id"):
            if isinstance(vals.get(name), str):
                vals[name] = vals[name].strip()
        if vals.get("homeserver_url"):
            url = vals["homeserver_url"].rstrip("/")
            has_scheme = _SCHEME.match(url)
            vals["homeserver_url"] = url if has_scheme else f"https://{url}"
        return vals

    @api.model
    def _homeserver_url_problem(self, url):
        """Return what is wrong with ``url`` in plain words, or nothing."""
        try:
            parts = urlsplit(url)
            host, _port = parts.hostname, parts.port
        except ValueError:
            parts, host = None, None
        if parts and (parts.username or parts.password):
            # The address stays out of this text: it holds a password.
            return self.env._(
                "The homeserver address must not contain a user name or a password."
            )
        if not parts or parts.scheme not in ("http", "https") or not host:
            return self.env._(
                "“%(url)s” is not a valid homeserver address. Write it as "
                "https://matrix.example.org",
                url=url,
            )
        if parts.query or parts.fragment or any(c.isspace() for c in url):
            return self.env._(
                "The homeserver address “%(url)s” must not contain spaces, “?” or “#”.",
                url=url,
            )
        return None

    @api.model
    @tools.ormcache("company_id")
    def _active_id_for(self, company_id):
        backends = self.sudo().search(
            [("is_active", "=", True), ("company_id", "in", (company_id, False))]
        )
        return (backends.filtered("company_id") or backends)[:1].id

    @api.model
    def _active_for(self, company):
        """Return the backend that serves ``company``, with all rights, or none.

        It is the company's own, else the one that all companies share.
        """
        return self.sudo().browse(self._active_id_for(company.id or False))

    @api.model
    def _active_for_record(self, record):
        """Return the backend that serves the company of ``record``, or none."""
        has_company = "company_id" in record._fields
        company = record.company_id if has_company else self.env["res.company"]
        backend_id = self.env["matrix.outbox"]._once(
            ("backend", company.id), lambda: self._active_for(company).id
        )
        return self.sudo().browse(backend_id)

    def _message_type(self, event_type):
        """Return the ``msgtype`` of this event: ``m.text`` unless another one is
        set."""
        name = f"message_type_{event_type}"
        return (self[name] if name in self._fields else None) or "m.text"
