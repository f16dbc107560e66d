"""``durable keys create | list | revoke``: who may use the API. Straight in the database, where no key is needed."""

from __future__ import annotations

from argparse import Namespace
from datetime import datetime, timedelta
from typing import Any

from highway_core.cli.durable_database import with_database
from highway_core.cli.json_report import as_text
from highway_core.cli.output import Output
from highway_core.cli.text import columns, printable
from highway_core.config import current_settings
from highway_core.errors import ConfigError
from highway_core.persistence.api_keys import ApiKey, ApiKeys, Scope
from highway_core.persistence.durable_connection import ConnectionPool
from highway_core.persistence.schema import require_schema
from highway_core.utils.clock import utc_now
from highway_core.utils.naming import did_you_mean


def run(options: Namespace, output: Output) -> int:
    """The exit code."""
    url = with_database(current_settings()).database_url
    require_schema(url)
    pool = ConnectionPool(url, "highway keys")
    try:
        keys = ApiKeys(pool)
        match options.keys_command:
            case "create":
                _create(keys, options, output)
            case "list":
                _list(keys, output, as_json=options.json)
            case _:
                _revoke(keys, options, output)
    finally:
        pool.close()
    return 0


def _create(keys: ApiKeys, options: Namespace, output: Output) -> None:
    expires = None if options.days is None else utc_now() + timedelta(days=options.days)
    scopes = _scopes(options.scopes or (Scope.ADMIN.value,))
    made = keys.create(options.name, scopes, expires)
    if options.json:
        told = {"key_id": made.key_id, "key": made.text, "scopes": sorted(scopes), "expires_at": _moment(expires)}
        output.say(as_text(told))
    else:
        output.say(f"{made.text}\nKeep it: it is shown this once. Its id is {made.key_id}.")


def _scopes(names: tuple[str, ...]) -> list[Scope]:
    known = [scope.value for scope in Scope]
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) or f"there are {', '.join(known)}."
            raise ConfigError(f"There is no scope '{name}'; {hint}")
    return [Scope(name) for name in names]


def _list(keys: ApiKeys, output: Output, *, as_json: bool) -> None:
    found = keys.all()
    if as_json:
        output.say(as_text([_as_dict(key) for key in found]))
    elif not found:
        output.say("There are no keys. Make one: highway durable keys create NAME")
    else:
        head = ("Id", "Name", "Scopes", "Expires", "Last used", "State")
        output.say("\n".join(columns([head, *map(_row, found)], "")))


def _revoke(keys: ApiKeys, options: Namespace, output: Output) -> None:
    if not keys.revoke(options.key_id):
        raise ConfigError(f"There is no key '{options.key_id}' that could be revoked; 'durable keys list' shows them.")
    told = {"key_id": options.key_id, "revoked": True}
    output.say(as_text(told) if options.json else f"The key {options.key_id} is revoked.")


def _row(key: ApiKey) -> tuple[str, ...]:
    state = "usable"
    if key.revoked_at is not None:
        state = "revoked"
    elif key.expires_at is not None and key.expires_at <= utc_now():
        state = "expired"
    scopes = ", ".join(sorted(key.scopes))
    return key.key_id, printable(key.name), scopes, _short(key.expires_at), _short(key.last_used_at), state


def _as_dict(key: ApiKey) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "created_at": _moment(key.created_at),
        "expires_at": _moment(key.expires_at),
        "revoked_at": _moment(key.revoked_at),
        "last_used_at": _moment(key.last_used_at),
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _short(moment: datetime | None) -> str:
    return "never" if moment is None else moment.strftime("%Y-%m-%d %H:%M")
