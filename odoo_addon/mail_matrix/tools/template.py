"""Texts of events in Odoo's inline syntax, ``{{ object.name }}``."""

import re
from functools import partial

from odoo.models import BaseModel
from odoo.tools import misc
from odoo.tools.rendering_tools import parse_inline_template, render_inline_template

_PATH = re.compile(r"object((?:\.[a-z_][a-z0-9_]*)+)")


def render(source, record, **variables):
    """Return ``source`` rendered for ``record``, in the language of its environment.

    Dates and times are in the time zone of the context. Raises whatever an expression
    raises.
    """
    names = {}
    pieces = []
    for literal, expression, default in parse_inline_template(source):
        pieces.append(literal)
        if not expression:
            continue
        found, value = _read_path(expression, record)
        if found:
            pieces.append(str(value or default))
            continue
        names = names or _names(record, variables)
        pieces.append(render_inline_template([("", expression, default)], names))
    return "".join(pieces)


def _read_path(expression, record):
    """Return (True, value) of a plain path of fields, which most expressions are.

    Compiling an expression takes longer than all else that a message needs.
    """
    path = _PATH.fullmatch(expression)
    value = record
    for name in path[1][1:].split(".") if path else ():
        if not isinstance(value, BaseModel) or name not in value._fields:
            return False, None
        value = value[name]
    return bool(path), value


def _names(record, variables):
    env = record.env
    zone = env.context.get("tz") or "UTC"
    return {
        **env["mail.render.mixin"]._render_eval_context(),
        "object": record,
        "format_datetime": partial(_format_datetime, env, zone),
        "format_time": partial(_format_time, env, zone),
        **variables,
    }


def _format_datetime(env, zone, value, tz=False, dt_format="medium", lang_code=False):
    return misc.format_datetime(env, value, tz or zone, dt_format, lang_code or None)


def _format_time(env, zone, value, tz=False, time_format="medium", lang_code=False):
    return misc.format_time(env, value, tz or zone, time_format, lang_code or None)
