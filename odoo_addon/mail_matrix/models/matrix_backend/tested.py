from odoo import api, fields, models

_MANAGER = "mail_matrix.group_matrix_manager"


class MatrixBackend(models.Model):
    """What the last Test Connection found. It stays on the form."""

    _inherit = "matrix.backend"

    tested_at = fields.Datetime(
        string="Checked At", readonly=True, copy=False, groups=_MANAGER
    )
    test_result = fields.Selection(
        [
            ("ok", "Connected"),
            ("warning", "Connected, with warnings"),
            ("failed", "Connection failed"),
        ],
        string="Result",
        readonly=True,
        copy=False,
        groups=_MANAGER,
    )
    test_problem = fields.Char(
        string="Problem", readonly=True, copy=False, groups=_MANAGER
    )
    test_account = fields.Char(
        string="Tested Account", readonly=True, copy=False, groups=_MANAGER
    )
    test_device = fields.Char(
        string="Device", readonly=True, copy=False, groups=_MANAGER
    )
    test_server = fields.Char(
        string="Server", readonly=True, copy=False, groups=_MANAGER
    )
    test_specification = fields.Char(
        string="Matrix Version", readonly=True, copy=False, groups=_MANAGER
    )
    test_warnings = fields.Text(
        string="Warnings", readonly=True, copy=False, groups=_MANAGER
    )
    test_hint = fields.Char(
        string="Sending Limits", compute="_compute_test_hint", groups=_MANAGER
    )
    test_outdated = fields.Boolean(
        string="Changed Since the Test",
        compute="_compute_test_outdated",
        groups=_MANAGER,
    )

    @api.depends("test_account", "sends_as_appservice")
    def _compute_test_hint(self):
        for backend in self:
            account = not backend.sends_as_appservice and backend.test_account
            backend.test_hint = account and self.env._(
                "Homeservers limit how fast an account can send. Synapse allows one "
                "message every five seconds after the first ten; further messages "
                "wait, and none is lost. To lift the limit, an administrator of the "
                "Synapse server calls POST "
                "/_synapse/admin/v1/users/%(user)s/override_ratelimit with "
                '{"messages_per_second": 0, "burst_count": 0}.',
                user=account,
            )

    @api.depends("tested_at", "configured_at")
    def _compute_test_outdated(self):
        for backend in self:
            tested, changed = backend.tested_at, backend.configured_at
            # The test is stored without fractions of a second.
            backend.test_outdated = bool(
                tested and changed and changed.replace(microsecond=0) > tested
            )

    def _write_test(self, **values):
        """Replace the previous test's result with this one."""
        names = ("problem", "account", "device", "server", "specification", "warnings")
        self.write(
            {
                "tested_at": self.env.cr.now().replace(microsecond=0),
                "test_result": values.pop("result"),
                **{f"test_{name}": values.get(name) for name in names},
            }
        )
