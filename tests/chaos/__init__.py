"""Real services under real faults: what the tests of ``tests/acceptance`` share."""
