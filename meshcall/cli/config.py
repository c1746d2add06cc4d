"""`config`: where the files are, and what people set while the daemon runs.

Law: the names are those of the local API, with dashes; what a value may be is for the daemon to say.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from meshcall.cli.identity import JsonOption
from meshcall.cli.output import emit, emit_fields, emit_json, note
from meshcall.cli.session import session_of
from meshcall.errors import UsageError

config_commands = typer.Typer(
    help="Settings, and where files are.", rich_markup_mode=None, add_completion=False
)

_WORDS = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}


@config_commands.command("path")
def config_path(context: typer.Context, as_json: JsonOption = False) -> None:
    """Print the folder and the files that this home uses."""
    paths = session_of(context).paths
    values = {
        "home": str(paths.path),
        "key": str(paths.key),
        "id": str(paths.public_id),
        "state": str(paths.state),
        "dht": str(paths.dht),
        "settings": str(paths.settings),
        "run": str(paths.run),
        "lock": str(paths.lock),
        "socket": str(paths.socket),
    }
    if as_json:
        emit_json({"schema": 1, **values})
    else:
        emit_fields(values.items())


@config_commands.command("get")
def config_get(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One of them alone.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the settings, and where each value comes from."""
    session = session_of(context)
    document = session.client.get("settings")
    if name is not None:
        field = _field(document, name)
        if as_json:
            emit_json({"schema": 1, field: document[field], "origins": {field: document["origins"][field]}})
        else:
            emit(_text(document[field]))
    elif as_json:
        emit_json(document)
    else:
        emit_fields(
            (field.replace("_", "-"), f"{_text(document[field]) or '(none)'}{_origin_text(origin)}")
            for field, origin in document["origins"].items()
        )


@config_commands.command("set")
def config_set(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `config get` lists them.")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="A text, or on or off.")],
    as_json: JsonOption = False,
) -> None:
    """Set something. It is kept, and holds at once."""
    session = session_of(context)
    before = session.client.get("settings")
    field = _field(before, name)
    wanted: Any = value
    if isinstance(before[field], bool):
        if value.lower() not in _WORDS:
            raise UsageError(f"{name} is on or off")
        wanted = _WORDS[value.lower()]
    from meshcall.control.models import ChangeSettings  # late, as the client

    document = session.client.send("POST", "settings", body=ChangeSettings(**{field: wanted}))
    if as_json:
        emit_json(document)
    elif not session.quiet:
        note(f"{field.replace('_', '-')}: {_text(document[field]) or '(none)'}")


def _field(document: dict[str, Any], name: str) -> str:
    """The name as the API has it; :class:`UsageError` for what is no setting."""
    field = name.replace("-", "_")
    if field not in document["origins"]:
        raise UsageError(f"there is no setting {name!r}", hint="`meshcall config get` lists them")
    return field


def _text(value: str | bool) -> str:
    return value if isinstance(value, str) else "on" if value else "off"


def _origin_text(origin: str) -> str:
    return {"option": " (an option of the daemon)", "default": " (default)"}.get(origin, "")
