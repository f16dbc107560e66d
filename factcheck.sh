#!/usr/bin/env bash
# Runs the sample workflows through the command line, then reads from the database what really happened.
#
#   ./factcheck.sh
#
# Exit code 0 only when every workflow ended as the table at the end says. Uses a database of its own; needs Docker for
# the container workflow (skipped without it, an error where CI=true). PYTHON names another interpreter than `python`.
set -uo pipefail
cd "$(dirname "$0")" || exit 1

python=${PYTHON:-python}
workdir=$(mktemp -d "${TMPDIR:-/tmp}/factcheck.XXXXXX")
trap 'rm -rf "$workdir"' EXIT
export HIGHWAY_DATABASE_URL="sqlite:///$workdir/factcheck.sqlite3"
export HIGHWAY_TOOLS_DIR=examples/tools_dir
failures=0
skipped=0

# Prints "<status> <completed> <skipped> <failed> <upstream_failed> <all rows>" of the newest run of a workflow, or
# "none" if it was never started; with a result key, the result stands in a second line.
read_newest_run() {
    "$python" - "$1" "$2" <<'PYTHON'
import json
import sys

from sqlalchemy import text

from highway_core.persistence.database import get_db_manager

name, result_key = sys.argv[1:]
with get_db_manager().session_scope() as session:
    run = session.execute(
        text("SELECT workflow_id, status FROM workflows WHERE workflow_name = :name ORDER BY start_time DESC LIMIT 1"),
        {"name": name},
    ).first()
    if run is None:
        print("none")
        sys.exit()
    rows = session.execute(
        text("SELECT status, COUNT(*) FROM tasks WHERE workflow_id = :run GROUP BY status"), {"run": run.workflow_id}
    )
    counts = {status: count for status, count in rows}
    named = [counts.get(status, 0) for status in ("completed", "skipped", "failed", "upstream_failed")]
    print(run.status, *named, sum(counts.values()))
    if result_key:
        value = session.execute(
            text("SELECT result_value_json FROM workflow_results WHERE workflow_id = :run AND result_key = :key"),
            {"run": run.workflow_id, "key": result_key},
        ).scalar()
        print("missing" if value is None else json.loads(value))
PYTHON
}

report_failure() {
    failures=$((failures + 1))
    echo "FAIL $1: $2"
    sed 's/^/     | /' "$workdir/output"
}

# check FILE NAME EXIT STATUS COMPLETED SKIPPED FAILED UPSTREAM_FAILED [RESULT_KEY RESULT] [MESSAGE]
# STATUS "none": the document is refused, nothing is started. MESSAGE: text that the command must print.
check() {
    local file=$1 name=$2 exit_code=$3 status=$4 result_key=${9:-} result=${10:-} message=${11:-}
    local expected=none
    [ "$status" = none ] || expected="$status $5 $6 $7 $8 $(($5 + $6 + $7 + $8))"
    [ -z "$result_key" ] || expected+=$'\n'$result

    "$python" cli.py run "$file" >"$workdir/output" 2>&1
    local code=$?
    if [ "$code" -ne "$exit_code" ]; then
        report_failure "$file" "exit code $code, expected $exit_code"
        return
    fi
    if [ -n "$message" ] && ! grep -qF -- "$message" "$workdir/output"; then
        report_failure "$file" "did not say: $message"
        return
    fi
    local found
    found=$(read_newest_run "$name" "$result_key" 2>>"$workdir/output")
    if [ "$found" != "$expected" ]; then
        report_failure "$file" "expected [$expected], the database says [$found]"
        echo "     | (run status, then tasks: completed, skipped, failed, upstream_failed, all)"
        return
    fi
    echo "ok   $file: ${expected//$'\n'/, result }"
}

# Says why the container workflows cannot run here, or nothing. The engine, when it runs inside a container itself, asks
# for DOCKER_HOST; running this script is asking.
why_no_containers() {
    if ! docker info >/dev/null 2>&1; then
        echo "no Docker daemon here"
    elif ! docker image inspect busybox >/dev/null 2>&1 && ! docker pull --quiet busybox >/dev/null 2>&1; then
        echo "no busybox image here, and none to be had"
    fi
}
no_containers=$(why_no_containers)
if [ -z "$no_containers" ] && [ -z "${DOCKER_HOST:-}" ]; then
    DOCKER_HOST=$(docker context inspect --format '{{.Endpoints.docker.Host}}')
    export DOCKER_HOST
fi

check_with_docker() {
    if [ -z "$no_containers" ]; then
        check "$@"
    elif [ "${CI:-}" = true ]; then
        : >"$workdir/output"
        report_failure "$1" "$no_containers, and CI=true"
    else
        skipped=$((skipped + 1))
        echo "skip $1: $no_containers"
    fi
}

# file, workflow, exit code | run, then tasks: completed skipped failed upstream_failed | result | message
# One row of `tasks` is one task instance: each iteration of a loop has its own rows.
check_with_docker tests/data/container_checksum_test_workflow.py tricky_checksum_validator 0 \
    completed 7 0 0 0 final_checksum 5746
check tests/data/failing_workflow.py failing_workflow_test 1 \
    none 0 0 0 0 "" "" "Function 'non.existent.function' not found in registry"
check tests/data/loop_test_workflow.py tier_3_loop_test 0 completed 11 0 0 0
check tests/data/parallel_wait_test_workflow.py tier_2_parallel_wait_test 0 completed 8 0 0 0
check tests/data/persistence_test_workflow.py tier_4_persistence_test 0 completed 3 0 0 0
check tests/data/while_test_workflow.py tier_3_final_test 0 completed 13 0 0 0

check examples/hello.yaml hello 0 completed 2 0 0 0 greeting "Hello, world!"
check examples/bank_end_of_day.yaml bank_end_of_day 0 \
    completed 25 6 0 0 report "4 accounts, 1 overdrawn, total 6750"
check examples/order_processing.yaml order_processing 0 completed 21 12 2 1 summary "Turnover: 215"
check_with_docker examples/container_checksum.yaml container_checksum 0 completed 6 0 0 0 checksum 281
check examples/qa_rework.yaml qa_rework 0 completed 13 3 0 0
check examples/custom_tool.yaml custom_tool 0 completed 2 0 0 0
check examples/expense_report.py expense_report_approval 1 \
    failed 1 0 1 8 "" "" "Human tasks are only supported in DURABLE mode."

if [ "$failures" -gt 0 ]; then
    echo "factcheck: $failures failed"
    exit 1
fi
echo "factcheck: all as expected, $skipped skipped"
