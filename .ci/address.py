"""The repository's address on GitHub: `make address REPO=owner/name` writes it into every badge, install cell and link.

pyproject.toml holds the address, under [project.urls]. Without an argument this command checks the other files: it
prints each link that has another address and exits with 1.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = ("*.toml", "*.md", "*.cff", "docs/**/*.md", "notebooks/**/*.ipynb", ".github/**/*.*", "vidseg_utils/**/*.py")
REPOSITORY = r"[A-Za-z0-9-]+/[A-Za-z0-9_.-]*[A-Za-z0-9_-]"
# A Colab badge, a pip install and a raw file always mean this repository; a plain link may mean another one.
OWN_PREFIXES = (r"colab\.research\.google\.com/github/", r"git\+https://github\.com/", r"raw\.githubusercontent\.com/")
OWN_LINK = re.compile(rf"(?:{'|'.join(OWN_PREFIXES)})({REPOSITORY})")
ANY_LINK = re.compile(rf"({'|'.join(OWN_PREFIXES)}|github\.com/)({REPOSITORY})")


def read_address() -> str:
    """owner/name from pyproject.toml."""
    line = rf'^Repository = "https://github\.com/({REPOSITORY})"$'
    found = re.search(line, (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        sys.exit('error: pyproject.toml has no line Repository = "https://github.com/owner/name"')
    return found[1]


def text_files() -> Iterator[Path]:
    """Every file that may hold a link to the repository."""
    for pattern in FILES:
        yield from (path for path in sorted(ROOT.glob(pattern)) if path.is_file())


def find_strays() -> Iterator[str]:
    """`file:line: owner/name` of each link to this repository whose address is not the one in pyproject.toml."""
    address = read_address()
    name = address.split("/")[1]
    for path in text_files():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            linked = set(OWN_LINK.findall(line))
            linked |= {repository for _, repository in ANY_LINK.findall(line) if repository.split("/")[1] == name}
            yield from (f"{path.relative_to(ROOT)}:{number}: {stray}" for stray in sorted(linked - {address}))


def write_address(new: str) -> None:
    """Replace the address in every file that holds it."""
    if not re.fullmatch(REPOSITORY, new):
        sys.exit(f"error: {new!r} is not an address; give owner/name, as in make address REPO=anna/vidseg")
    old = read_address()
    for path in text_files():
        text = path.read_text(encoding="utf-8")
        changed = ANY_LINK.sub(lambda link: link[1] + (new if link[2] == old else link[2]), text)
        if changed != text:
            path.write_text(changed, encoding="utf-8")
            print(path.relative_to(ROOT))


def main() -> None:
    """With an address: write it. Without: check."""
    if len(sys.argv) > 1:
        write_address(sys.argv[1])
    if found := list(find_strays()):
        sys.exit("\n".join(["error: links with another address than pyproject.toml:", *found]))


if __name__ == "__main__":
    main()
