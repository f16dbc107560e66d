"""DURABLE mode at sizes that are not seen every day: ``python -m tests.scale`` runs them and prints what they cost."""
