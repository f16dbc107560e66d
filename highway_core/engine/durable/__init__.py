"""DURABLE mode: runs whose state is in PostgreSQL, worked on by any number of processes."""
