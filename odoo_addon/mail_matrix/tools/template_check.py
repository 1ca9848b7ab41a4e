"""What a text may not say: whoever reads the room has no groups in Odoo."""

import ast

from odoo.tools.rendering_tools import parse_inline_template

# Methods of recordsets that return records of the same model.
_SAME_MODEL = {
    "browse",
    "exists",
    "filtered",
    "sorted",
    "sudo",
    "with_company",
    "with_context",
    "with_env",
    "with_user",
}
_LAMBDA_METHODS = {"filtered", "mapped", "sorted", "filtered_domain", "grouped"}


class RestrictedField(ValueError):
    """A text names a field that is for certain groups only."""


def expressions(source):
    """Return the expressions of an inline template."""
    return [found for _text, found, _default in parse_inline_template(source) if found]


def check(env, source, model):
    """Raise RestrictedField or SyntaxError if ``source`` must not be used for
    ``model``.

    Follows ``object`` through relations, calls, lambdas and comprehensions. Where it
    loses track of the model, a name is refused that is a restricted field of any model.
    """
    for expression in expressions(source):
        _Walker(env).model_of(
            ast.parse(expression, mode="eval").body, {"object": model}
        )


class _Walker:
    def __init__(self, env):
        self.env = env

    def model_of(self, node, names):
        """Return the model of the records that ``node`` yields, or None."""
        method = getattr(self, f"_{type(node).__name__.lower()}", self._other)
        return method(node, names)

    def _name(self, node, names):
        return "res.users" if node.id == "user" else names.get(node.id)

    def _attribute(self, node, names):
        return self._field(self.model_of(node.value, names), node.attr)

    def _subscript(self, node, names):
        model = self.model_of(node.value, names)
        if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
            return self._field(model, node.slice.value)
        self.model_of(node.slice, names)
        return model

    def _call(self, node, names):
        model, method = None, None
        if isinstance(node.func, ast.Attribute):
            method = node.func.attr
            model = self.model_of(node.func.value, names)
        else:
            self.model_of(node.func, names)
        result = model if method in _SAME_MODEL else None
        for argument in [*node.args, *(word.value for word in node.keywords)]:
            if isinstance(argument, ast.Lambda) and method in _LAMBDA_METHODS:
                known = {arg.arg: model for arg in argument.args.args}
                found = self.model_of(argument.body, {**names, **known})
            elif isinstance(argument, ast.Constant) and method in _LAMBDA_METHODS:
                found = self._path(model, argument.value)
            elif isinstance(argument, ast.Constant | ast.List | ast.Tuple):
                found = self._texts(argument, names)
            else:
                found = self.model_of(argument, names)
            if method == "mapped":
                result = found
        return result

    def _texts(self, node, names):
        """Judge texts that a method could take for names of fields."""
        for part in [node] if isinstance(node, ast.Constant) else node.elts:
            if not isinstance(part, ast.Constant):
                self.model_of(part, names)
            elif isinstance(part.value, str):
                self._path(None, part.value)

    def _path(self, model, path):
        for name in str(path).split("."):
            model = self._field(model, name)
        return model

    def _comprehension(self, node, names):
        names = dict(names)
        for generator in node.generators:
            model = self.model_of(generator.iter, names)
            if isinstance(generator.target, ast.Name):
                names[generator.target.id] = model
            for condition in generator.ifs:
                self.model_of(condition, names)
        for part in ("elt", "key", "value"):
            if hasattr(node, part):
                self.model_of(getattr(node, part), names)

    _listcomp = _generatorexp = _setcomp = _dictcomp = _comprehension

    def _boolop(self, node, names):
        return next(
            filter(None, [self.model_of(part, names) for part in node.values]), None
        )

    def _ifexp(self, node, names):
        self.model_of(node.test, names)
        body, orelse = (
            self.model_of(node.body, names),
            self.model_of(node.orelse, names),
        )
        return body or orelse

    def _binop(self, node, names):
        left, right = self.model_of(node.left, names), self.model_of(node.right, names)
        return left or right

    def _other(self, node, names):
        for child in ast.iter_child_nodes(node):
            self.model_of(child, names)

    def _field(self, model, name):
        if model is None:
            self._refuse_if_restricted_anywhere(name)
            return None
        field = self.env[model]._fields.get(name)
        if field is None:
            return None
        if field.groups:
            raise RestrictedField(f"{model}.{name}")
        return field.comodel_name if field.relational else None

    def _refuse_if_restricted_anywhere(self, name):
        for model in self.env.registry.models.values():
            field = model._fields.get(name)
            if field is not None and field.groups and not model._abstract:
                raise RestrictedField(f"{model._name}.{name}")
