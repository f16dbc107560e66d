"""Small things with one job each, named after it. They know nothing of workflows."""
