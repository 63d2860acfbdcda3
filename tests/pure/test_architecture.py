"""Who may import whom, and what `import durastate` may load."""

from __future__ import annotations

import ast
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import durastate

_ROOT = Path(durastate.__file__).parent
_CORE = (
    "details",
    "models",
    "errors",
    "structure",
    "arguments",
    "loops",
    "decoding",
    "refs",
    "requests",
    "signing",
    "retries",
    "pace",
    "gates",
    "limits",
    "outages",
    "hooks",
    "clock",
    "redaction",
    "history",
    "saved",
    "executions",
    "responses",
    "threads",
    "providers",
    "aws",
    "surplus",
    "deadlines",
    "addresses",
    "aiohttp_protocol",
    "answers",
    "http1",
    "over_aiohttp",
    "transport",
    "bulk",
    "calls",
    "targets",
    "walk",
    "whole",
    "many",
)
MAY_IMPORT = {
    "errors": set(),
    "arguments": set(),
    "loops": {"errors"},
    "details": set(),
    "models": {"details", "errors"},
    "structure": {"errors"},
    "decoding": {"details", "models", "errors", "structure"},
    "refs": {"models", "errors", "decoding"},
    "requests": {"errors", "models"},
    "signing": {"errors", "models"},
    "retries": {"arguments", "errors", "models"},
    "pace": set(),
    "gates": {"pace"},
    "limits": {"arguments", "errors", "models", "pace", "gates", "requests"},
    "outages": {"errors"},
    "hooks": set(),
    "history": {"details", "errors", "models", "decoding"},
    "saved": {"errors", "decoding", "history"},
    "executions": {"details", "errors", "decoding"},
    "clock": set(),
    "redaction": set(),
    "responses": {"errors", "models", "decoding", "redaction", "requests", "retries"},
    "threads": set(),
    "providers": {"errors", "redaction"},
    "aws": {"arguments", "errors", "providers", "signing", "threads"},
    "surplus": set(),
    "deadlines": set(),
    "addresses": set(),
    "answers": {"errors", "surplus"},
    "http1": {"addresses", "answers", "deadlines", "errors", "gates", "surplus"},
    "aiohttp_protocol": {"surplus"},
    "over_aiohttp": {
        *("addresses", "aiohttp_protocol", "deadlines", "errors", "gates", "surplus"),
    },
    "transport": {
        *("errors", "models", "requests", "signing", "gates", "aws", "http1", "over_aiohttp"),
        "clock",
    },
    "bulk": {"arguments", "errors", "loops", "models", "refs"},
    "calls": {
        *("errors", "gates", "hooks", "limits", "outages", "pace", "requests", "responses"),
        *("retries", "transport", "clock"),
    },
    "targets": {
        *("arguments", "calls", "decoding", "errors", "executions", "history", "models", "pace"),
        *("refs", "requests"),
    },
    "walk": {"calls", "decoding", "errors", "gates", "hooks", "requests", "targets"},
    "whole": {
        *("calls", "errors", "gates", "history", "models", "refs", "retries", "targets"),
        "walk",
    },
    "many": {"bulk", "calls", "errors", "gates", "refs", "targets", "walk", "whole"},
    "client": set(_CORE),
    "": {*_CORE, "client"},
    "audit": {
        *("arguments", "details", "errors", "limits", "models", "redaction", "refs", "requests"),
        "signing",
        *("threads", ""),
    },
    "__main__": {"cli"},
    "cli": {*_CORE, "client", "audit", "emulator", ""},
    "emulator": {"models", "errors", "requests"},
    "testing": {
        *("client", "emulator", "errors", "gates", "hooks", "limits", "requests", "retries"),
        "transport",
    },
}
# For the version in the user agent; this runs long after the package has been imported.
_ALLOWED_LATE = {("aws", "__version__")}
_HEAVY = {"aiobotocore", "botocore", "aiohttp", "yarl"}
_OF_AUDIT = {"pyarrow", "duckdb"}
# The audit asks two things beside the four calls, of aliases and quotas, of aiobotocore itself.
_MAY_BE_HEAVY = {
    *("aws", "aiohttp_protocol", "providers", "over_aiohttp", "emulator", "cli", "audit"),
}


def parts() -> dict[str, list[Path]]:
    """The files of each module or subpackage of ours; "" is the package itself."""
    found: dict[str, list[Path]] = {}
    for path in sorted(_ROOT.rglob("*.py")):
        first = path.relative_to(_ROOT).parts[0]
        name = "" if first == "__init__.py" else first.removesuffix(".py")
        found.setdefault(name, []).append(path)
    return found


def statements(path: Path, *, typing_too: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports in a file, inside functions too; with or without those for type checkers."""

    def walk(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        if not typing_too and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        for child in ast.iter_child_nodes(node):
            yield from walk(child)

    yield from walk(ast.parse(path.read_text(encoding="utf-8"), str(path)))


def absolute(path: Path, statement: ast.Import | ast.ImportFrom) -> list[str]:
    """The dotted names that a statement imports."""
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    package = ["durastate", *path.relative_to(_ROOT).parts[:-1]]
    base = package[: len(package) - statement.level + 1] if statement.level else []
    module = ".".join([*base, *([statement.module] if statement.module else [])])
    return [f"{module}.{alias.name}" for alias in statement.names]


def imports_of(name: str) -> set[str]:
    """Which of our modules `name` imports; names of the package itself as themselves."""
    found = set()
    for path in parts()[name]:
        for statement in statements(path, typing_too=True):
            for imported in absolute(path, statement):
                top, *rest = imported.split(".")
                if top == "durastate":
                    found.add(rest[0] if rest else "")
    return found


def test_every_module_is_in_the_table() -> None:
    assert set(parts()) <= set(MAY_IMPORT), "add the module to the table, and say what it may use"


@pytest.mark.parametrize("name", sorted(parts()))
def test_a_module_imports_only_what_the_table_allows(name: str) -> None:
    allowed = MAY_IMPORT[name] | {name}
    public = set(durastate.__all__) | {"__version__"}
    for imported in imports_of(name):
        if (name, imported) in _ALLOWED_LATE:
            continue
        if "" in allowed and imported in public:
            continue  # `from durastate import StateClient`
        assert imported in allowed, f"{name} imports {imported}"


def test_the_table_has_no_cycle() -> None:
    above: dict[str, set[str]] = {name: set(below) for name, below in MAY_IMPORT.items()}
    while above:
        leaves = {name for name, below in above.items() if not below & set(above)}
        assert leaves, f"a cycle among {sorted(above)}"
        above = {name: below for name, below in above.items() if name not in leaves}


@pytest.mark.parametrize("name", sorted(set(parts()) - _MAY_BE_HEAVY))
def test_only_the_edge_uses_aiobotocore_botocore_and_aiohttp(name: str) -> None:
    for path in parts()[name]:
        for statement in statements(path, typing_too=False):
            tops = {imported.split(".")[0] for imported in absolute(path, statement)}
            assert not tops & _HEAVY, f"{path.name}: line {statement.lineno}"


@pytest.mark.parametrize("name", sorted(set(parts()) - {"audit"}))
def test_only_the_audit_uses_pyarrow_and_duckdb(name: str) -> None:
    for path in parts()[name]:
        for statement in statements(path, typing_too=False):
            tops = {imported.split(".")[0] for imported in absolute(path, statement)}
            assert not tops & _OF_AUDIT, f"{path.name}: line {statement.lineno}"


def fresh_interpreter(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(_ROOT.parent), "PATH": ""},
    )
    return done.stdout.split()


def test_no_name_of_durastate_loads_anything_heavy() -> None:
    loaded = {name.split(".")[0] for name in fresh_interpreter("from durastate import *")}
    assert "durastate" in loaded
    assert not loaded & (_HEAVY | _OF_AUDIT | {"click", "rich", "boto3"})


def test_no_name_of_durastate_loads_the_command_or_what_is_for_tests() -> None:
    modules = fresh_interpreter("from durastate import *")
    loaded = {".".join(name.split(".")[:2]) for name in modules}
    assert "durastate.client" in loaded
    assert not loaded & {"durastate.cli", "durastate.emulator", "durastate.testing"}


def test_import_durastate_loads_no_module_of_its_own_before_a_name_is_used() -> None:
    ours = {name for name in fresh_interpreter("import durastate") if "durastate." in name}
    assert ours == set()
    used = fresh_interpreter("import durastate\ndurastate.DurastateError")
    assert {name for name in used if "durastate." in name} == {"durastate.errors"}


def test_the_help_of_the_command_loads_nothing_of_the_library() -> None:
    loaded = set(fresh_interpreter("import durastate.cli.app"))
    assert {name.split(".")[1] for name in loaded if name.startswith("durastate.")} == {"cli"}
    assert not {"asyncio", "orjson", "rich", "json"} & loaded


def test_of_what_is_for_tests_only_the_fixtures_need_pytest() -> None:
    loaded = fresh_interpreter("import durastate.testing")
    assert "durastate.testing.scripted" in loaded
    assert not {"pytest", "_pytest", "pytest_asyncio", "durastate.testing.fixtures"} & set(loaded)


def test_type_checkers_find_each_name_where_it_is_loaded_from() -> None:
    names = list(statements(_ROOT / "__init__.py", typing_too=True))
    told = {
        alias.name: f"durastate.{statement.module}"
        for statement in names
        if isinstance(statement, ast.ImportFrom) and statement.level == 1
        for alias in statement.names
    }
    assert sorted(told) == durastate.__all__
    for name, module in told.items():
        assert getattr(durastate, name) is getattr(sys.modules[module], name)


def test_the_package_lists_its_names_before_they_are_used() -> None:
    code = "import durastate\nassert set(durastate.__all__) <= set(dir(durastate))"
    assert "durastate.client" not in fresh_interpreter(code)


def test_a_name_that_the_package_has_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'durastate' has no attribute 'Fetch'"):
        _ = durastate.Fetch  # type: ignore[attr-defined]


def test_a_pickle_is_read_by_an_interpreter_that_has_used_no_name_yet() -> None:
    ref = durastate.ExecutionRef("arn:aws:lambda:eu-west-1:123456789012:function:f:1/x/y")
    code = f"import pickle\nprint(pickle.loads({pickle.dumps(ref)!r}) is None)"
    assert "durastate.refs" in fresh_interpreter(code)


def test_the_public_names_are_sorted_and_exist() -> None:
    assert durastate.__all__ == sorted(durastate.__all__)
    assert all(hasattr(durastate, name) for name in durastate.__all__)
    assert len(set(durastate.__all__)) == len(durastate.__all__)
