"""The layers, walked through the imports of every module. Each violation is told by module and import."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

OPERATOR = Path(__file__).parents[2] / "operator"
PACKAGE = OPERATOR / "slipway"

# A module may import from its own layer and from lower ones. The three modules beside the layers have a place too.
RANK = {
    "errors": 0,
    "api": 1,
    "build": 2,
    "core": 3,
    "telemetry": 4,
    "adapters": 5,
    "settings": 6,
    "loop": 7,
    "handlers": 8,
    "__main__": 9,
}
PURE = ("api", "build", "core")
NOT_PURE = frozenset(
    {"kopf", "kubernetes", "aiohttp", "tritonclient", "torch", "time", "random", "logging", "os", "asyncio", "socket"}
)
# These may be imported by the modules named here and by nobody else.
RESERVED = {
    "kopf": ("handlers/",),
    "kubernetes": ("adapters/connection.py",),
    "torch": (),
    "tritonclient": (),
}
# Handlers that make kopf write to users' objects, or die silently: reference/kopf.md, section 0.
FORBIDDEN_HANDLERS = frozenset(
    {"create", "update", "delete", "resume", "field", "timer", "daemon", "index", "mutate", "validate"}
)


class Module:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = path.relative_to(PACKAGE).as_posix()
        self.tree = ast.parse(path.read_text(encoding="utf-8"))

    @property
    def layer(self) -> str:
        return self.place.split("/")[0].removesuffix(".py")

    def imports(self) -> Iterator[str]:
        """Full dotted names; `from a import b` gives `a.b`, because b may be a module."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.place} imports relatively; write the full name"
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


MODULES = [Module(path) for path in sorted(PACKAGE.rglob("*.py"))]


def ranked(name: str) -> int | None:
    parts = name.split(".")
    return RANK.get(parts[1]) if parts[0] == "slipway" and len(parts) > 1 else None


def upward(module: Module) -> list[str]:
    if module.place == "__init__.py":
        return []
    return [
        f"{module.place} imports {name}, which lies in a higher layer"
        for name in module.imports()
        if (rank := ranked(name)) is not None and rank > RANK[module.layer]
    ]


def impure(module: Module) -> list[str]:
    return [
        f"{module.place} imports {name}; {', '.join(PURE)} must stay pure"
        for name in module.imports()
        if module.layer in PURE and name.split(".")[0] in NOT_PURE
    ]


def reserved(module: Module) -> list[str]:
    return [
        f"{module.place} imports {name}, which only {allowed or 'nobody in the operator'} may"
        for name in module.imports()
        if (allowed := RESERVED.get(name.split(".")[0])) is not None and not module.place.startswith(allowed or ("\0",))
    ]


def private(module: Module) -> list[str]:
    return [
        f"{module.place} imports {name}, a private module of a dependency"
        for name in module.imports()
        if name.split(".")[0] not in sys.stdlib_module_names
        and any(part.startswith("_") and part != "__version__" for part in name.split(".")[1:])
    ]


def environment(module: Module) -> list[str]:
    if module.place == "settings.py":
        return []
    return [
        f"{module.place}:{node.lineno} reads the environment; only settings.py may"
        for node in ast.walk(module.tree)
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv"))
        or (isinstance(node, ast.ImportFrom) and node.module == "os")
    ]


def kopf_handlers(module: Module) -> list[str]:
    return [
        f"{module.place}:{node.lineno} uses kopf's .{node.attr}, which writes to users' objects or dies silently"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
        and node.attr in FORBIDDEN_HANDLERS
        and ast.unparse(node.value) in ("kopf", "kopf.on", "on")
    ]


RULES = (upward, impure, reserved, private, environment, kopf_handlers)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_module_breaks_the_rule(rule) -> None:  # type: ignore[no-untyped-def]
    assert [violation for module in MODULES for violation in rule(module)] == []


def test_every_module_has_a_layer() -> None:
    assert {module.layer for module in MODULES} - {"__init__"} == set(RANK)


def test_the_operator_directory_is_no_package() -> None:
    """It would shadow the standard library's module `operator`."""
    assert not (OPERATOR / "__init__.py").exists()


@pytest.mark.parametrize(
    ("place", "source", "rule", "words"),
    [
        ("core/x.py", "from slipway.adapters.clock import Clock", upward, "core/x.py imports slipway.adapters.clock"),
        ("api/x.py", "from slipway import telemetry", upward, "api/x.py imports slipway.telemetry"),
        ("build/x.py", "import time", impure, "build/x.py imports time"),
        ("loop/x.py", "import kopf", reserved, "loop/x.py imports kopf"),
        ("adapters/x.py", "import kubernetes.aio", reserved, "adapters/x.py imports kubernetes.aio"),
        ("handlers/x.py", "import torch", reserved, "handlers/x.py imports torch"),
        ("handlers/x.py", "from kopf._cogs.clients import api", private, "kopf._cogs.clients.api"),
        ("loop/x.py", "import os\nos.environ['A']", environment, "loop/x.py:2 reads the environment"),
        ("handlers/x.py", "import kopf\n@kopf.on.create('a')\ndef f(): ...", kopf_handlers, "handlers/x.py:2 uses"),
        ("handlers/x.py", "import kopf\n@kopf.timer('a')\ndef f(): ...", kopf_handlers, "handlers/x.py:2 uses"),
    ],
)
def test_the_walk_finds_what_it_looks_for(tmp_path: Path, place: str, source: str, rule, words: str) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "x.py").write_text(source)
    module = Module.__new__(Module)
    module.place, module.tree = place, ast.parse(source)
    (violation,) = rule(module)
    assert words in violation
