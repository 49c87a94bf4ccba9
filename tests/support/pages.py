"""The documentation as the tests read it: pages, code blocks and commands."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
PAGES: Final = [
    *(ROOT / name for name in ("README.md", "SECURITY.md")),
    *sorted(DOCS.rglob("*.md")),
]


def name_of(page: Path) -> str:
    """Return the page's path in the repository."""
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> list[str]:
    """Return the code blocks of a page in one of the languages."""
    pattern = rf"^```(?:{'|'.join(languages)})\n(.*?)^```$"
    return re.findall(pattern, page.read_text(), flags=re.DOTALL | re.MULTILINE)


def command_lines(page: Path, *languages: str) -> Iterator[str]:
    """Return the lines of the page's shell blocks, without their comments."""
    for block in blocks(page, *languages):
        for line in block.splitlines():
            if command := line.partition("  #")[0].strip():
                yield command


def spans(page: Path) -> list[str]:
    """Return the code spans in a page's prose and tables."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [span.replace(r"\|", "|") for span in re.findall(r"`([^`\n]+)`", prose)]


def anchors(page: Path) -> set[str]:
    """Return the anchors of the page's headings, as code hosts derive them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def write_examples(folder: Path) -> None:
    """Write the Python blocks of the pages into files, as users would copy them.

    The complete files of `docs/how-to/examples/` are left to `make check`.
    """
    for page in PAGES:
        for number, block in enumerate(blocks(page, "python")):
            if page.parent.name != "reference" and not block.startswith('"""'):
                (folder / f"{page.stem.replace('-', '_')}_{number}.py").write_text(block)
    (folder / "arguments.py").write_text(
        "from producer import Client, Handle, Job, Options\n\n"
        'job = Job(source="s3://photos/a", image="s3://cutouts/a", options=Options(margin=10))\n'
        'handle: Handle = Client().handle("id")\n'
    )
