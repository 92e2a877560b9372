"""Proves that the rooms (folders) of the package import in one direction only, so that there are no import cycles."""

import ast
from pathlib import Path

import vidseg_utils

PACKAGE = Path(vidseg_utils.__file__).parent
# A room may import from the rooms in the lines above it and from itself, not from other rooms in its line.
ORDER = (
    ("checks", "classes", "device", "file_lock", "paths", "progress", "task", "usage"),
    ("profiles", "run_folders"),
    ("world",),
    ("simulator", "renderer", "metrics"),
    ("data",),
    ("models",),
    ("training",),
    ("systems",),
    ("evaluation",),
    ("visualisation",),
    ("running",),
    ("weights",),
)
LEVEL = {room: number for number, rooms in enumerate(ORDER) for room in rooms}


def imported_modules(path: Path) -> set[str]:
    """Modules of the package that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.startswith("vidseg_utils.")}


def test_every_room_is_in_the_order():
    rooms = {path.stem if path.is_file() else path.name for path in PACKAGE.iterdir()}
    rooms -= {"__init__", "__pycache__", "py"}
    assert rooms == set(LEVEL)


def test_rooms_import_only_from_rooms_above_them():
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        room = parts[0]
        if room == "__init__":
            continue
        for module in imported_modules(path):
            other = module.split(".")[1]
            if other in LEVEL and other != room and LEVEL[other] >= LEVEL[room]:
                wrong.append(f"{'/'.join(parts)} imports {module}")
    assert not wrong, "\n".join(sorted(wrong))


def test_relative_imports_are_not_used():
    relative = [
        path.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not relative
