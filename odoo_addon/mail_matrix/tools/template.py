"""Texts of events in Odoo's inline syntax, ``{{ object.name }}``."""

from functools import partial

from odoo.tools import misc
from odoo.tools.rendering_tools import parse_inline_template, render_inline_template


def render(source, record, **variables):
    """Return ``source`` rendered for ``record``, in the language of its environment.

    Dates and times are in the time zone of the context. Raises whatever an expression
    raises.
    """
    env = record.env
    zone = env.context.get("tz") or "UTC"
    names = env["mail.render.mixin"]._render_eval_context()
    names.update(
        object=record,
        format_datetime=partial(_format_datetime, env, zone),
        format_time=partial(_format_time, env, zone),
        **variables,
    )
    return render_inline_template(parse_inline_template(source), names)


def _format_datetime(env, zone, value, tz=False, dt_format="medium", lang_code=False):
    return misc.format_datetime(env, value, tz or zone, dt_format, lang_code or None)


def _format_time(env, zone, value, tz=False, time_format="medium", lang_code=False):
    return misc.format_time(env, value, tz or zone, time_format, lang_code or None)
