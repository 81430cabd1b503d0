"""``make docs``: write the generated parts of the documents again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Page:
    """A document, and how its text follows from the text it has."""

    path: str
    render: Callable[[str], str]


def lifecycle(text: str) -> str:
    """Return the architecture page with the state diagram of today's table."""
    from nexus.workspace.lifecycle import diagram

    begin, end = "<!-- lifecycle diagram: begin -->\n", "<!-- lifecycle diagram: end -->"
    head, rest = text.split(begin)
    _, tail = rest.split(end)
    return f"{head}{begin}\n```mermaid\n{diagram()}```\n\n{end}{tail}"


def configuration(_: str) -> str:
    """Return the page of every setting."""
    from nexus.config import configuration_reference

    return configuration_reference()


def schema(level: str) -> Callable[[str], str]:
    """Return what gives the JSON Schema of one of the three files."""

    def render(_: str) -> str:
        from nexus.config.schema import FILES, schema_text

        return next(schema_text(name) for name in FILES if name == level)

    return render


def boulder(_: str) -> str:
    """Return the page of every command."""
    from cli_example.reference import page

    return page()


def protocol(_: str) -> str:
    """Return the page of every method."""
    from nexus.wire.reference import page

    return page()


PAGES = (
    Page("docs/architecture.md", lifecycle),
    Page("docs/reference/configuration.md", configuration),
    Page("docs/reference/boulder.md", boulder),
    Page("docs/reference/protocol.md", protocol),
    *(Page(f"nexus/config/schemas/{level}.json", schema(level)) for level in ("node", "user", "project")),
)


def main() -> None:
    """Write every page."""
    for page in PAGES:
        path = ROOT / page.path
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        new = page.render(old)
        if new != old:
            path.write_text(new, encoding="utf-8")
            print(f"wrote {page.path}")


if __name__ == "__main__":
    main()
