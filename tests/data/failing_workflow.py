"""The second task names a tool that does not exist: the document is refused, and nothing of it runs."""

from highway_dsl import Workflow, WorkflowBuilder


def create_failing_workflow() -> Workflow:
    builder = WorkflowBuilder("failing_workflow_test")
    builder.task("log_start", "tools.log.info", args=["This must not be seen: the next task is wrong."])
    builder.task("call_nothing", "non.existent.function", args=["anything"])
    builder.task("log_end", "tools.log.info", args=["This must not be seen either."])
    return builder.build()
