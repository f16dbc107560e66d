"""A while whose body has two tasks, the second using the first one's result, then a foreach over plain values."""

from highway_dsl import Workflow, WorkflowBuilder


def create_while_test_workflow() -> Workflow:
    builder = WorkflowBuilder("tier_3_final_test")
    builder.task("initialize_counter", "tools.memory.set", args=["counter", 0])
    builder.while_loop(
        "count_to_three",
        condition="{{memory.counter}} < 3",
        loop_body=lambda body: body.task(
            "increment", "tools.memory.increment", args=["counter"], result_key="step"
        ).task("log_step", "tools.log.info", args=["Turn {{step.new_value}} of 3"]),
    )
    builder.task("log_while_complete", "tools.log.info", args=["Counted to {{memory.counter}}"])
    builder.foreach(
        "process_ids",
        items="{{variables.user_ids}}",
        loop_body=lambda body: body.task("log_id", "tools.log.info", args=["User {{item}}"]),
    )
    builder.task("log_end", "tools.log.info", args=["End"])
    return builder.build().set_variables({"user_ids": [11, 12]})
