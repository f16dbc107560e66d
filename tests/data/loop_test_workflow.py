"""A while that counts to three, then a foreach over three users; each iteration is a row of its own."""

from highway_dsl import Workflow, WorkflowBuilder


def create_loop_test_workflow() -> Workflow:
    builder = WorkflowBuilder("tier_3_loop_test")
    builder.task("initialize_counter", "tools.memory.set", args=["loop_counter", 0])
    builder.while_loop(
        "main_while_loop",
        condition="{{memory.loop_counter}} < 3",
        loop_body=lambda body: body.task("increment_counter", "tools.memory.increment", args=["loop_counter"]),
    )
    builder.task("log_while_complete", "tools.log.info", args=["The counter stands at {{memory.loop_counter}}."])
    builder.foreach(
        "process_users",
        items="{{variables.users}}",
        loop_body=lambda body: body.task("greet_user", "tools.log.info", args=["{{index}}: hello, {{item.name}}"]),
    )
    builder.task("log_end", "tools.log.info", args=["Both loops are done."])
    return builder.build().set_variables({"users": [{"name": "Ada"}, {"name": "Grace"}, {"name": "Edsger"}]})
