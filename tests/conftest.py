"""What all tests share."""

pytest_plugins = ["tests.postgres", "tests.stored_runs"]
