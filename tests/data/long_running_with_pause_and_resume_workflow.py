"""The expense report: it is saved, waits for its manager for up to three days, and is paid, escalated or denied."""

from datetime import timedelta

from highway_dsl import RetryPolicy, TimeoutPolicy, Workflow, WorkflowBuilder


def _when_approved(branch: WorkflowBuilder) -> WorkflowBuilder:
    """Pay and tell the employee, both at the same time."""
    return branch.parallel(
        "process_approved_branch",
        branches={
            "payments": lambda payments: payments.task(
                "run_payment", "api.payment_gateway.pay", args=["{{report.id}}", "{{report.amount}}"]
            ),
            "notify": lambda notify: notify.task(
                "notify_employee_approved", "email.send_approved_notification", args=["{{report.user_email}}"]
            ),
        },
    )


def _when_not_approved(branch: WorkflowBuilder) -> WorkflowBuilder:
    """Nobody answered in time: finance takes over. Somebody said no: the employee hears of it."""
    return branch.condition(
        "check_denial_or_timeout",
        condition="{{approval.reason}} == 'TIMEOUT'",
        if_true=lambda timeout: timeout.task(
            "escalate_to_finance", "email.escalate_finance_queue", args=["{{report.id}}", "Overdue approval"]
        ),
        if_false=lambda denied: denied.task(
            "notify_employee_denied", "email.send_denied_notification", args=["{{report.user_email}}"]
        ),
    )


def create_expense_workflow() -> Workflow:
    builder = WorkflowBuilder("expense_report_approval")
    builder.task(
        "save_report",
        "db.save_report",
        args=["{{variables.report_data}}"],
        result_key="report",
        retry_policy=RetryPolicy(max_retries=2, delay=timedelta(seconds=1)),
    )
    builder.task(
        "request_manager_approval",
        "human.request_approval",
        args=["Approve expense report {{report.id}} for ${{report.amount}}?", "{{report.manager_email}}"],
        result_key="approval",
        # Without kill_on_timeout an unanswered request completes with the reason TIMEOUT instead of failing.
        timeout_policy=TimeoutPolicy(timeout=timedelta(days=3), kill_on_timeout=False),
    )
    builder.condition(
        "check_approval",
        condition="{{approval.status}} == 'APPROVED'",
        if_true=_when_approved,
        if_false=_when_not_approved,
    )
    # Whichever way it went, exactly one of the three is not skipped.
    builder.task(
        "close_report",
        "tools.log.info",
        args=["Closing report {{report.id}}"],
        dependencies=["process_approved_branch", "escalate_to_finance", "notify_employee_denied"],
    )
    report = {
        "id": "exp-test-123",
        "amount": 500,
        "user_email": "employee@company.com",
        "manager_email": "manager@company.com",
    }
    return builder.build().set_variables({"report_data": report})


if __name__ == "__main__":
    print(create_expense_workflow().to_yaml())
