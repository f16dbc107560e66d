"""One pure function per operator: ``decide(task, ctx) -> Decision``."""
