"""Times in sentences: as the lists beside them show times, without seconds."""

from odoo.release import version_info
from odoo.tools import format_datetime
from odoo.tools.misc import babel_locale_parse, get_lang, posix_to_ldml


def time_text(env, value, tz=False):
    """Return the time of day of ``value``, a datetime in UTC.

    In the time zone ``tz``, or else the user's.
    """
    return format_datetime(env, value, tz, _time(get_lang(env)))


def date_time_text(env, value, tz=False):
    """Return the date and the time of day of ``value``: see time_text."""
    lang = get_lang(env)
    if version_info[0] < 19:
        pattern = f"{_date(lang)} {_time(lang)}"
    else:
        pattern = f"{_short_date(env, lang, value)}, {_time(lang)}"
    return format_datetime(env, value, tz, pattern)


def _time(lang):
    locale = babel_locale_parse(lang.code)
    if version_info[0] < 19:
        return posix_to_ldml(lang.short_time_format, locale)
    # Not what a browser has between time and “PM”.
    return locale.time_formats["short"].pattern.replace("\u202f", " ")


def _date(lang):
    return posix_to_ldml(lang.date_format, babel_locale_parse(lang.code))


def _short_date(env, lang, value):
    """Odoo 19 leaves out the year if it is this one."""
    is_this_year = value.year == env.cr.now().year
    skeletons = babel_locale_parse(lang.code).datetime_skeletons
    found = skeletons.get("MMMd" if is_this_year else "yMMMd")
    return found.pattern if found else _date(lang)
