"""The command that looks at the environment."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snellen.cli_output import FOUND, Failing

if TYPE_CHECKING:
    from snellen.doctor import Check


def doctor(
    online: Annotated[bool, typer.Option("--online", help="also ask whether the model hub can be reached")] = False,
) -> dict[str, Any]:
    """Look at the environment: versions, devices, what is broken, and what is missing for what. Exit code 1 if something is broken.

    Examples:  snellen doctor
               snellen doctor --online --json
    """
    from snellen.doctor import checks

    found: list[Check] = []
    for check in checks(online):
        typer.echo(line(check))
        found.append(check)
    broken = [check.name for check in found if check.state == "broken"]
    typer.echo(f"\nBroken: {', '.join(broken)}." if broken else "\nNothing that is needed is broken.")
    result = {"broken": broken, "checks": [asdict(check) for check in found]}
    if broken:
        raise Failing(FOUND, result)
    return result


def line(check: Check) -> str:
    """One row of the table."""
    return f"{check.state:8} {check.name:24} {check.found}{f'  ({check.note})' if check.note else ''}"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)
