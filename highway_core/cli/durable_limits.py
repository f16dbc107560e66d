"""``durable limits set | list | remove``: how much is carried out at once, and how fast. Straight in the database."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from highway_core.cli.durable_database import with_database
from highway_core.cli.json_report import as_text
from highway_core.cli.output import Output
from highway_core.cli.text import columns, printable
from highway_core.config import current_settings
from highway_core.errors import ConfigError
from highway_core.persistence.durable_connection import ConnectionPool
from highway_core.persistence.limit_store import Limit, LimitStore
from highway_core.persistence.schema import require_schema


def run(options: Namespace, output: Output) -> int:
    """The exit code."""
    url = with_database(current_settings()).database_url
    require_schema(url)
    pool = ConnectionPool(url, "highway limits")
    try:
        store = LimitStore(pool)
        match options.limits_command:
            case "set":
                _set(store, options, output)
            case "list":
                _list(store, output, as_json=options.json)
            case _:
                _remove(store, options, output)
    finally:
        pool.close()
    return 0


def _set(store: LimitStore, options: Namespace, output: Output) -> None:
    limit = Limit(options.scope, options.name, options.max_running, options.rate)
    if limit.max_running is None and limit.rate_per_second is None:
        raise ConfigError("A limit needs --max-running, --rate, or both.")
    store.put(limit)
    output.say(as_text(asdict(limit)) if options.json else _sentence(limit))


def _list(store: LimitStore, output: Output, *, as_json: bool) -> None:
    limits = store.all()
    if as_json:
        output.say(as_text([asdict(limit) for limit in limits]))
    elif not limits:
        output.say("There are no limits.")
    else:
        rows = [(limit.scope, printable(limit.name), *_numbers(limit)) for limit in limits]
        output.say("\n".join(columns([("Of", "Name", "At once", "A second"), *rows], "")))


def _remove(store: LimitStore, options: Namespace, output: Output) -> None:
    if not store.remove(options.scope, options.name):
        raise ConfigError(f"There is no limit of {options.scope} '{options.name}'; 'durable limits list' shows them.")
    told = {"scope": options.scope, "name": options.name, "removed": True}
    output.say(as_text(told) if options.json else f"The {options.scope} '{options.name}' has no limit any more.")


def _sentence(limit: Limit) -> str:
    at_once, rate = _numbers(limit)
    return f"The {limit.scope} '{printable(limit.name)}': at once {at_once}, a second {rate}."


def _numbers(limit: Limit) -> tuple[str, str]:
    at_once = "any number" if limit.max_running is None else str(limit.max_running)
    return at_once, "any number" if limit.rate_per_second is None else f"{limit.rate_per_second:g}"
