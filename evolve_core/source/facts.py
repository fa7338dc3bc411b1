"""What one statement of a Python file says, by itself.

Facts depend on the statement's own text only, so they are kept while the text of the statement stays the same;
what they mean (is this decorator ``triton.jit``?) is decided later, by ``triton.py``, when the whole file is known.
Positions are relative to the first byte and line of the statement; columns are absolute.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tree_sitter import Node

from evolve_core.source.model import Definition
from evolve_core.source.terms import OPAQUE, Either, Item, Term, dotted, source, term

Range = tuple[int, int, int, int, int, int]
"""start byte, end byte, start line, start column, end line, end column"""
Scope = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FunctionFact:
    scope: Scope
    name: str
    range: Range
    name_range: Range
    decorators: tuple[tuple[str, Term], ...]
    parameters: tuple[tuple[str, str, str | None], ...]
    """name (with its stars), annotation, default"""
    complete: bool


@dataclass(frozen=True, slots=True)
class CallFact:
    """A call that may launch a kernel."""

    scope: Scope
    function: Term
    range: Range
    arguments: tuple[tuple[str, str | None, Range], ...]
    """text, keyword, range"""


@dataclass(slots=True)
class Facts:
    functions: list[FunctionFact] = field(default_factory=list)
    calls: list[CallFact] = field(default_factory=list)
    imports: list[tuple[str, str]] = field(default_factory=list)
    """local name, dotted path it stands for"""
    star_imports: list[str] = field(default_factory=list)
    bindings: dict[tuple[Scope, str], Term] = field(default_factory=dict)
    references: dict[Scope, set[str]] = field(default_factory=dict)
    """names used by each function, or by each assignment outside of functions"""
    definitions: tuple[Definition, ...] = ()

    def interface(self, outside: Scope) -> tuple[object, ...]:
        """What other statements of the file can see of one that stands in ``outside``."""
        functions = [(f.scope, f.name, f.decorators, f.parameters) for f in self.functions]
        visible = {key: term for key, term in self.bindings.items() if key[0] == outside}
        return self.imports, self.star_imports, visible, functions


def collect(node: Node, scope: Scope) -> Facts:
    """The facts of one statement that stands in ``scope``."""
    facts = Facts()
    _Collector(facts, node.start_byte, node.start_point[0], scope).visit(node, scope)
    facts.definitions = _definitions(facts)
    return facts


class _Collector:
    def __init__(self, facts: Facts, byte: int, line: int, outside: Scope) -> None:
        self.facts = facts
        self.outside = outside
        self.owner: str | None = None
        self.byte = byte
        self.line = line
        self.launchers: set[str] = set()

    def visit(self, root: Node, scope: Scope) -> None:
        # An explicit stack: a generated file may nest deeper than Python's own recursion allows.
        stack = [(root, scope)]
        while stack:
            node, here = stack.pop()
            kind = node.type
            if kind == "decorated_definition":
                self._decorated(node, here, stack)
            elif kind == "function_definition":
                self._function(node, node, (), here)
                _push(stack, node.child_by_field_name("body"), (*here, _name_of(node)))
            elif kind == "class_definition":
                _push(stack, node.child_by_field_name("body"), (*here, _name_of(node)))
            elif kind == "ERROR":
                self._repair(node, here, stack)
            elif kind in ("import_statement", "import_from_statement"):
                self._import(node)
            elif kind == "identifier":
                self._refer(here, source(node))
            elif kind == "keyword_argument":
                # Its name is the callee's, `other=` no use of a function `other`.
                _push(stack, node.child_by_field_name("value"), here)
            elif kind == "attribute":
                name = dotted(node)
                if name:
                    self._refer(here, name)
                else:
                    _push(stack, node.child_by_field_name("object"), here)
            else:
                if kind == "call":
                    self._call(node, here)
                elif kind == "assignment":
                    self._assignment(node, here)
                stack.extend((child, here) for child in reversed(node.named_children))

    def _decorated(self, node: Node, scope: Scope, stack: list[tuple[Node, Scope]]) -> None:
        definition = node.child_by_field_name("definition")
        if definition is None:
            return
        decorators = tuple(c for c in node.named_children if c.type == "decorator")
        if definition.type == "function_definition":
            self._function(node, definition, decorators, scope)
        _push(stack, definition.child_by_field_name("body"), (*scope, _name_of(definition)))

    def _function(self, outer: Node, definition: Node, decorators: tuple[Node, ...], scope: Scope) -> None:
        name = definition.child_by_field_name("name")
        if name is None:
            return
        parameters = definition.child_by_field_name("parameters")
        self.facts.functions.append(
            FunctionFact(
                scope=scope,
                name=source(name),
                range=self._range(outer, definition),
                name_range=self._range(name),
                decorators=tuple(_decorator(d) for d in decorators),
                parameters=_parameters(parameters) if parameters is not None else (),
                complete=not outer.has_error and _has_body(definition),
            )
        )

    def _repair(self, node: Node, scope: Scope, stack: list[tuple[Node, Scope]]) -> None:
        """Inside an ERROR node a definition lies flat: decorators, ``def``, a name, its parameters, then its body.

        The columns of ``def`` and ``class`` tell which of them stands inside which.
        """
        children = node.children
        decorators: list[Node] = []
        enclosing: list[tuple[int, Scope]] = [(-1, scope)]
        inside: list[tuple[Node, Scope]] = []
        for at, child in enumerate(children):
            kind = child.type
            if kind in ("def", "class", "decorator", "decorated_definition", "function_definition", "class_definition"):
                while enclosing[-1][0] >= child.start_point[1]:
                    enclosing.pop()
            here = enclosing[-1][1]
            if kind == "decorator":
                decorators.append(child)
                continue
            if kind in ("def", "class") and at + 1 < len(children) and children[at + 1].type == "identifier":
                if kind == "def":
                    self._damaged_function(decorators, children, at, here)
                enclosing.append((child.start_point[1], (*here, source(children[at + 1]))))
            elif child.is_named and kind != "identifier":
                inside.append((child, here))
            if kind != "comment":
                decorators = []
        stack.extend(reversed(inside))

    def _damaged_function(self, decorators: list[Node], children: list[Node], at: int, scope: Scope) -> None:
        name = children[at + 1]
        parameters = next((c for c in children[at + 2 : at + 3] if c.type == "parameters"), None)
        first, last = (decorators[0] if decorators else children[at]), children[-1]
        self.facts.functions.append(
            FunctionFact(
                scope=scope,
                name=source(name),
                range=self._range(first, last),
                name_range=self._range(name),
                decorators=tuple(_decorator(d) for d in decorators),
                parameters=_parameters(parameters) if parameters is not None else (),
                complete=False,
            )
        )

    def _import(self, node: Node) -> None:
        module = node.child_by_field_name("module_name")
        prefix = f"{source(module)}." if module is not None else ""
        for child in node.named_children:
            if child == module:
                continue
            if child.type == "aliased_import":
                name, alias = child.child_by_field_name("name"), child.child_by_field_name("alias")
                if name is not None and alias is not None:
                    self.facts.imports.append((source(alias), prefix + source(name)))
            elif child.type == "dotted_name":
                name_text = source(child)
                # `import a.b` binds `a`; `from a import b` binds `b`.
                local = name_text if prefix else name_text.split(".", 1)[0]
                self.facts.imports.append((local, prefix + local))
            elif child.type == "wildcard_import":
                self.facts.star_imports.append(prefix.removesuffix("."))

    def _refer(self, scope: Scope, name: str) -> None:
        if scope == self.outside:
            if self.owner is None:
                return
            scope = (*scope, self.owner)
        self.facts.references.setdefault(scope, set()).add(name)

    def _call(self, node: Node, scope: Scope) -> None:
        function = node.child_by_field_name("function")
        arguments = node.child_by_field_name("arguments")
        if function is None or arguments is None or arguments.type != "argument_list":
            return
        if not self._may_launch(function):
            return
        callee = term(function)
        self.facts.calls.append(
            CallFact(scope, callee, self._range(node), tuple(self._argument(a) for a in _arguments(arguments)))
        )

    def _may_launch(self, function: Node) -> bool:
        """``x[…](…)``, ``x.run(…)``, ``x.warmup(…)``, and ``x(…)`` after ``x = kernel[grid]``."""
        if function.type == "identifier":
            return source(function) in self.launchers
        if function.type == "attribute":
            attribute = function.child_by_field_name("attribute")
            return attribute is not None and attribute.text in (b"run", b"warmup")
        return function.type == "subscript"

    def _argument(self, node: Node) -> tuple[str, str | None, Range]:
        if node.type == "keyword_argument":
            name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
            if name is not None and value is not None:
                return source(value), source(name), self._range(node)
        return source(node), None, self._range(node)

    def _assignment(self, node: Node, scope: Scope) -> None:
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        if left is None or right is None or left.type != "identifier":
            return
        if scope == self.outside:
            # `softmax = Softmax.apply` outside of functions is a definition; what its right side uses is its own.
            self.owner = source(left)
            self.facts.references.setdefault((*scope, self.owner), set())
        value = term(right)
        if value == OPAQUE:
            return
        key = (scope, source(left))
        # Two branches may bind one name to two kernels; a launch through it then belongs to both.
        previous = self.facts.bindings.get(key)
        if isinstance(value, Item):
            self.launchers.add(source(left))
        self.facts.bindings[key] = value if previous is None else Either(previous, value)

    def _range(self, first: Node, last: Node | None = None) -> Range:
        end = first if last is None else last
        (start_line, start_column), (end_line, end_column) = first.start_point, end.end_point
        return (
            first.start_byte - self.byte,
            end.end_byte - self.byte,
            start_line - self.line,
            start_column,
            end_line - self.line,
            end_column,
        )


def _definitions(facts: Facts) -> tuple[Definition, ...]:
    functions = {(*f.scope, f.name) for f in facts.functions}
    scopes = functions | facts.references.keys()
    return tuple(
        Definition(".".join(scope), scope in functions, frozenset(facts.references.get(scope, ())))
        for scope in sorted(scopes)
    )


def _push(stack: list[tuple[Node, Scope]], node: Node | None, scope: Scope) -> None:
    if node is not None:
        stack.append((node, scope))


def _name_of(definition: Node) -> str:
    name = definition.child_by_field_name("name")
    return source(name) if name is not None else ""


def _has_body(definition: Node) -> bool:
    # The grammar takes a function without any statement; Python does not.
    body = definition.child_by_field_name("body")
    return body is not None and any(child.type != "comment" for child in body.named_children)


def _decorator(node: Node) -> tuple[str, Term]:
    expression = next((c for c in node.named_children if c.type != "comment"), None)
    return (source(expression), term(expression)) if expression is not None else ("", OPAQUE)


def _arguments(arguments: Node) -> list[Node]:
    return [c for c in arguments.named_children if c.type != "comment"]


def _parameters(parameters: Node) -> tuple[tuple[str, str, str | None], ...]:
    result = []
    for node in parameters.named_children:
        if node.type in ("comment", "keyword_separator", "positional_separator", "ERROR"):
            continue
        name = node.child_by_field_name("name")
        annotation, default = node.child_by_field_name("type"), node.child_by_field_name("value")
        if name is None:
            # typed_parameter has no name field: its first child is the identifier or the splat.
            name = node.named_child(0) if node.type == "typed_parameter" else node
        if name is None:
            continue
        result.append(
            (
                source(name),
                source(annotation) if annotation is not None else "",
                source(default) if default is not None else None,
            )
        )
    return tuple(result)
