CREATE TABLE workflow_definitions (
    definition_hash TEXT NOT NULL,
    workflow_name TEXT NOT NULL,
    definition_json TEXT NOT NULL,
    created_at DATETIME NOT NULL,
    CONSTRAINT pk_workflow_definitions PRIMARY KEY (definition_hash)
);

CREATE TABLE idempotent_results (
    idempotency_key TEXT NOT NULL,
    result_json TEXT NOT NULL,
    workflow_id TEXT,
    created_at DATETIME NOT NULL,
    CONSTRAINT pk_idempotent_results PRIMARY KEY (idempotency_key)
);

CREATE TABLE webhooks (
    id INTEGER NOT NULL,
    task_id TEXT,
    execution_id TEXT,
    workflow_id TEXT,
    url TEXT NOT NULL,
    method TEXT NOT NULL,
    headers_json TEXT,
    payload_json TEXT,
    webhook_type TEXT NOT NULL,
    status TEXT NOT NULL,
    retry_count INTEGER NOT NULL,
    max_retries INTEGER NOT NULL,
    next_retry_at DATETIME,
    lease_until DATETIME,
    fence INTEGER NOT NULL,
    delivery_id TEXT NOT NULL,
    response_status INTEGER,
    response_headers_json TEXT,
    response_body TEXT,
    rate_limit_requests INTEGER NOT NULL,
    rate_limit_window INTEGER NOT NULL,
    created_at DATETIME NOT NULL,
    updated_at DATETIME NOT NULL,
    CONSTRAINT pk_webhooks PRIMARY KEY (id),
    CONSTRAINT uix_webhook_task_execution_type UNIQUE (execution_id, task_id, workflow_id, webhook_type),
    CONSTRAINT ck_webhooks_status CHECK (status = 'pending' OR status = 'sending' OR status = 'sent' OR status = 'failed' OR status = 'retry_scheduled' OR status = 'cancelled')
);

CREATE TABLE workflows (
    workflow_id TEXT NOT NULL,
    workflow_name TEXT NOT NULL,
    mode TEXT NOT NULL,
    status TEXT NOT NULL,
    start_time DATETIME NOT NULL,
    end_time DATETIME,
    updated_at DATETIME NOT NULL,
    error_message TEXT,
    start_task TEXT,
    variables_json TEXT,
    inputs_json TEXT,
    result_json TEXT,
    definition_hash TEXT,
    owner TEXT NOT NULL,
    parent_workflow_id TEXT,
    priority INTEGER,
    tags_json TEXT,
    timeout_seconds INTEGER,
    CONSTRAINT pk_workflows PRIMARY KEY (workflow_id),
    CONSTRAINT ck_workflows_status CHECK (status = 'PENDING' OR status = 'running' OR status = 'PAUSED' OR status = 'completed' OR status = 'failed' OR status = 'cancelled'),
    CONSTRAINT ck_workflows_mode CHECK (mode = 'LOCAL' OR mode = 'DURABLE'),
    CONSTRAINT fk_workflows_definition_hash FOREIGN KEY(definition_hash) REFERENCES workflow_definitions (definition_hash)
);

CREATE TABLE tasks (
    workflow_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    operator_type TEXT NOT NULL,
    runtime TEXT,
    function TEXT,
    image TEXT,
    command_json TEXT,
    args_json TEXT,
    kwargs_json TEXT,
    result_key TEXT,
    dependencies_json TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    created_at DATETIME NOT NULL,
    started_at DATETIME,
    completed_at DATETIME,
    updated_at DATETIME NOT NULL,
    status TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    error_message TEXT,
    result_value_json TEXT,
    result_type TEXT,
    wake_up_at DATETIME,
    event_token TEXT,
    progress_json TEXT,
    priority INTEGER,
    tags_json TEXT,
    timeout_seconds INTEGER,
    max_retries INTEGER,
    retry_delay_seconds INTEGER,
    CONSTRAINT uix_task_workflow_pair PRIMARY KEY (workflow_id, task_id),
    CONSTRAINT ck_tasks_status CHECK (status = 'PENDING' OR status = 'QUEUED' OR status = 'running' OR status = 'WAITING_FOR_TIMER' OR status = 'WAITING_FOR_EVENT' OR status = 'WAITING_FOR_CHILDREN' OR status = 'completed' OR status = 'failed' OR status = 'skipped' OR status = 'upstream_failed' OR status = 'cancelled'),
    CONSTRAINT fk_tasks_workflow_id FOREIGN KEY(workflow_id) REFERENCES workflows (workflow_id) ON DELETE CASCADE
);

CREATE TABLE task_queue (
    id BIGINT NOT NULL,
    workflow_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    status TEXT NOT NULL,
    created_at DATETIME NOT NULL,
    CONSTRAINT pk_task_queue PRIMARY KEY (workflow_id, task_id),
    CONSTRAINT fk_task_queue_workflow_id FOREIGN KEY(workflow_id) REFERENCES workflows (workflow_id) ON DELETE CASCADE
);

CREATE TABLE task_dependencies (
    id BIGINT NOT NULL,
    workflow_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    depends_on_task_id TEXT NOT NULL,
    created_at DATETIME NOT NULL,
    CONSTRAINT uix_task_dependency_unique PRIMARY KEY (workflow_id, task_id, depends_on_task_id),
    CONSTRAINT fk_task_dependencies_workflow_id FOREIGN KEY(workflow_id) REFERENCES workflows (workflow_id) ON DELETE CASCADE
);

CREATE TABLE workflow_results (
    id BIGINT NOT NULL,
    workflow_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    result_key TEXT NOT NULL,
    result_value_json TEXT,
    result_type TEXT,
    error_details_json TEXT,
    created_at DATETIME NOT NULL,
    CONSTRAINT uix_workflow_task_result_unique PRIMARY KEY (workflow_id, task_id, result_key),
    CONSTRAINT fk_workflow_results_workflow_id FOREIGN KEY(workflow_id) REFERENCES workflows (workflow_id) ON DELETE CASCADE
)
 WITHOUT ROWID;

CREATE TABLE workflow_memory (
    id BIGINT NOT NULL,
    workflow_id TEXT NOT NULL,
    memory_key TEXT NOT NULL,
    memory_value_json TEXT,
    created_at DATETIME NOT NULL,
    updated_at DATETIME NOT NULL,
    CONSTRAINT uix_workflow_memory_key_unique PRIMARY KEY (workflow_id, memory_key),
    CONSTRAINT fk_workflow_memory_workflow_id FOREIGN KEY(workflow_id) REFERENCES workflows (workflow_id) ON DELETE CASCADE
)
 WITHOUT ROWID;

CREATE TABLE task_executions (
    execution_id TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    executor_runtime TEXT,
    execution_args_json TEXT,
    execution_kwargs_json TEXT,
    result_json TEXT,
    error_message TEXT,
    started_at DATETIME,
    completed_at DATETIME,
    duration_ms BIGINT,
    status TEXT NOT NULL,
    created_at DATETIME NOT NULL,
    CONSTRAINT pk_task_executions PRIMARY KEY (workflow_id, task_id, execution_id),
    CONSTRAINT ck_task_executions_status CHECK (status = 'PENDING' OR status = 'QUEUED' OR status = 'running' OR status = 'WAITING_FOR_TIMER' OR status = 'WAITING_FOR_EVENT' OR status = 'WAITING_FOR_CHILDREN' OR status = 'completed' OR status = 'failed' OR status = 'skipped' OR status = 'upstream_failed' OR status = 'cancelled'),
    CONSTRAINT fk_task_executions_workflow_id FOREIGN KEY(workflow_id) REFERENCES workflows (workflow_id) ON DELETE CASCADE
)
 WITHOUT ROWID;

CREATE INDEX idx_queue_poll ON task_queue (status, created_at);

CREATE INDEX idx_task_dependencies_depends_on ON task_dependencies (workflow_id, depends_on_task_id);

CREATE INDEX idx_tasks_poll_runnable ON tasks (status, wake_up_at) WHERE wake_up_at IS NOT NULL;

CREATE INDEX idx_tasks_status ON tasks (status) WHERE status <> 'completed';

CREATE INDEX idx_tasks_workflow_id ON tasks (workflow_id, ordinal) WHERE status <> 'completed';

CREATE INDEX idx_tasks_workflow_status ON tasks (workflow_id, status) WHERE status <> 'completed';

CREATE INDEX idx_webhooks_status ON webhooks (status, next_retry_at);

CREATE INDEX idx_webhooks_workflow ON webhooks (workflow_id);

CREATE INDEX idx_workflows_name ON workflows (workflow_name);

CREATE INDEX idx_workflows_parent ON workflows (parent_workflow_id) WHERE parent_workflow_id IS NOT NULL;

CREATE INDEX idx_workflows_poll ON workflows (status, mode);

CREATE INDEX idx_workflows_start_time ON workflows (start_time);

CREATE UNIQUE INDEX idx_tasks_event_token ON tasks (event_token) WHERE event_token IS NOT NULL;
