"""Which cells of a chapter show numbers that come out of training.

A processor of another make rounds sums in another order. What is exact, a count, a closed form, a
table of data, does not notice. What is trained does. So the outputs of a cell that uses something
trained carry the tag ``trained`` and are compared with a tolerance, all others to the digit. The
chapter is read, not run: a name is trained once it was given to a function that trains, or computed
from a name that is.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import nbformat

TAG = "trained"
#: Functions that train their first argument, or return what they trained.
TRAINERS = {
    "cross_val_predict",
    "cross_val_score",
    "decompose",
    "fit",
    "fit_predict",
    "fit_transform",
    "fit_until_converged",
    "layerwise",
    "lbfgs",
    "likelihood_regret",
    "partial_fit",
    "pretrain",
    "stacked_features",
}
#: Modules whose functions return what was trained before.
SHELVES = {"compressors", "pretrained"}
MODULES = {"aebook", "anomaly", "boltzmann", "rbm", "training"}


def trained_cells(notebook: nbformat.NotebookNode) -> set[int]:
    """Indices of the code cells that use what was trained, and print."""
    reading = _Reading()
    found = set()
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        tree = ast.parse(re.sub(r"^(\s*)%.*$", r"\1pass", cell.source, flags=re.MULTILINE))
        reading.used = False
        reading.follow(tree.body)
        if reading.used and any(map(_has_words, cell.get("outputs", []))):
            found.add(index)
    return found


def _has_words(output: nbformat.NotebookNode) -> bool:
    """Whether the comparison looks at it: a picture is not compared."""
    return not any(kind.startswith("image/") for kind in output.get("data", {}))


class _Reading:
    def __init__(self) -> None:
        self.used = False
        self.trained: set[str] = set()
        self.parts: dict[str, set[str]] = {}  # what an objective was assembled from
        self.trains: dict[str, set[int]] = {}  # arguments that a chapter's own function trains

    def uses(self, node: ast.AST) -> bool:
        """Whether something trained is in it."""
        known = self.trained | SHELVES
        return any(
            (isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load) and n.id in known)
            or (isinstance(n, ast.Attribute) and n.attr in SHELVES)
            # called, or handed on to be called: partial(fit, objective)
            or (isinstance(n, ast.Call) and not TRAINERS.isdisjoint(map(_name, [n.func, *n.args])))
            for n in ast.walk(node)
        )

    def follow(self, body: list[ast.stmt]) -> None:
        """Read statements in order."""
        for statement in body:
            if isinstance(statement, ast.FunctionDef | ast.ClassDef):
                self._define(statement)
                continue
            if isinstance(statement, ast.ImportFrom):
                # from aebook import fit as train
                for alias in statement.names:
                    if alias.name in TRAINERS and alias.asname:
                        self.trains[alias.asname] = {0}
                        self._mark(alias.asname)
            # of a loop, a condition or a context what stands on its first line
            inner = [getattr(statement, part, []) for part in ("body", "orelse", "finalbody")]
            branches = [*getattr(statement, "handlers", []), *getattr(statement, "cases", [])]
            inner += [branch.body for branch in branches]
            first = [
                n
                for n in ast.iter_child_nodes(statement)
                if not isinstance(n, ast.stmt | ast.excepthandler | ast.match_case)
            ]
            for call in (n for node in first for n in ast.walk(node) if isinstance(n, ast.Call)):
                self._train(call)
            self.used |= any(map(self.uses, first))
            for target, value in _bindings(statement, first):
                self._bind(target, value)
            # twice, since a loop's end comes before its next beginning
            for part in (*inner, *inner) if any(inner) else ():
                self.follow(part)

    def _bind(self, target: ast.AST, value: ast.AST) -> None:
        if self.uses(value):
            self._mark(*map(_root, _targets(target)))
            return
        for name in _targets(target):
            if isinstance(name, ast.Name):
                self.trained.discard(name.id)
                self.parts[name.id] = set(_names(value))

    def _define(self, definition: ast.FunctionDef | ast.ClassDef) -> None:
        inside = _Reading()
        own = {a.arg for a in ast.walk(definition) if isinstance(a, ast.arg)}
        inside.trained |= self.trained - own
        inside.trains |= self.trains
        inside.follow(definition.body)
        if isinstance(definition, ast.FunctionDef):
            names = [a.arg for a in definition.args.args]
            self.trains[definition.name] = {
                i for i, name in enumerate(names) if name in inside.trained
            }
        if inside.uses(definition):
            self._mark(definition.name)
        else:
            self.trained.discard(definition.name)

    def _train(self, call: ast.Call) -> None:
        name = _name(call.func)
        if name in TRAINERS:
            method = isinstance(call.func, ast.Attribute)
            module = method and _root(call.func) in MODULES
            if method and not module:
                # a class in StandardScaler().fit(x) is not trained, its instance is returned
                if isinstance(call.func.value, ast.Name | ast.Attribute):
                    self._mark(_root(call.func))
            elif call.args:
                self._mark(_root(call.args[0]))
        elif name == "step" and isinstance(call.func, ast.Attribute):
            # an optimiser's, and what it was given
            root = _root(call.func)
            self._mark(root, *(self.parts.get(root or "", set()) - MODULES - {"torch", "optim"}))
        elif name in self.trains:
            self._mark(*(_root(a) for i, a in enumerate(call.args) if i in self.trains[name]))
        elif isinstance(call.func, ast.Attribute) and any(map(self.uses, call.args)):
            # scores.append(trained)
            root = _root(call.func)
            if root in self.parts:
                self._mark(root)

    def _mark(self, *names: str | None) -> None:
        for name in names:
            if name is None or name in self.trained:
                continue
            self.trained.add(name)
            # the model of a trained objective, and the objective of a trained model
            assembled = {"model", "objective", "net", "network", "encoder", "decoder"}
            self._mark(*(self.parts.get(name, set()) & assembled))
            self._mark(*(n for n in assembled if name in self.parts.get(n, set())))


def _name(node: ast.AST) -> str | None:
    """Of a function, with or without its module."""
    return getattr(node, "attr", getattr(node, "id", None))


def _names(node: ast.AST) -> Iterator[str]:
    return (n.id for n in ast.walk(node) if isinstance(n, ast.Name))


def _root(node: ast.AST) -> str | None:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call | ast.Starred):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def _targets(node: ast.AST) -> list[ast.AST]:
    if isinstance(node, ast.Tuple | ast.List):
        return [target for element in node.elts for target in _targets(element)]
    return [node]


def _bindings(statement: ast.stmt, first: list[ast.AST]) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Pairs of target and value that a statement binds."""
    if isinstance(statement, ast.Assign):
        yield from ((target, statement.value) for target in statement.targets)
    elif isinstance(statement, ast.AugAssign | ast.AnnAssign) and statement.value is not None:
        yield statement.target, statement.value
    elif isinstance(statement, ast.For):
        yield statement.target, statement.iter
    elif isinstance(statement, ast.With):
        yield from ((i.optional_vars, i.context_expr) for i in statement.items if i.optional_vars)
    for node in first:
        inside = (n for n in ast.walk(node) if isinstance(n, ast.NamedExpr))
        yield from ((n.target, n.value) for n in inside)
