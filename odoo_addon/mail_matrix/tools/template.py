"""Rendering of the texts of events, ``{{ object.name }}``, for one record.

Texts are rendered with all rights, so this reads nothing but fields that a room may
read (template_check.readable) and calls nothing but the functions below.
"""

import datetime
import re

import babel.dates
import pytz

from odoo.models import BaseModel
from odoo.tools import misc

from . import chatter_html
from .content import MAX_CONTENT_BYTES
from .template_check import readable
from .template_syntax import (
    Call,
    Choice,
    Comparison,
    Condition,
    Joined,
    Literal,
    Not,
    Path,
    TemplateError,
    parse,
)

# A message cannot have more characters, so no more are rendered.
MAX_TEXT = MAX_CONTENT_BYTES + 1
# How many records a text names one by one.
MAX_NAMES = 100
_MAX_OPTION = 100

# Letters of a Unicode LDML pattern that show the zone; quoted text is not a pattern.
_NAMES_ZONE = re.compile("[zZvVOXx]")
_QUOTED = re.compile("'[^']*'")


def render(source, record, **variables):
    """Return ``source`` rendered for ``record``, in the language of its environment.

    Dates and times are in the time zone of the context. What does not fit in a message
    is left out. Raises TemplateError, and whatever the code of a computed field raises.
    """
    texts, length = [], 0
    for words, value in render_pieces(source, record, **variables):
        texts += [words, value]
        length += len(words) + len(value)
        if length > MAX_TEXT:
            break
    return "".join(texts)[:MAX_TEXT]


def render_pieces(source, record, **variables):
    """Yield the words of ``source``, each with the text of the expression after it."""
    scope = _Scope({"object": record, "user": record.env.user, **variables}, record.env)
    for piece in parse(source):
        yield piece.words, "" if piece.node is None else scope.text_of(piece)


class _Scope:
    """The values of one text's names."""

    def __init__(self, names, env):
        self.names = names
        self.env = env

    def text_of(self, piece):
        try:
            return self._text(self.value(piece.node)) or piece.default
        except TemplateError as error:
            error.expression = error.expression or piece.expression
            raise

    def value(self, node):
        return self._READERS[type(node)](self, node)

    def _literal(self, node):
        return node.value

    def _path(self, node):
        if node.root not in self.names:
            raise TemplateError("name", node.root)
        value = self.names[node.root]
        for name in node.fields:
            if not isinstance(value, BaseModel):
                raise TemplateError("path", str(node))
            value = self._field(value, name)
        return _bounded(value)

    def _field(self, records, name):
        """Return the field ``name`` of ``records``, which may have several values."""
        field = readable(type(records), name)
        if field.type == "reference":
            return records[name] if len(records) == 1 else None
        if field.relational:
            return records[name]
        if len(records) < 2:
            return _plain(field, records[name])
        return [_plain(field, record[name]) for record in records[:MAX_NAMES]]

    def _call(self, node):
        value = self.value(node.value)
        if value and not isinstance(value, _ACCEPTED[node.function]):
            raise TemplateError("arguments", f"{node.function}(…)")
        options = {name: self.value(part) for name, part in node.options.items()}
        for name, option in options.items():
            kind = BaseModel if name == "currency" else str
            if option and (not isinstance(option, kind) or len(option) > _MAX_OPTION):
                raise TemplateError("arguments", f"{node.function}(…, {name}=…)")
        return _bounded(_FORMATTERS[node.function](self.env, value, **options))

    def _choice(self, node):
        value = None
        for part in node.parts:
            value = self.value(part)
            if bool(value) is node.stop_at:
                break
        return value

    def _not(self, node):
        return not self.value(node.part)

    def _condition(self, node):
        return self.value(node.then if self.value(node.test) else node.otherwise)

    def _comparison(self, node):
        left = _comparable(self.value(node.left))
        if hasattr(node.right, "parts"):
            right = [_comparable(self.value(part)) for part in node.right.parts]
        else:
            right = _comparable(self.value(node.right))
        try:
            return _COMPARE[node.operator](left, right)
        except TypeError as error:
            raise TemplateError("compare", node.operator, detail=str(error)) from error

    def _joined(self, node):
        left, right = self.value(node.left), self.value(node.right)
        if isinstance(left, int | float) and isinstance(right, int | float):
            return left + right
        return (self._text(left) + self._text(right))[:MAX_TEXT]

    def _text(self, value):
        """Return ``value`` as text; empty for 0 and other empty values."""
        if not value:
            return ""
        if isinstance(value, list):
            return ", ".join(filter(None, map(self._text, value)))[:MAX_TEXT]
        if isinstance(value, BaseModel):
            # More would be slow: the number of records is not bounded.
            names = [record.display_name or "" for record in value[:MAX_NAMES]]
            names += ["…"] if len(value) > MAX_NAMES else []
            return ", ".join(names)[:MAX_TEXT]
        if isinstance(value, datetime.datetime):
            return _format_datetime(self.env, value)
        if isinstance(value, datetime.date):
            return misc.format_date(self.env, value)
        return str(value)

    _READERS = {
        Call: _call,
        Choice: _choice,
        Comparison: _comparison,
        Condition: _condition,
        Joined: _joined,
        Literal: _literal,
        Not: _not,
        Path: _path,
    }


_COMPARE = {
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "in": lambda left, right: left in right,
    "not in": lambda left, right: left not in right,
}


def _plain(field, value):
    if field.type == "html" and value:
        return chatter_html.read(str(value)).text
    return value


def _bounded(value):
    return value[:MAX_TEXT] if isinstance(value, str | list) else value


def _comparable(value):
    """Return records as values that can be compared."""
    if isinstance(value, BaseModel):
        return (value._name, value._ids) if value else False
    return value


def _format_datetime(env, value, tz=None, dt_format="medium", lang_code=None):
    zone = tz or _zone_of(env)
    text = misc.format_datetime(env, value, zone, dt_format, lang_code or None)
    return _with_zone(env, text, value, zone, dt_format, lang_code)


def _format_time(env, value, tz=None, time_format="medium", lang_code=None):
    zone = tz or _zone_of(env)
    text = misc.format_time(env, value, zone, time_format, lang_code or None)
    return _with_zone(env, text, value, zone, time_format, lang_code)


def _format_date(env, value, date_format=None, lang_code=None):
    return misc.format_date(env, value, lang_code or None, date_format or False)


def _format_amount(env, value, currency=None, lang_code=None):
    if not currency or currency._name != "res.currency" or len(currency) != 1:
        raise TemplateError("arguments", "format_amount(…, currency)")
    return misc.format_amount(env, value or 0.0, currency, lang_code or None)


def _format_duration(_env, value):
    return misc.format_duration(value or 0.0)


_ACCEPTED = {
    "format_amount": (int, float),
    "format_date": datetime.date,
    "format_datetime": datetime.datetime,
    "format_duration": (int, float),
    "format_time": datetime.datetime,
}
_FORMATTERS = {
    "format_amount": _format_amount,
    "format_date": _format_date,
    "format_datetime": _format_datetime,
    "format_duration": _format_duration,
    "format_time": _format_time,
}


def _zone_of(env):
    return env.context.get("tz") or "UTC"


def _with_zone(env, text, value, zone, pattern, lang_code):
    """Return a time with the name of its zone: a room's readers may be in several."""
    if not text or _has_zone(pattern):
        return text
    return f"{text} {_zone_name(env, value, zone, lang_code)}"


def _has_zone(pattern):
    if pattern in ("full", "long"):
        return True
    # The names of the other formats do not contain these letters.
    return bool(_NAMES_ZONE.search(_QUOTED.sub("", pattern or "")))


def _zone_name(env, value, zone, lang_code):
    """Return the short name of ``zone`` at that time: CEST, MESZ, UTC+05:00."""
    try:
        local = pytz.utc.localize(value).astimezone(pytz.timezone(zone))
    except pytz.UnknownTimeZoneError:
        # Odoo writes such times in UTC.
        return "UTC"
    locale = misc.babel_locale_parse(misc.get_lang(env, lang_code or None).code)
    for name in (
        babel.dates.get_timezone_name(local, width="short", locale=locale),
        local.tzname(),
    ):
        if name.isalpha():
            return name
    offset = f"{local:%z}"
    return f"UTC{offset[:3]}:{offset[3:]}"
