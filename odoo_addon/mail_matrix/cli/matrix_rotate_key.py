import sys

from psycopg2.errors import SerializationFailure

from odoo import SUPERUSER_ID, api
from odoo.cli import Command
from odoo.exceptions import UserError
from odoo.modules.registry import Registry
from odoo.tools import config

_TRIES = 10


def _rotate(env):
    """Rotate the key; again if a worker has just written what it had sealed."""
    for _try in range(_TRIES - 1):
        try:
            return env["matrix.backend"]._rotate_token_key()
        except SerializationFailure:
            env.cr.rollback()
    return env["matrix.backend"]._rotate_token_key()


class MatrixRotateKey(Command):
    """Seal every Matrix access token again with the first of the configured keys"""

    # Odoo 19 asks for the name of this file.
    name = "matrix_rotate_key"

    def run(self, args):
        """``args``: server options. ``-d`` is required, and ``-c`` is usual.

        Exits with an error, and changes nothing, if a token cannot be opened.
        """
        config.parse_config(args, setup_logging=True)
        # A string until 18.0, a list from 19.0 on.
        names = config["db_name"] or []
        names = names.split(",") if isinstance(names, str) else names
        if len(names) != 1:
            sys.exit("Name one database: -d DATABASE")
        with Registry(names[0]).cursor() as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            if "matrix.backend" not in env:
                sys.exit(f"mail_matrix is not installed in {names[0]}")
            try:
                count = _rotate(env)
            except UserError as error:
                cr.rollback()
                sys.exit(str(error))
        sys.stdout.write(f"Access tokens sealed with the first key: {count}\n")
