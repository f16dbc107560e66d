"""The runtimes that carry out one attempt of a task."""
