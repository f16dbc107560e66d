"""Three tasks, the last of which reads from the run's memory what the second stored."""

from highway_dsl import Workflow, WorkflowBuilder


def create_persistence_test_workflow() -> Workflow:
    builder = WorkflowBuilder("tier_4_persistence_test")
    builder.task("log_start", "tools.log.info", args=["Start"])
    builder.task("remember", "tools.memory.set", args=["answer", 42], result_key="remembered")
    builder.task("log_end", "tools.log.info", args=["{{remembered.key}} = {{memory.answer}}"])
    return builder.build()
