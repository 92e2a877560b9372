"""The package's rooms import one way: each only from those before it, and no file is imported in a circle."""

import ast
from pathlib import Path

import vidseg_utils

PACKAGE = Path(vidseg_utils.__file__).parent
# Each line may import from the lines above it, and a room from itself; rooms of one line do not know each other.
ORDER = (
    ("checks", "classes", "paths", "task"),
    ("profiles",),
    ("world",),
    ("simulator", "renderer", "metrics"),
    ("data",),
    ("models",),
    ("training",),
    ("systems",),
    ("evaluation",),
    ("visualisation",),
    ("running",),
)
FLOOR = {room: number for number, rooms in enumerate(ORDER) for room in rooms}


def imported_modules(path: Path) -> set[str]:
    """Modules of the package that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.startswith("vidseg_utils.")}


def test_every_room_has_its_place_in_the_order():
    rooms = {path.stem if path.is_file() else path.name for path in PACKAGE.iterdir()}
    rooms -= {"__init__", "__pycache__", "py", "weights"}
    assert rooms == set(FLOOR)


def test_rooms_import_only_from_rooms_before_them():
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        room = parts[0]
        if room == "__init__":
            continue
        for module in imported_modules(path):
            other = module.split(".")[1]
            if other in FLOOR and other != room and FLOOR[other] >= FLOOR[room]:
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
