"""The directive ``commands``: every command of ``snellen`` with its arguments and options, as the command line itself knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.parsers.rst import Directive

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx of the directive."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}


class Commands(Directive):
    """One section per command: what it does, then a table of what it takes."""

    def run(self) -> list[nodes.Node]:
        """The sections, in the order of ``snellen --help``."""
        from typer.main import get_command

        from snellen.cli import app

        group: Any = get_command(app)
        return [self._section(name, command) for name, command in group.commands.items() if not command.hidden]

    def _section(self, name: str, command: Any) -> nodes.section:
        section = nodes.section(ids=[f"snellen-{name}"], names=[f"snellen {name}"])
        section += nodes.title(text=f"snellen {name}")
        section += [_paragraph(part) for part in (command.help or "").replace("\b", "").split("\n\n") if part.strip()]
        section += _table([_row(parameter) for parameter in command.params if parameter.name != "help"])
        self.state.document.note_implicit_target(section)
        return section


def _paragraph(text: str) -> nodes.Node:
    """A paragraph of the help; examples keep their lines."""
    words, examples, lines = text.partition("Examples:")
    if not examples:
        return nodes.paragraph(text=" ".join(words.split()))
    commands = "\n".join(line.strip() for line in lines.strip().splitlines())
    return nodes.literal_block(commands, commands, language="none")


def _row(parameter: Any) -> tuple[list[str], str, str]:
    """Names, help and default of an argument or option."""
    is_argument = parameter.param_type_name == "argument"
    names = [parameter.name.upper()] if is_argument else [*parameter.opts, *parameter.secondary_opts]
    default = parameter.default
    shown = "" if default is None or callable(default) or isinstance(default, bool) or default == () else str(default)
    return names, getattr(parameter, "help", "") or "", "needed" if parameter.required else shown


def _table(rows: list[tuple[list[str], str, str]]) -> nodes.table:
    group = nodes.tgroup(cols=3)
    group += [nodes.colspec(colwidth=width) for width in (25, 55, 20)]
    head, body = nodes.thead(), nodes.tbody()
    head += _line(*([nodes.Text(text)] for text in ("takes", "what it is", "default")))
    body += [_line(_codes(names), [nodes.Text(what)], _codes([default] if default else [])) for names, what, default in rows]
    group += [head, body]
    return nodes.table("", group, classes=["options"])


def _codes(names: list[str]) -> list[nodes.Node]:
    return [part for name in names for part in (nodes.literal(text=name), nodes.Text(" "))]


def _line(*cells: list[Any]) -> nodes.row:
    row = nodes.row()
    row += [nodes.entry("", nodes.paragraph("", "", *cell)) for cell in cells]
    return row
