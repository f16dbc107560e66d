"""Real services under real faults: what the tests of ``tests/acceptance`` and ``python -m tests.chaos`` share."""
