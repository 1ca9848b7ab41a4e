"""Which fields a text may name: whoever reads the room has no groups in Odoo."""

from .template_syntax import FUNCTIONS, Call, Path, TemplateError, nodes, parse

# Types that can be shown: words, numbers, times, and the names of records.
_READABLE = {
    "boolean",
    "char",
    "date",
    "datetime",
    "float",
    "html",
    "integer",
    "many2many",
    "many2one",
    "many2one_reference",
    "monetary",
    "one2many",
    "reference",
    "selection",
    "text",
}
# Only setting a room is restricted, not reading it: actions use other records' rooms.
_OPEN = {"matrix_room_id"}
# The types of the fields that a function can format.
ACCEPTED = {
    "format_amount": {"float", "integer", "monetary"},
    "format_date": {"date", "datetime"},
    "format_datetime": {"datetime"},
    "format_duration": {"float", "integer"},
    "format_time": {"datetime"},
}
assert ACCEPTED.keys() == FUNCTIONS.keys()


def readable(model, name):
    """Return the field ``name`` of the class or records ``model``.

    Raises TemplateError if there is none or a room may not read it. Asked when a text
    is saved, and again for each record when it is rendered.
    """
    field = model._fields.get(name)
    if field is None:
        raise TemplateError("field", f"{model._name}.{name}")
    if field.groups and name not in _OPEN:
        raise TemplateError("restricted", f"{model._name}.{name}")
    if field.type not in _READABLE:
        raise TemplateError("type", f"{model._name}.{name}")
    return field


def check(env, source, model, variables=()):
    """Raise TemplateError if ``source`` must not be used for records of ``model``.

    :param variables: names of texts that it can use besides ``object`` and ``user``
    """
    roots = {"object": model, "user": "res.users", **dict.fromkeys(variables)}
    for piece in parse(source):
        for node in nodes(piece.node) if piece.node is not None else ():
            try:
                _judge(env, node, roots)
            except TemplateError as error:
                error.expression, error.start = piece.expression, piece.start
                raise


def _judge(env, node, roots):
    if isinstance(node, Path):
        _last_field(env, node, roots)
    elif isinstance(node, Call) and isinstance(node.value, Path):
        field = _last_field(env, node.value, roots)
        is_accepted = field and field.type in ACCEPTED[node.function]
        if not is_accepted:
            raise TemplateError("arguments", f"{node.function}({node.value})")


def _last_field(env, path, roots):
    """Return the field that ``path`` ends with, or None for a name alone."""
    if path.root not in roots:
        raise TemplateError("name", path.root)
    model, field = roots[path.root], None
    for name in path.fields:
        if model is None:
            raise TemplateError("path", str(path))
        field = readable(env[model], name)
        # A reference leads to records of any model, whose fields are not known yet.
        model = field.comodel_name if field.relational else None
    return field
