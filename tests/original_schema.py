"""Databases as the original library left them: its tables at three points of its life, with runs in them."""

from __future__ import annotations

from sqlalchemy import Engine

_FIRST = """
CREATE TABLE workflows (workflow_id VARCHAR PRIMARY KEY, workflow_name VARCHAR(255) NOT NULL, start_time TIMESTAMP,
    end_time TIMESTAMP, status VARCHAR(50), error_message TEXT, variables_json TEXT, start_task VARCHAR(255),
    updated_at TIMESTAMP);
CREATE TABLE tasks (task_id VARCHAR NOT NULL, workflow_id VARCHAR NOT NULL REFERENCES workflows (workflow_id),
    operator_type VARCHAR(255) NOT NULL, runtime VARCHAR(50), function VARCHAR(255), image VARCHAR(255),
    command_json TEXT, args_json TEXT, kwargs_json TEXT, result_key VARCHAR(255), dependencies_json TEXT,
    created_at TIMESTAMP, started_at TIMESTAMP, completed_at TIMESTAMP, updated_at TIMESTAMP, status VARCHAR(50),
    error_message TEXT, result_value_json TEXT, PRIMARY KEY (task_id, workflow_id));
CREATE TABLE workflow_results (id {id}, workflow_id VARCHAR NOT NULL, task_id VARCHAR NOT NULL,
    result_key VARCHAR(255) NOT NULL, result_value_json TEXT, created_at TIMESTAMP);
CREATE INDEX idx_workflows_status ON workflows (status);
CREATE INDEX idx_tasks_workflow_id ON tasks (workflow_id);
CREATE INDEX idx_tasks_workflow_status ON tasks (workflow_id, status);
CREATE INDEX idx_tasks_status ON tasks (status);
CREATE INDEX idx_workflow_results_workflow ON workflow_results (workflow_id)
"""

_SECOND = """
ALTER TABLE workflows ADD COLUMN priority VARCHAR(20);
ALTER TABLE workflows ADD COLUMN tags_json TEXT;
ALTER TABLE workflows ADD COLUMN parent_workflow_id VARCHAR REFERENCES workflows (workflow_id);
ALTER TABLE workflows ADD COLUMN timeout_seconds INTEGER;
ALTER TABLE tasks ADD COLUMN priority VARCHAR(20);
ALTER TABLE tasks ADD COLUMN tags_json TEXT;
ALTER TABLE tasks ADD COLUMN max_retries INTEGER;
ALTER TABLE tasks ADD COLUMN result_type VARCHAR(50);
CREATE UNIQUE INDEX uix_task_workflow_pair ON tasks (task_id, workflow_id);
CREATE TABLE workflow_memory (id {id}, workflow_id VARCHAR NOT NULL REFERENCES workflows (workflow_id),
    memory_key VARCHAR(255) NOT NULL, memory_value_json TEXT, created_at TIMESTAMP, updated_at TIMESTAMP);
CREATE TABLE task_executions (execution_id VARCHAR PRIMARY KEY, task_id VARCHAR NOT NULL, workflow_id VARCHAR NOT NULL);
CREATE TABLE task_dependencies (id {id}, task_id VARCHAR NOT NULL, depends_on_task_id VARCHAR NOT NULL,
    workflow_id VARCHAR NOT NULL, created_at TIMESTAMP);
CREATE INDEX idx_task_dependencies_depends_on ON task_dependencies (depends_on_task_id);
CREATE TABLE webhooks (id {id}, url VARCHAR NOT NULL, status VARCHAR(50));
CREATE INDEX idx_webhooks_status ON webhooks (status)
"""

_LAST = """
ALTER TABLE workflows ADD COLUMN mode VARCHAR(50);
ALTER TABLE tasks ADD COLUMN wake_up_at TIMESTAMP;
ALTER TABLE tasks ADD COLUMN event_token VARCHAR(255);
CREATE INDEX idx_workflows_poll ON workflows (status, mode);
CREATE TABLE task_queue (id {id}, workflow_id VARCHAR NOT NULL REFERENCES workflows (workflow_id),
    task_id VARCHAR NOT NULL, status VARCHAR(50) NOT NULL, created_at TIMESTAMP);
CREATE INDEX idx_queue_poll ON task_queue (status, created_at);
CREATE TABLE admin_tasks (id {id}, task_type VARCHAR(100));
CREATE TABLE workflow_templates (id {id}, template_name VARCHAR(255))
"""

_RUNS = """
INSERT INTO workflows (workflow_id, workflow_name, start_time, status, error_message, variables_json, start_task,
    updated_at) VALUES
    ('done', 'Tricky Checksum Validator', '2023-11-05 08:00:00.250000', 'completed', 'an old error', '{"a": 1}', '',
     '2023-11-05 08:00:09'),
    ('broken', 'hello', '2023-11-05 09:00:00', 'failed', 'second: it broke', NULL, 'first', '2023-11-05 09:00:01'),
    ('hanging', 'hello', '2023-11-05 10:00:00', 'running', NULL, '{}', 'first', '2023-11-05 10:00:01');
INSERT INTO tasks (task_id, workflow_id, operator_type, runtime, function, args_json, result_key, dependencies_json,
    created_at, started_at, completed_at, status, error_message, result_value_json) VALUES
    ('second', 'done', 'task', 'python', 'tools.log.info', '["b"]', NULL, '["first"]', '2023-11-05 08:00:02',
     '2023-11-05 08:00:03', '2023-11-05 08:00:04', 'completed', NULL, NULL),
    ('first', 'done', 'task', 'python', 'tools.log.info', '["a"]', 'greeting', NULL, '2023-11-05 08:00:01',
     '2023-11-05 08:00:02', '2023-11-05 08:00:03', 'completed', NULL, '{"said": "a"}'),
    ('first', 'broken', 'task', 'python', 'tools.log.info', NULL, NULL, NULL, '2023-11-05 09:00:00',
     '2023-11-05 09:00:00', NULL, 'failed', 'it broke', NULL),
    ('first', 'hanging', 'task', 'python', 'tools.log.info', NULL, NULL, NULL, '2023-11-05 10:00:00',
     '2023-11-05 10:00:00', NULL, 'executing', NULL, NULL),
    ('second', 'hanging', 'task', 'python', 'tools.log.info', NULL, NULL, '["first"]', '2023-11-05 10:00:00',
     NULL, NULL, 'pending', NULL, NULL);
INSERT INTO workflow_results (workflow_id, task_id, result_key, result_value_json, created_at) VALUES
    ('done', 'first', 'greeting', '"stale"', '2023-11-05 08:00:02'),
    ('done', 'first', 'greeting', '{"said": "a"}', '2023-11-05 08:00:03'),
    ('deleted', 'x', 'orphan', '1', '2023-11-05 08:00:03')
"""

_LATER_RUNS = """
INSERT INTO workflow_memory (workflow_id, memory_key, memory_value_json) VALUES ('done', 'count', '1');
INSERT INTO workflow_memory (workflow_id, memory_key, memory_value_json) VALUES ('done', 'count', '2');
INSERT INTO task_dependencies (task_id, depends_on_task_id, workflow_id) VALUES ('second', 'first', 'done');
INSERT INTO webhooks (url, status) VALUES ('http://127.0.0.1:7666/x', 'pending');
UPDATE workflows SET parent_workflow_id = 'done' WHERE workflow_id = 'broken'
"""

_DURABLE_RUN = """
INSERT INTO workflows (workflow_id, workflow_name, start_time, status, mode) VALUES
    ('waiting', 'expense_report_approval', '2023-11-05 11:00:00', 'RUNNING', 'DURABLE');
INSERT INTO tasks (task_id, workflow_id, operator_type, status, event_token) VALUES
    ('ask', 'waiting', 'task', 'WAITING_FOR_EVENT', 'in the clear');
INSERT INTO task_queue (workflow_id, task_id, status) VALUES ('waiting', 'ask', 'QUEUED')
"""

VINTAGES = {
    "first": (_FIRST, _RUNS),
    "second": (_FIRST, _SECOND, _RUNS, _LATER_RUNS),
    "last": (_FIRST, _SECOND, _LAST, _RUNS, _LATER_RUNS, _DURABLE_RUN),
}


def make_original(engine: Engine, vintage: str) -> None:
    """Fill an empty database."""
    key = "SERIAL PRIMARY KEY" if engine.dialect.name == "postgresql" else "INTEGER PRIMARY KEY AUTOINCREMENT"
    with engine.begin() as connection:
        for script in VINTAGES[vintage]:
            for statement in script.replace("{id}", key).split(";"):
                connection.exec_driver_sql(statement)
