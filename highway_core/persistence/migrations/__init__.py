"""The schema's history, for Alembic. A revision that was released is never changed again."""
