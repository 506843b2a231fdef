"""Writes raftstate/sync from the source of raftstate/client: scripts/generate calls it.

    python scripts/sync_face.py DIR

Each public class of the async face gets a twin of the same name, with the same methods: what
has to be awaited there is waited for here. Names, parameters, types and docstrings are
taken from the source; what the twin cannot have of it is said in `sync_words.py`, and an
entry there that fits nothing any more is an error. `running.py`, `owning.py` and
`registering.py` are written by hand: how a call gets to the event loop and back.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import sync_words as words

ROOT = Path(__file__).resolve().parents[1]
CLIENT = ROOT / "raftstate" / "client"
HEADER = "# Generated from raftstate/client/{name}.py by scripts/generate. Not to be edited.\n"
BUILTINS = set(dir(builtins))

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Unfit(Exception):
    """What was found does not fit what the generator knows."""


# --- what the source holds ---------------------------------------------------


class Source:
    """A module of the async face."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tree = ast.parse((CLIENT / f"{name}.py").read_text())
        self.imports: dict[str, str] = {}  # a name, and the statement that imports it
        self.defined: dict[str, ast.stmt] = {}
        for node in self._statements():
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    one = ast.ImportFrom(node.module, [alias], 0)
                    self.imports[alias.asname or alias.name] = ast.unparse(one)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    self.imports[alias.asname or alias.name] = ast.unparse(ast.Import([alias]))
            elif isinstance(node, ast.ClassDef | Function):
                self.defined[node.name] = node
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self.defined[node.targets[0].id] = node
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                self.defined[node.target.id] = node

    def _statements(self) -> Iterator[ast.stmt]:
        for node in self.tree.body:
            if isinstance(node, ast.If):  # TYPE_CHECKING
                yield from node.body
            else:
                yield node

    def classes(self) -> list[ast.ClassDef]:
        """The classes that have a twin, in order."""
        wanted = words.MODULES[self.name]
        found = [node for node in self.tree.body if isinstance(node, ast.ClassDef)]
        if missing := set(wanted) - {one.name for one in found}:
            raise Unfit(f"{self.name} has no {', '.join(sorted(missing))}")
        return [one for one in found if one.name in wanted]

    def has_twin(self, name: str) -> bool:
        """Whether what is called so in this module is a class that has a twin."""
        if name not in TWINS:
            return False
        module = f"from raftstate.client.{TWINS[name]} import"
        return TWINS[name] == self.name or self.imports.get(name, module).startswith(module)

    def literal(self, name: str) -> str | None:
        """The text of a private constant, if it is a plain value."""
        node = self.defined.get(name)
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        return ast.unparse(value) if isinstance(value, ast.Constant) else None


# Where each class with a twin lives: in the source, and here.
TWINS = {name: module for module, names in words.MODULES.items() for name in names}


@dataclass
class Module:
    """What is written."""

    source: Source
    used: set[str] = field(default_factory=set)
    running: set[str] = field(default_factory=set)
    body: list[str] = field(default_factory=list)

    def text(self) -> str:
        """The module's text, before it is formatted."""
        name = self.source.name
        head = words.HEADS.get(name, "")
        doc = document(name, ast.get_docstring(self.source.tree, clean=False) or "")
        parts = [
            HEADER.format(name=name),
            f'"""{doc}"""\n',
            "from __future__ import annotations",
        ]
        parts += sorted(self._imports(head), key=lambda one: one.startswith("import "))
        return "\n".join([*parts, "", head, *self.body]) + "\n"

    def _imports(self, head: str) -> Iterable[str]:
        yield f"from raftstate.client import {self.source.name} as face"
        code = ast.parse("\n".join([head, *self.body]))
        methods = {
            id(item)
            for node in ast.walk(code)
            if isinstance(node, ast.ClassDef)
            for item in node.body
        }
        here = {
            node.name
            for node in ast.walk(code)
            if isinstance(node, ast.ClassDef | Function) and id(node) not in methods
        }
        here |= {
            alias.asname or alias.name
            for node in code.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        here |= {
            target.id
            for node in code.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        known = {*here, "self", "face"}
        for name in sorted(self._names(code) - known):
            yield from self._import(name)

    @staticmethod
    def _names(code: ast.AST) -> set[str]:
        loaded = {node.id for node in ast.walk(code) if isinstance(node, ast.Name)}
        bound = {
            one.arg
            for node in ast.walk(code)
            if isinstance(node, ast.arguments)
            for one in (
                *node.args,
                *node.posonlyargs,
                *node.kwonlyargs,
                node.vararg,
                node.kwarg,
            )
            if one is not None
        }
        stored = {
            node.id
            for node in ast.walk(code)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        caught = {
            node.name
            for node in ast.walk(code)
            if isinstance(node, ast.ExceptHandler) and node.name
        }
        return loaded - bound - stored - caught

    def _import(self, name: str) -> Iterator[str]:
        source = self.source
        if name in words.IMPORTS:
            yield words.IMPORTS[name]
        elif source.has_twin(name):
            yield f"from raftstate.sync.{TWINS[name]} import {name}"
        elif name in source.imports:
            yield source.imports[name]
        elif name in source.defined:
            yield f"from raftstate.client.{source.name} import {name}"
        elif name not in BUILTINS:
            raise Unfit(f"{source.name}: where does {name} come from?")


# --- docstrings --------------------------------------------------------------

_wrong: list[str] = []
_unused = {(place, old) for place, pairs in words.DOCS.items() for old, _ in pairs}


def document(place: str, text: str) -> str:
    """A docstring as it reads without an event loop."""
    for old, new in words.DOCS.get(place, ()):
        plain = re.sub(r"\s+", " ", old)
        pattern = r"\s+".join(map(re.escape, plain.split(" ")))
        found = re.sub(pattern, lambda _, new=new: new, text, count=1)
        if found == text:
            _wrong.append(f"{place} does not say {plain!r}")
        _unused.discard((place, old))
        text = found
    for old, new in words.EVERYWHERE:
        text = re.sub(old, new, text)
    stale = filter(None, (re.search(one, text) for one in words.NEVER))
    _wrong.extend(f"{place} speaks of {one[0]!r}" for one in stale)
    return refilled(text)


# Takes the room of what stands before a docstring's first word.
_QUOTES = "\0" * 11


def refilled(text: str) -> str:
    """The same, with those paragraphs set anew of which a line got too long; not examples,
    whose lines count."""
    # What is set on its own: paragraphs, and the points of a list.
    parts = re.split(r"(\n[ ]*\n|\n(?=[ ]*\* ))", text)
    for number, part in enumerate(parts):
        lead = "" if number else _QUOTES
        lines = (lead + part).split("\n")
        if ">>>" in part or all(len(line) <= words.WIDTH for line in lines):
            continue
        indent = re.match(r" *", lines[-1] if len(lines) > 1 else lines[0])
        first = re.match(r" *", lines[0])
        assert indent is not None
        assert first is not None
        parts[number] = textwrap.fill(
            " ".join(line.strip() for line in lines),
            words.WIDTH,
            initial_indent=first[0],
            subsequent_indent=indent[0],
            break_on_hyphens=False,
            break_long_words=False,
        ).removeprefix(lead)
    return "".join(parts)


# --- types -------------------------------------------------------------------


class Types(ast.NodeTransformer):
    """The types of this face."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in words.TYPES:
            return ast.Name(words.TYPES[node.id], node.ctx)
        literal = self._source.literal(node.id) if node.id.startswith("_") else None
        return ast.parse(literal, mode="eval").body if literal is not None else node


# --- classes -----------------------------------------------------------------


class Twin:
    """Writes the twin of one class."""

    def __init__(self, module: Module, node: ast.ClassDef) -> None:
        self.module = module
        self.source = module.source
        self.node = node
        self.name = node.name
        self.types = Types(self.source)

    def write(self) -> None:
        """Add it to the module."""
        bases = [
            ast.unparse(base)
            for base in self.node.bases
            if isinstance(base, ast.Name) and base.id in TWINS
        ]
        root = "Handle" if self.name in words.HANDLES else "Face"
        if not bases or (root == "Handle" and not set(bases) & words.HANDLES):
            bases.append(root)
        lines = [f"class {self.name}({', '.join(bases)}, of=face.{self.name}):"]
        if doc := ast.get_docstring(self.node, clean=False):
            lines.append(f'    """{document(self.name, doc)}"""')
        if (first := words.BODIES.get(f"{self.name}.__init__")) is not None:
            init = next(
                one
                for one in self.node.body
                if isinstance(one, ast.FunctionDef) and one.name == "__init__"
            )
            first = first.format(passed=", ".join(self._passed(init)))
            lines += [self._signature(init, "__init__"), textwrap.indent(first, " " * 8)]
        opened = ["        self._running.check_opened()"]
        lines += [
            "    @property",
            f"    def _it(self) -> face.{self.name}:",
            *(opened if self.name == "Store" else []),
            f"        return cast(face.{self.name}, self._object)",
        ]
        for name, kind in words.ATTRIBUTES.get(self.name, {}).items():
            doc = words.ATTRIBUTE_DOCS[f"{self.name}.{name}"]
            lines += [
                "    @property",
                f"    def {name}(self) -> {kind}:",
                f'        """{doc}"""',
                f"        return self._it.{name}",
            ]
        for item in self.node.body:
            if isinstance(item, Function) and self._public(item):
                lines += self._method(item)
        lines += [textwrap.indent(words.EXTRAS.get(self.name, ""), " " * 4)]
        self.module.body.append("\n".join(lines) + "\n\n")

    def _public(self, node: Function) -> bool:
        name = node.name
        if any(ast.unparse(one) == "overload" for one in node.decorator_list):
            return False
        if name in words.INTERNAL.get(self.name, ()):
            return False
        return not name.startswith("_") or name in words.PROTOCOL

    def _method(self, node: Function) -> list[str]:
        name = words.PROTOCOL.get(node.name, node.name)
        place = f"{self.name}.{node.name}"
        lines = []
        decorators = [ast.unparse(one) for one in node.decorator_list]
        if "property" in decorators:
            lines.append("    @property")
        if "contextlib.asynccontextmanager" in decorators:
            lines.append("    @contextlib.contextmanager")
        lines.append(self._signature(node, name))
        if doc := ast.get_docstring(node, clean=False):
            lines.append(f'        """{document(place, doc)}"""')
        body = words.BODIES.get(place)
        if body is None:
            body = self._body(node, name, "property" in decorators)
        elif "{passed}" in body:
            body = body.format(passed=", ".join(self._passed(node)))
        return [*lines, textwrap.indent(body, " " * 8)]

    def _signature(self, node: Function, name: str) -> str:
        place = f"{self.name}.{node.name}"
        if place in words.SIGNATURES:
            return f"    def {name}{words.SIGNATURES[place]}:"
        arguments = self.types.visit(node.args)
        returns = self._returns(node)
        return f"    def {name}({ast.unparse(arguments)}) -> {returns}:"

    def _returns(self, node: Function) -> str:
        if node.returns is None:
            raise Unfit(f"{self.name}.{node.name} says not what it gives")
        return ast.unparse(self.types.visit(node.returns))

    def _body(self, node: Function, name: str, is_property: bool) -> str:
        text = self._returns(node)
        if name == "__exit__":
            return "self._running.leave(self._it.__aexit__, error, trace)"
        if name == "__enter__":
            return "self._enter()\nreturn self"
        if name == "__iter__":
            return "return self"
        if is_property:
            return self._wrapped(text, f"self._it.{node.name}")
        call = f"self._it.{node.name}({', '.join(self._passed(node))})"
        if not isinstance(node, ast.AsyncFunctionDef):
            made = self._wrapped(text, call)
            if self.name in words.HANDLES and made.startswith("return self._it"):
                return f"with self._alone():\n    {made}"
            return made
        if text.startswith("Iterator["):
            return f"return self._running.each({call})"
        return f"return self._do({call})" if text != "None" else f"self._do({call})"

    def _wrapped(self, text: str, call: str) -> str:
        if self.source.has_twin(text):
            return f"return {text}({call}, self._running)"
        return f"return {call}"

    def _passed(self, node: Function) -> Iterator[str]:
        """What the method passes on."""
        given = node.args
        for one in (*given.posonlyargs, *given.args):
            if one.arg != "self":
                yield self._converted(node, one)
        if given.vararg is not None:
            yield f"*{given.vararg.arg}"
        for one in given.kwonlyargs:
            yield f"{one.arg}={self._converted(node, one)}"
        if given.kwarg is not None:
            name = given.kwarg.arg
            options = ast.unparse(given.kwarg.annotation) if given.kwarg.annotation else ""
            yield f"**plain_options({name})" if "EffectOptions" in options else f"**{name}"

    def _converted(self, node: Function, one: ast.arg) -> str:
        place = f"{self.name}.{node.name}({one.arg})"
        text = ast.unparse(one.annotation) if one.annotation is not None else ""
        if place in words.CALLED:
            words.called.add(place)
            return words.CALLED[place].format(one.arg)
        if "Callable" in text or text in words.FUNCTION_TYPES:
            raise Unfit(f"{place} is a function of the user's: say how it is called")
        if text.startswith("Iterable["):
            return f"listed({one.arg})"
        return f"{one.arg}._it" if self.source.has_twin(text) else one.arg


# --- all of it ---------------------------------------------------------------


def write(out: Path) -> None:
    """Write the face into a folder."""
    for name in words.MODULES:
        module = Module(Source(name))
        for node in module.source.classes():
            Twin(module, node).write()
        for text in words.FUNCTIONS.get(name, ()):
            module.body.append(function(module.source, *text))
        (out / f"{name}.py").write_text(module.text())
    (out / "__init__.py").write_text(package())
    if _wrong:
        raise Unfit("docstrings:\n" + "\n".join(_wrong))
    if _unused or (stale := words.CALLED.keys() - words.called):
        raise Unfit(f"nothing has these any more: {sorted(map(str, _unused or stale))}")


def function(source: Source, name: str, body: str) -> str:
    """A function of the module, with another body."""
    node = source.defined[name]
    assert isinstance(node, Function)
    arguments = ast.unparse(Types(source).visit(node.args))
    given = node.args
    names = [one.arg for one in given.args] + [
        f"{one.arg}={one.arg}" for one in given.kwonlyargs
    ]
    body = body.format(passed=", ".join(names))
    assert node.returns is not None
    lines = [f"def {name}({arguments}) -> {ast.unparse(node.returns)}:"]
    doc = ast.get_docstring(node, clean=False) or ""
    lines.append(f'    """{document(name, doc)}"""')
    return "\n".join([*lines, textwrap.indent(body, " " * 4)]) + "\n"


def package() -> str:
    """The package's own module: every public name of the async face, of this one."""
    tree = ast.parse((CLIENT / "__init__.py").read_text())
    public = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    origin = {
        alias.name: node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    lines = [HEADER.format(name="__init__"), words.PACKAGE_DOC]
    for name in public:
        module = words.OWN_NAMES.get(name)
        if module is None:
            twin = TWINS.get(name)
            module = f"raftstate.sync.{twin}" if twin else origin[name]
        lines.append(f"from {module} import {name}")
    lines += ["", f"__all__ = {sorted(public)!r}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    write(Path(sys.argv[1]))
