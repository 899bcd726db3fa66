"""Notes each `raise` of the package that runs, in a file beside pytest's cache, once `install` was called: in every process
that has this folder on its path, those that `never_raised.py` starts and their children. A child with `-I` stays unseen.

The modules of `rl2f_hub` are compiled from their source with a note before each site, and nothing of that is cached.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

KNOWN = Path(__file__).resolve().parents[3] / ".pytest_cache" / "raised.txt"
BUILDERS = ("UsageError", "RL2FError", "Refusal", "BadCard", "BadParameter")


def sites(tree: ast.Module) -> dict[ast.stmt, str]:
    """Statements that raise something new, or return an error for their caller to raise: each with its name.

    The name is the function's and the statement's source, so that it outlives edits elsewhere in the file.
    """
    found: dict[ast.stmt, str] = {}

    def look(node: ast.AST, within: str) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            within = f"{within}.{node.name}".lstrip(".")
        if isinstance(node, ast.Raise) and node.exc is not None:
            again = isinstance(node.exc, ast.Name) and node.exc.id.islower()  # what was caught
            found.update({} if again else {node: f"{within}: {' '.join(ast.unparse(node).split())}"})
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.Call):
            called = node.value.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            found.update({node: f"{within}: {' '.join(ast.unparse(node).split())}"} if name in BUILDERS else {})
        for inner in ast.iter_child_nodes(node):
            look(inner, within)

    look(tree, "")
    return found


class _Noting(ast.NodeTransformer):
    def __init__(self, tree: ast.Module, file: str) -> None:
        self.place, self.sites = file[file.rindex("rl2f_hub/") :], sites(tree)

    def generic_visit(self, node: ast.AST) -> ast.AST | list[ast.AST]:
        super().generic_visit(node)
        if not isinstance(node, ast.stmt) or node not in self.sites:
            return node
        note = ast.parse(f"__import__('raised_sites').note({f'{self.place} {self.sites[node]}'!r})").body[0]
        for inner in ast.walk(note):
            ast.copy_location(inner, node)
        return [note, node]


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        tree = ast.parse(self.get_data(path), path)
        return compile(ast.fix_missing_locations(_Noting(tree, path).visit(tree)), path, "exec", dont_inherit=True)


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != "rl2f_hub":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def note(site: str) -> None:
    """Appends one site; a line goes out in one write, so that processes do not mix theirs."""
    if site not in _noted:
        _noted.add(site)
        with open(KNOWN, "ab", buffering=0) as log:
            log.write(f"{site}\n".encode())


_noted: set[str] = set()


def install() -> None:
    if KNOWN.parent.is_dir():
        sys.meta_path.insert(0, _Finder())
