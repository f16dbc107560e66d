"""Where tools come from besides Highway itself: a folder, installed packages, dotted paths."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from highway_core.config import Settings
from highway_core.errors import ConfigError, ToolNotFoundError
from highway_core.tools.decorators import TOOL_INFO, TOOL_REGISTRY
from highway_core.tools.registry import ToolRegistry

TOOL = "from highway_core.tools.decorators import tool\n"


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    functions, modules = set(TOOL_REGISTRY), set(sys.modules)
    yield
    for name in set(TOOL_REGISTRY) - functions:
        if not TOOL_REGISTRY[name].__module__.startswith("highway_core."):
            del TOOL_REGISTRY[name]
            TOOL_INFO.pop(name, None)
    for name in set(sys.modules) - modules:
        if name.startswith(("highway_tools_dir_", "shop")):
            del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "tools"
    made.mkdir()
    return made


def registry_of(folder: Path) -> ToolRegistry:
    return ToolRegistry(Settings(tools_dir=folder))


def test_the_files_of_the_folder_register_their_tools(folder: Path) -> None:
    (folder / "a.py").write_text(TOOL + "@tool('shop.a')\ndef a(): return 'a'\n")
    (folder / "b.py").write_text(TOOL + "@tool('shop.b', stoppable=True)\ndef b(): return 'b'\n")
    registry = registry_of(folder)
    assert registry.get_function("shop.a")() == "a"
    assert registry.resolve("shop.b").stoppable
    assert {"shop.a", "shop.b"} <= set(registry.names())


def test_files_that_start_with_an_underscore_are_for_the_others_to_import(folder: Path) -> None:
    (folder / "_shared.py").write_text("PRICE = 3\n")
    (folder / "a.py").write_text(TOOL + "from ._shared import PRICE\n@tool('shop.price')\ndef a(): return PRICE\n")
    (folder / "notes.txt").write_text("not Python")
    assert registry_of(folder).get_function("shop.price")() == 3


def test_a_folder_is_loaded_once_and_only_when_a_name_needs_it(folder: Path) -> None:
    (folder / "a.py").write_text(
        TOOL
        + f"with open({str(folder / 'loads')!r}, 'a') as loads: loads.write('x')\n"
        + "@tool('shop.a')\ndef a(): ...\n"
    )
    registry_of(folder).resolve("tools.log.info")
    assert not (folder / "loads").exists()
    registry_of(folder).resolve("shop.a")
    registry_of(folder).names()
    assert (folder / "loads").read_text() == "x"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\ny = x / 0\n", "line 2: ZeroDivisionError: division by zero"),
        ("def broken(:\n", "line 1: SyntaxError: "),
        ("\nimport no_such_module_here\n", "line 2: ModuleNotFoundError: No module named 'no_such_module_here'"),
        ("import sys\nsys.exit(3)\n", "line 2: SystemExit: 3"),
        (TOOL + "@tool('tools.log.info')\ndef a(): ...\n", "line 2: ValueError: Duplicate tool name: tools.log.info"),
        ("def f():\n    raise LookupError('deep')\n\nf()\n", "line 2: LookupError: deep"),
    ],
)
def test_a_file_that_fails_is_named_with_line_and_error(folder: Path, text: str, said: str) -> None:
    (folder / "a.py").write_text(text)
    with pytest.raises(ConfigError) as caught:
        registry_of(folder).resolve("shop.a")
    assert str(caught.value).startswith(f"Cannot load tool file {folder / 'a.py'}, {said}")
    assert caught.value.__cause__ is not None


def test_a_file_that_was_repaired_loads_the_next_time(folder: Path) -> None:
    path = folder / "a.py"
    path.write_text(TOOL + "@tool('shop.a')\ndef a(): return 1\nraise ValueError\n")
    registry = registry_of(folder)
    with pytest.raises(ConfigError):
        registry.names()
    path.write_text(TOOL + "@tool('shop.a')\ndef a(): return 2222\n")
    registry.names()
    assert registry.get_function("shop.a")() == 2222


def test_a_folder_that_is_not_there_is_a_config_error(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"HIGHWAY_TOOLS_DIR=.*missing' is not a folder"):
        registry_of(folder / "missing").names()


def test_a_file_name_that_python_cannot_import_is_refused(folder: Path) -> None:
    (folder / "my-tools.py").write_text("")
    with pytest.raises(ConfigError, match=r"my-tools\.py: a tool file needs a name that Python can import"):
        registry_of(folder).names()


def install(site: Path, entry_points: str, module: str) -> None:
    """What pip leaves behind of a package with entry points."""
    info = site / "shop_tools-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-tools\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[highway_core.tools]\n{entry_points}\n")
    (site / "shop_tools.py").write_text(module)


def test_an_installed_package_offers_a_module_of_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "shop = shop_tools", TOOL + "@tool('shop.sell')\ndef sell(): return 'sold'\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry = ToolRegistry(Settings())
    registry.resolve("tools.log.info")
    assert "shop_tools" not in sys.modules
    assert registry.get_function("shop.sell")() == "sold"
    assert "shop.sell" in ToolRegistry(Settings()).names()


def test_an_installed_package_offers_one_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "shop.buy = shop_tools:buy", "def buy(): return 'bought'\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert ToolRegistry(Settings()).get_function("shop.buy")() == "bought"
    assert "shop.buy" in ToolRegistry(Settings()).names()


def test_an_entry_point_does_not_take_the_name_of_a_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "tools.log.info = shop_tools:buy", "def buy(): return 'bought'\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"Duplicate tool name: tools\.log\.info"):
        ToolRegistry(Settings()).names()


def test_an_installed_package_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "shop = shop_tools", "\nraise LookupError('no stock')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError) as caught:
        ToolRegistry(Settings()).names()
    said = str(caught.value)
    assert said.startswith("Cannot load entry point 'shop' (shop_tools) of package 'shop-tools'")
    assert said.endswith("shop_tools.py, line 2: LookupError: no stock")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("def top(): return 'top'\n")
    (package / "prices.py").write_text(
        "from highway_core.tools.context import ToolContext\n"
        "RATE = 19\n"
        "def gross(net): return net * 1.19\n"
        "def mine(context: ToolContext): ...\n"
    )
    (package / "broken.py").write_text("import shop.nowhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    return package


def test_a_function_of_an_allowed_module_is_called_by_its_path(shop: Path) -> None:
    registry = ToolRegistry(Settings(tool_modules=("shop",)))
    assert registry.get_function("shop.prices.gross")(100) == 119
    assert registry.get_function("shop.top")() == "top"
    assert registry.resolve("shop.prices.mine").inject == "context"
    assert registry.resolve("shop.prices.gross") is registry.resolve("shop.prices.gross")
    assert "shop.prices.gross" not in TOOL_REGISTRY


def test_a_module_that_is_not_allowed_is_not_even_imported_and_the_way_out_is_told(shop: Path) -> None:
    for allowed in ((), ("sho",), ("shop.pric",), ("shop.prices.gross",)):
        with pytest.raises(ToolNotFoundError) as caught:
            ToolRegistry(Settings(tool_modules=allowed)).resolve("shop.prices.gross")
        assert "Tool 'shop.prices.gross' not found." in str(caught.value)
        assert "add 'shop.prices' to HIGHWAY_TOOL_MODULES" in str(caught.value)
    assert "shop.prices" not in sys.modules


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shop.prices.net", "Module 'shop.prices' has nothing called 'net'."),
        ("shop.prices.RATE", "Module 'shop.prices' has no function, but a value, under 'RATE'."),
        ("shop.nowhere.net", "There is no Python module 'shop.nowhere'."),
    ],
)
def test_a_path_to_nothing_says_what_is_missing(shop: Path, name: str, said: str) -> None:
    with pytest.raises(ToolNotFoundError) as caught:
        ToolRegistry(Settings(tool_modules=("shop",))).resolve(name)
    assert str(caught.value) == f"Tool '{name}' not found. {said}"


def test_an_allowed_module_that_fails_is_named(shop: Path) -> None:
    with pytest.raises(ConfigError, match=r"Cannot load module 'shop\.broken' of HIGHWAY_TOOL_MODULES.*broken\.py"):
        ToolRegistry(Settings(tool_modules=("shop",))).resolve("shop.broken.x")


def test_a_run_that_only_logs_loads_no_heavy_library() -> None:
    code = (
        "import sys\n"
        "from highway_core.config import Settings\n"
        "from highway_core.tools.registry import ToolRegistry\n"
        "registry = ToolRegistry(Settings())\n"
        "for name in ('tools.log.info', 'tools.memory.set', 'human.request_approval', 'tools.workflow.execute'):\n"
        "    registry.resolve(name)\n"
        "heavy = ('requests', 'sqlalchemy', 'docker', 'smtplib', 'pydantic', 'asyncio', 'importlib.metadata')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
