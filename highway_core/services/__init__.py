"""Programs that go on until they are stopped."""
