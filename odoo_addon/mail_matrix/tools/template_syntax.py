"""The language of the texts of events: what is allowed between ``{{`` and ``}}``.

An allow-list. An expression is parsed by Python's own parser, and each node of the
result becomes one of the few classes below or the text is refused. Nothing here or
where a text is rendered compiles or evaluates Python, so a text can do no more than
these classes can.
"""

import ast
from functools import lru_cache
from typing import Any, NamedTuple

# Longer ones are programs; the limits also keep Python's parser from reaching its own.
MAX_SOURCE = 20_000
MAX_EXPRESSION = 2_000
MAX_DEPTH = 40

# Functions of a text, with the named arguments that they take besides the value.
FUNCTIONS = {
    "format_amount": ("currency", "lang_code"),
    "format_date": ("date_format", "lang_code"),
    "format_datetime": ("tz", "dt_format", "lang_code"),
    "format_duration": (),
    "format_time": ("tz", "time_format", "lang_code"),
}

_COMPARISONS = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
}


class TemplateError(ValueError):
    """A text, or one expression of it, is not valid.

    ``kind`` says what is wrong and so what to write instead, ``part`` is the piece at
    fault, ``expression`` the expression that it is in. ``start`` is where the braces of
    the expression begin in the text, None if that is not known.
    """

    start = None

    def __init__(self, kind, part="", expression="", detail=""):
        self.kind = kind
        self.part = part
        self.expression = expression
        self.detail = detail
        super().__init__(kind, part, expression, detail)

    def place(self, source):
        """Return start and end, in ``source``, of what is at fault."""
        if self.start is None:
            return 0, len(source)
        stop = source.find("}}", self.start)
        stop = len(source) if stop < 0 else stop + 2
        # A field is given with its model, which is not in the text.
        for part in (self.part, self.part.rpartition(".")[2]):
            found = source.find(part, self.start, stop) if part else -1
            if found >= 0:
                return found, found + len(part)
        return self.start, stop

    def __str__(self):
        place = f" in {{{{ {self.expression} }}}}" if self.expression else ""
        return f"{self.part or 'text'}{place}: {self.detail or self.kind}"


class Literal(NamedTuple):
    value: Any


class Path(NamedTuple):
    """A name, and the fields that are read from it one after the other."""

    root: str
    fields: tuple

    def __str__(self):
        return ".".join((self.root, *self.fields))


class Call(NamedTuple):
    function: str
    value: Any
    options: dict


class Choice(NamedTuple):
    """``and`` or ``or``: the first part that decides."""

    stop_at: bool
    parts: tuple


class Not(NamedTuple):
    part: Any


class Condition(NamedTuple):
    test: Any
    then: Any
    otherwise: Any


class Comparison(NamedTuple):
    left: Any
    operator: str
    right: Any


class Joined(NamedTuple):
    left: Any
    right: Any


class Among(NamedTuple):
    """The values to choose from in ``a in ('b', 'c')``."""

    parts: tuple


class Piece(NamedTuple):
    """Words, and the expression that follows them, if any.

    ``start`` is where the braces of the expression begin.
    """

    words: str
    expression: str
    node: Any
    default: str
    start: int


@lru_cache(maxsize=1024)
def parse(source):
    """Return the pieces of ``source``. Raises TemplateError."""
    if len(source) > MAX_SOURCE:
        raise TemplateError("long", f"{source[:40]}…")
    pieces, end = [], 0
    while (start := source.find("{{", end)) >= 0:
        stop = source.find("}}", start + 2)
        try:
            if stop < 0:
                raise TemplateError("unclosed", source[start : start + 40])
            expression, _separator, default = source[start + 2 : stop].partition("|||")
            expression = expression.strip()
            node = _parse_expression(expression)
        except TemplateError as error:
            error.start = start
            raise
        words = source[end:start]
        pieces.append(Piece(words, expression, node, default.strip(), start))
        end = stop + 2
    if end < len(source):
        pieces.append(Piece(source[end:], "", None, "", len(source)))
    return tuple(pieces)


def nodes(node):
    """Return ``node`` and all nodes below it."""
    found = [node]
    for known in found:
        if isinstance(known, Call):
            found += [known.value, *known.options.values()]
        elif isinstance(known, Choice | Among):
            found += known.parts
        elif not isinstance(known, Literal | Path):
            found += [part for part in known if isinstance(part, tuple)]
    return found


def _parse_expression(expression):
    if not expression:
        raise TemplateError("empty", "{{ }}")
    if len(expression) > MAX_EXPRESSION:
        raise TemplateError("long", f"{expression[:40]}…")
    try:
        tree = ast.parse(expression, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        detail = getattr(error, "msg", None) or str(error)
        raise TemplateError("syntax", expression, detail=detail) from error
    return _Reader(expression).node_of(tree.body, MAX_DEPTH)


class _Reader:
    """Turns Python's syntax tree into ours, node by node."""

    def __init__(self, expression):
        self.expression = expression

    def node_of(self, node, depth):
        if not depth:
            raise self._error("deep", node)
        reader = getattr(self, f"_{type(node).__name__.lower()}", None)
        if reader is None:
            raise self._error("language", node)
        return reader(node, depth - 1)

    def _error(self, kind, node, part=None):
        if part is None:
            # Recursion: a tree that is too deep for us may be too deep to be unparsed.
            part = ast.get_source_segment(self.expression, node) or self.expression
        return TemplateError(kind, part, self.expression)

    def _constant(self, node, _depth):
        if node.value is not None and not isinstance(node.value, str | int | float):
            raise self._error("language", node)
        return Literal(node.value)

    def _name(self, node, _depth):
        if node.id in FUNCTIONS:
            raise self._error("call", node)
        return Path(node.id, ())

    def _attribute(self, node, _depth):
        fields, found = [], node
        while isinstance(found, ast.Attribute):
            fields.append(found.attr)
            found = found.value
        if not isinstance(found, ast.Name) or found.id in FUNCTIONS:
            raise self._error("path", node)
        if len(fields) > MAX_DEPTH:
            raise self._error("deep", node)
        return Path(found.id, tuple(reversed(fields)))

    def _call(self, node, depth):
        function = node.func
        if isinstance(function, ast.Attribute):
            raise self._error("method", node)
        if not isinstance(function, ast.Name) or function.id not in FUNCTIONS:
            raise self._error("function", node)
        words = FUNCTIONS[function.id]
        values = dict(zip(words, node.args[1:], strict=False))
        named = {word.arg: word.value for word in node.keywords}
        if (
            not 1 <= len(node.args) <= 1 + len(words)
            or named.keys() & values.keys()
            or named.keys() - set(words)
        ):
            raise self._error("arguments", node, f"{function.id}(…)")
        value = self.node_of(node.args[0], depth)
        options = {
            name: self.node_of(option, depth)
            for name, option in (values | named).items()
        }
        return Call(function.id, value, options)

    def _boolop(self, node, depth):
        parts = tuple(self.node_of(part, depth) for part in node.values)
        return Choice(isinstance(node.op, ast.Or), parts)

    def _unaryop(self, node, depth):
        part = self.node_of(node.operand, depth)
        if isinstance(node.op, ast.Not):
            return Not(part)
        is_number = isinstance(part, Literal) and type(part.value) in (int, float)
        if isinstance(node.op, ast.USub) and is_number:
            return Literal(-part.value)
        raise self._error("language", node)

    def _ifexp(self, node, depth):
        return Condition(
            self.node_of(node.test, depth),
            self.node_of(node.body, depth),
            self.node_of(node.orelse, depth),
        )

    def _compare(self, node, depth):
        left, right = node.left, node.comparators[0]
        operator = _COMPARISONS.get(type(node.ops[0]))
        if len(node.ops) > 1 or operator is None:
            raise self._error("comparison", node)
        is_list = isinstance(right, ast.Tuple | ast.List | ast.Set)
        if is_list and operator in ("in", "not in"):
            parts = tuple(self.node_of(part, depth) for part in right.elts)
            return Comparison(self.node_of(left, depth), operator, Among(parts))
        return Comparison(
            self.node_of(left, depth), operator, self.node_of(right, depth)
        )

    def _binop(self, node, depth):
        if not isinstance(node.op, ast.Add):
            raise self._error("language", node)
        # A chain of + nests to the left: read it in a loop, because it may be long.
        parts = [node.right]
        while isinstance(node.left, ast.BinOp) and isinstance(node.left.op, ast.Add):
            node = node.left
            parts.append(node.right)
        joined = self.node_of(node.left, depth)
        for part in reversed(parts):
            joined = Joined(joined, self.node_of(part, depth))
        return joined
