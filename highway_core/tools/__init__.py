"""The tools that tasks call, and how they are registered. Tools know neither mode nor storage."""
