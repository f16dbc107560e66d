"""Six commands share one sum: four containers compute the parts, two Python processes put them together.

(100 * 2 + 7 * 3) * (100 / 5 + 7 - 1) = 221 * 26 = 5746. The containers are started by ``docker run`` on the command
line; ``examples/container_checksum.yaml`` shows the docker runtime instead.
"""

from highway_dsl import Workflow, WorkflowBuilder

ADD = "import sys; print(sum(map(int, sys.argv[1:])))"
MULTIPLY = "import sys; alpha, *beta = map(int, sys.argv[1:]); print(alpha * sum(beta))"


def _calculate(builder: WorkflowBuilder, task_id: str, expression: str) -> None:
    builder.task(
        task_id,
        "tools.command.run",
        args=["docker", "run", "--rm", "busybox", "/bin/sh", "-c", f"echo $(({expression}))"],
        dependencies=["set_multiplier"],
        result_key=task_id,
    )


def create_container_checksum_workflow() -> Workflow:
    builder = WorkflowBuilder("tricky_checksum_validator")
    builder.task("set_multiplier", "tools.memory.set", args=["multiplier", 7], result_key="multiplier_set")

    _calculate(builder, "alpha_double", "{{variables.base}} * 2")
    _calculate(builder, "alpha_triple", "{{memory.multiplier}} * 3")
    _calculate(builder, "beta_fifth", "{{variables.base}} / 5")
    _calculate(builder, "beta_less_one", "{{memory.multiplier}} - 1")

    builder.task(
        "sum_alpha",
        "tools.command.run",
        args=["python3", "-c", ADD, "{{alpha_double}}", "{{alpha_triple}}"],
        dependencies=["alpha_double", "alpha_triple"],
        result_key="alpha",
    )
    builder.task(
        "final_product",
        "tools.command.run",
        args=["python3", "-c", MULTIPLY, "{{alpha}}", "{{beta_fifth}}", "{{beta_less_one}}"],
        dependencies=["sum_alpha", "beta_fifth", "beta_less_one"],
        result_key="final_checksum",
    )
    return builder.build().set_variables({"base": 100})
