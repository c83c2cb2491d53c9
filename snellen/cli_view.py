"""The command that shows a run in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from snellen.cli_output import Then


def view(
    run: Annotated[Path, typer.Argument(help="folder of a run")],
    port: Annotated[int, typer.Option(help="to listen on; 0 for any that is free")] = 0,
    open_: Annotated[bool, typer.Option("--open", help="open it in the browser")] = False,
) -> Then:
    """Show report, tables and figures of a run in a browser: on this machine alone, and nothing can be changed.

    Examples:  snellen view runs/demo --open
               snellen view runs/a-probes --port 8000
    """
    from snellen.view import Server

    server = Server(run, port)
    typer.echo(f"Report: {server.page}\nFiles:  {server.url}\nCtrl-C ends it.")

    def go() -> None:
        if open_:
            import webbrowser

            webbrowser.open(server.page)
        try:
            server.serve_forever(poll_interval=0.1)
        except KeyboardInterrupt:
            pass
        finally:
            server.server_close()

    return Then({"report": server.page, "files": server.url, "folder": str(server.root)}, go)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(view)
