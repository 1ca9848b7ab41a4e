"""What a text may say: whoever reads the room has no groups in Odoo.

Texts are rendered with all rights. So an expression may reach the fields of the record
and of what they lead to, and a few methods that give no more. Where the check knows the
model of a value, that model's fields decide; where it lost it, all models' code is
refused.
"""

import ast
import datetime

from odoo.models import BaseModel
from odoo.tools.rendering_tools import parse_inline_template

# Methods of recordsets that return records of the same model.
_SAME_MODEL = {
    "ensure_one",
    "exists",
    "filtered",
    "sorted",
    "sudo",
    "with_company",
    "with_context",
}
# Those that call a function for each record, or read the field of this name.
_FOR_EACH = {"filtered", "mapped", "sorted"}
_METHODS = _SAME_MODEL | _FOR_EACH | {"get_base_url", "get_portal_url"}
_PROPERTIES = {"ids"}

# They read what a text names at run time, which nobody can judge beforehand.
_FORMATTING = {"format", "format_map"}
_NEVER = {"cr", "env", "pool"}

# What dates, texts and numbers can do, unless records can do something of that name.
_VALUES = (
    datetime.date,
    datetime.datetime,
    datetime.time,
    datetime.timedelta,
    dict,
    float,
    int,
    list,
    set,
    str,
    tuple,
)
_OF_VALUES = {name for kind in _VALUES for name in dir(kind)} - set(dir(BaseModel))


class RestrictedField(ValueError):
    """A text names a field that is for certain groups only."""


class ForbiddenWord(ValueError):
    """A text uses a word that could reach more than the record's fields.

    ``kind`` says what to write instead: ``field``, ``text`` or ``key``.
    """

    def __init__(self, word, kind="field"):
        super().__init__(word)
        self.kind = kind


def expressions(source):
    """Return the expressions of an inline template."""
    return [found for _text, found, _default in parse_inline_template(source) if found]


def check(env, source, model):
    """Raise RestrictedField, ForbiddenWord or SyntaxError if ``source`` must not be
    used for ``model``.
    """
    for expression in expressions(source):
        _Walker(env).model_of(
            ast.parse(expression, mode="eval").body,
            {"object": model, "user": "res.users"},
        )


class _Walker:
    def __init__(self, env):
        self.env = env

    def model_of(self, node, names):
        """Return the model of the records that ``node`` yields, or None if unknown.

        A model that is returned is certain: with it, other names are let through.
        """
        method = getattr(self, f"_{type(node).__name__.lower()}", self._other)
        return method(node, names)

    def _name(self, node, names):
        return names.get(node.id)

    def _attribute(self, node, names):
        model = self.model_of(node.value, names)
        self._refuse_code(model, node.attr)
        return self._field(model, node.attr)

    def _subscript(self, node, names):
        model = self.model_of(node.value, names)
        if isinstance(node.slice, ast.Slice):
            self._other(node.slice, names)
            return model
        if isinstance(node.value, ast.Dict):
            self.model_of(node.slice, names)
            return None
        try:
            key = ast.literal_eval(node.slice)
        except (TypeError, ValueError) as error:
            raise ForbiddenWord("[…]", "key") from error
        return self._field(model, key) if isinstance(key, str) else model

    def _call(self, node, names):
        arguments = [*node.args, *(word.value for word in node.keywords)]
        function = node.func
        if not isinstance(function, ast.Attribute) or function.attr not in _METHODS:
            for part in (function, *arguments):
                self.model_of(part, names)
            return None
        model, method = self.model_of(function.value, names), function.attr
        if model is None and method == "sudo":
            raise ForbiddenWord(method)
        found = None
        for argument in arguments:
            if method not in _FOR_EACH:
                self.model_of(argument, names)
            elif isinstance(argument, ast.Lambda):
                found = self._lambda(argument, names, model)
            elif isinstance(argument, ast.Constant):
                found = self._paths(model, argument.value)
            else:
                raise ForbiddenWord(f"{method}(…)", "key")
        return model if method in _SAME_MODEL else found

    def _lambda(self, node, names, first=None):
        """Return the model of what a function returns whose first argument is of the
        model ``first``."""
        given = node.args
        for default in (*given.defaults, *filter(None, given.kw_defaults)):
            self.model_of(default, names)
        bound = {
            part.arg: None for part in ast.walk(given) if isinstance(part, ast.arg)
        }
        for argument in (*given.posonlyargs, *given.args)[:1]:
            bound[argument.arg] = first
        return self.model_of(node.body, {**names, **bound})

    def _paths(self, model, paths):
        """Judge names of fields: ``partner_id.name``, ``date desc, id``."""
        found = None
        for path in paths.split(",") if isinstance(paths, str) else ():
            found = model
            for name in path.split()[0].split(".") if path.strip() else ():
                found = self._field(found, name)
        return found

    def _comprehension(self, node, names):
        names = dict(names)
        for generator in node.generators:
            model = self.model_of(generator.iter, names)
            for part in ast.walk(generator.target):
                if isinstance(part, ast.Attribute | ast.Subscript):
                    raise ForbiddenWord(ast.unparse(part))
                if isinstance(part, ast.Name):
                    names[part.id] = model if part is generator.target else None
            for condition in generator.ifs:
                self.model_of(condition, names)
        for part in ("elt", "key", "value"):
            if hasattr(node, part):
                self.model_of(getattr(node, part), names)

    _listcomp = _generatorexp = _setcomp = _dictcomp = _comprehension

    def _namedexpr(self, node, names):
        raise ForbiddenWord(":=")

    def _boolop(self, node, names):
        return self._same([self.model_of(part, names) for part in node.values])

    def _ifexp(self, node, names):
        self.model_of(node.test, names)
        return self._same([self.model_of(p, names) for p in (node.body, node.orelse)])

    def _binop(self, node, names):
        if isinstance(node.op, ast.Mod):
            self._refuse_names_in_percent(node)
        return self._same([self.model_of(p, names) for p in (node.left, node.right)])

    def _same(self, models):
        return models[0] if len(set(models)) == 1 else None

    def _other(self, node, names):
        for child in ast.iter_child_nodes(node):
            self.model_of(child, names)

    def _refuse_names_in_percent(self, node):
        """Refuse ``'%(secret)s' % object``: it reads the field as a subscript does."""
        left, right = node.left, node.right
        if isinstance(left, ast.Constant):
            is_known = "%(" not in str(left.value) or isinstance(right, ast.Dict)
        else:
            is_known = isinstance(right, ast.Constant) and not isinstance(
                right.value, str
            )
        if not is_known:
            raise ForbiddenWord("%", "text")

    def _refuse_code(self, model, name):
        """Refuse an attribute that is no field and could do or reach anything."""
        if name.startswith("_") or name in _NEVER:
            raise ForbiddenWord(name)
        if model is None:
            if name in _FORMATTING:
                raise ForbiddenWord(name, "text")
            models = () if name in _OF_VALUES else self.env.registry.values()
        else:
            models = [type(self.env[model])]
        if name not in _PROPERTIES and any(
            hasattr(known, name) and name not in known._fields for known in models
        ):
            raise ForbiddenWord(name)

    def _field(self, model, name):
        if model is None:
            self._refuse_if_restricted_anywhere(name)
            return None
        field = self.env[model]._fields.get(name)
        if field is None:
            # There is no such thing: rendering says so.
            return None
        if field.groups:
            raise RestrictedField(f"{model}.{name}")
        return field.comodel_name if field.relational else None

    def _refuse_if_restricted_anywhere(self, name):
        for model in self.env.registry.models.values():
            field = model._fields.get(name)
            if field is not None and field.groups and not model._abstract:
                raise RestrictedField(f"{model._name}.{name}")
