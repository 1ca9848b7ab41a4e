"""Upgrades the tables shared with the worker to the newest contract, step by step.

``sql/migrations/README.md`` says how to write a step.
"""

import logging
import re
from pathlib import Path

from odoo.tools import SQL

_logger = logging.getLogger(__name__)

_FOLDER = Path(__file__).parent.parent / "sql" / "migrations"
_VERSION = re.compile(r"contract (\d+)")
_LOCKS = re.compile(r"^-- Locks: (.+)$", re.MULTILINE)


def apply(cr):
    """Run the migrations that this database has not had, in the caller's transaction.

    If there are none, it only reads: an upgrade stays open for minutes, and a lock
    taken here would hold up everybody who saves a record meanwhile.
    """
    applied = _applied(cr)
    for number, path in _migrations():
        if number <= applied:
            continue
        text = path.read_text(encoding="utf-8")
        _logger.info(
            "Migration %s; locked until this upgrade ends: %s",
            path.stem,
            _LOCKS.search(text)[1],
        )
        cr.execute(text)
        cr.execute(SQL("COMMENT ON TABLE matrix_outbox IS %s", f"contract {number}"))


def _applied(cr):
    """Return the number of the last migration that this database has had, or 0."""
    cr.execute("SELECT obj_description(to_regclass('matrix_outbox'), 'pg_class')")
    match = _VERSION.fullmatch(cr.fetchone()[0] or "")
    return int(match[1]) if match else 0


def _migrations():
    """Return the number and the file of each migration, in order."""
    return [
        (int(path.name.split("_")[0]), path) for path in sorted(_FOLDER.glob("*.sql"))
    ]
