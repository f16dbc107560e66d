"""Three branches (a fetch, a fetch that is logged, a wait of one second), and a fan-in that names their last tasks.

The fetches print what a server would answer instead of asking one, so that the workflow runs without the internet.
"""

from datetime import timedelta

from highway_dsl import Workflow, WorkflowBuilder


def _fetch(branch: WorkflowBuilder, number: int) -> WorkflowBuilder:
    answer = f'{{"id": {number}, "title": "todo {number}"}}'
    return branch.task(f"fetch_todo_{number}", "tools.command.run", args=["echo", answer], result_key=f"todo_{number}")


def create_parallel_wait_workflow() -> Workflow:
    builder = WorkflowBuilder("tier_2_parallel_wait_test")
    builder.task("log_start", "tools.log.info", args=["Three branches start now."])
    builder.parallel(
        "run_parallel_fetches",
        branches={
            "fetch": lambda branch: _fetch(branch, 1),
            "fetch_and_log": lambda branch: _fetch(branch, 2).task(
                "log_todo_2", "tools.log.info", args=["Fetched: {{todo_2}}"]
            ),
            "wait": lambda branch: branch.wait("short_wait", wait_for=timedelta(seconds=1)),
        },
    )
    builder.task(
        "log_parallel_complete",
        "tools.log.info",
        args=["All branches are done: {{todo_1}} and {{todo_2}}"],
        dependencies=["fetch_todo_1", "log_todo_2", "short_wait"],
    )
    builder.task("log_end", "tools.log.info", args=["End"])
    return builder.build()
