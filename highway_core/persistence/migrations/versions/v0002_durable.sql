-- What DURABLE mode adds to a PostgreSQL database: columns of a run's and a task's durable state, the queue, and the
-- tables around them. Every table that belongs to runs leads its key with workflow_id, so that it can be distributed.

ALTER TABLE workflows
    ADD COLUMN version bigint NOT NULL DEFAULT 0,           -- grows with every transition; an image of a run is as old as the version it knows
    ADD COLUMN variables_version bigint NOT NULL DEFAULT 0, -- the version at which variables_json was written last
    ADD COLUMN log_seq bigint NOT NULL DEFAULT 0,           -- the last number given out in event_log
    ADD COLUMN depth integer NOT NULL DEFAULT 0,            -- how many runs are above it
    ADD COLUMN parent_task_id text,                         -- the task of the parent run that started it
    ADD COLUMN parent_branch text,
    ADD COLUMN queue text NOT NULL DEFAULT 'default',       -- where its tasks are queued
    ADD COLUMN payload_hash text,                           -- of document and inputs: an idempotent start compares it
    ADD COLUMN created_by text,                             -- who started it: the id of an API key, a schedule, a name
    ADD COLUMN schedule_id text,
    ADD COLUMN slot timestamptz;                            -- the schedule's slot that it was started for
ALTER TABLE workflows SET (fillfactor = 80);
CREATE UNIQUE INDEX uix_workflows_slot ON workflows (schedule_id, slot) WHERE schedule_id IS NOT NULL;
CREATE INDEX idx_workflows_newest ON workflows (start_time DESC, workflow_id) WHERE mode = 'DURABLE';
CREATE INDEX idx_workflows_open ON workflows (workflow_id) WHERE mode = 'DURABLE' AND end_time IS NULL; -- the sweep walks along it

ALTER TABLE tasks
    ADD COLUMN version bigint NOT NULL DEFAULT 0,           -- the run's version at which this row was written last
    ADD COLUMN scope text NOT NULL DEFAULT '',              -- the path prefix of the loop iteration it stands in
    ADD COLUMN node integer,                                -- its index in the graph of its scope; NULL: a former activation, no part of the run's state any more
    ADD COLUMN fence bigint NOT NULL DEFAULT 0,             -- grows with every attempt and with whatever gives one up
    ADD COLUMN ended_seq bigint,                            -- event_log.seq of its end: the order in which tasks ended
    ADD COLUMN worker_id text;
ALTER TABLE tasks SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
-- Ended tasks are most of the table and are found by their run: the indexes beside the key hold open ones only.
DROP INDEX idx_tasks_workflow_id;
DROP INDEX idx_tasks_status;
DROP INDEX idx_tasks_workflow_status;
DROP INDEX idx_tasks_poll_runnable;
CREATE INDEX idx_tasks_status ON tasks (status) WHERE completed_at IS NULL;
CREATE INDEX idx_tasks_workflow_status ON tasks (workflow_id, status) WHERE completed_at IS NULL;
CREATE INDEX idx_tasks_poll_runnable ON tasks (status, wake_up_at) WHERE wake_up_at IS NOT NULL AND completed_at IS NULL;

-- One row: something that is to be done for a run. An attempt to carry out (kind "work"), or a message to its state:
-- a timer, an event waited for, a child run that is over. Rows that wait have no lease and cost nothing.
DROP TABLE task_queue;
CREATE TABLE task_queue (
    workflow_id text NOT NULL CONSTRAINT fk_task_queue_workflow_id REFERENCES workflows ON DELETE CASCADE,
    task_id text NOT NULL,                                  -- the task's path; '' for the run itself
    kind text NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    status text NOT NULL CONSTRAINT ck_task_queue_status CHECK (
        status = 'QUEUED' OR status = 'running' OR status = 'WAITING_FOR_TIMER' OR status = 'WAITING_FOR_EVENT'
        OR status = 'PAUSED'),
    queue text NOT NULL DEFAULT 'default',
    priority integer NOT NULL DEFAULT 0,                    -- the highest is claimed first
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(), -- since when it can be claimed: among equals the oldest first
    due_at timestamptz,                                     -- of a waiting row: when the Scheduler makes it QUEUED
    event_name text,                                        -- of a row that waits for an event
    fence bigint NOT NULL DEFAULT 0,
    attempt integer NOT NULL DEFAULT 0,                     -- counted at the claim
    lease_losses integer NOT NULL DEFAULT 0,
    lease_until timestamptz,
    worker_id text,
    lane text,                                              -- the workflow under whose limit a claim has set it apart
    payload_json text,                                      -- what the message says, or the event that came
    CONSTRAINT pk_task_queue PRIMARY KEY (workflow_id, task_id, kind)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500,
        autovacuum_vacuum_cost_delay = 0);
CREATE INDEX idx_queue_poll ON task_queue (queue, priority DESC, created_at)
    WHERE status = 'QUEUED' AND kind = 'work' AND lane IS NULL;
CREATE INDEX idx_queue_lane ON task_queue (lane, queue, priority DESC, created_at)
    WHERE status = 'QUEUED' AND kind = 'work' AND lane IS NOT NULL;
-- Messages need no free thread: they are claimed apart from the work.
CREATE INDEX idx_queue_messages ON task_queue (queue, created_at) WHERE status = 'QUEUED' AND kind <> 'work';
CREATE INDEX idx_queue_due ON task_queue (due_at) WHERE due_at IS NOT NULL AND status <> 'PAUSED';
CREATE INDEX idx_queue_event ON task_queue (event_name) WHERE status = 'WAITING_FOR_EVENT';
CREATE INDEX idx_queue_lease ON task_queue (lease_until) WHERE status = 'running';

-- How much of a queue, or of the runs of one workflow, may be carried out at once and how fast.
CREATE TABLE queue_limits (
    scope text NOT NULL CONSTRAINT ck_queue_limits_scope CHECK (scope = 'queue' OR scope = 'workflow'),
    name text NOT NULL,
    max_running integer CHECK (max_running > 0),
    rate_per_second double precision CHECK (rate_per_second > 0),
    tokens double precision NOT NULL DEFAULT 0,
    refilled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_queue_limits PRIMARY KEY (scope, name)
);

-- The circuit breakers of tasks with such a policy; no row: it has never heard of a failure.
CREATE TABLE circuit_breakers (
    workflow_name text NOT NULL,
    task_id text NOT NULL,                                  -- as the document names it: iterations share it
    failures integer NOT NULL DEFAULT 0,                    -- in a row, while it is closed
    successes integer NOT NULL DEFAULT 0,                   -- in a row, while it is on trial
    isolations bigint NOT NULL DEFAULT 0,                   -- so far: calls of an older phase are not heard
    isolated_until timestamptz,                             -- NULL: closed; past: on trial
    trial_run text,                                         -- the lease of the attempt that makes the trial call
    trial_path text,
    trial_fence bigint,
    CONSTRAINT pk_circuit_breakers PRIMARY KEY (workflow_name, task_id)
);

ALTER TABLE workflow_memory ADD COLUMN version bigint NOT NULL DEFAULT 0;

CREATE TABLE event_log (
    workflow_id text NOT NULL,
    seq bigint NOT NULL,                                    -- 1, 2, 3 … within the run, without a gap
    at timestamptz NOT NULL,
    kind text NOT NULL,                                     -- run.<status> or task.<status>, or an operator's deed
    task_id text NOT NULL DEFAULT '',
    from_task text,                                         -- the task whose end led here
    attempt integer,
    worker_id text,
    detail text,                                            -- an error, a reason, who did it
    CONSTRAINT pk_event_log PRIMARY KEY (workflow_id, seq)
);

CREATE TABLE events (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_events PRIMARY KEY,
    name text NOT NULL,
    payload_json text NOT NULL,
    workflow_id text,                                       -- who emitted it; NULL: it came through the API
    task_id text,
    created_by text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX idx_events_name ON events (name, id DESC);

CREATE TABLE approvals (
    approval_id text NOT NULL,                              -- random: the key is complete without the run for who knows it
    workflow_id text NOT NULL CONSTRAINT fk_approvals_workflow_id REFERENCES workflows ON DELETE CASCADE,
    task_id text NOT NULL,
    fence bigint NOT NULL,                                  -- of the attempt that asks
    status text NOT NULL CONSTRAINT ck_approvals_status CHECK (
        status = 'PENDING' OR status = 'DECIDED' OR status = 'EXPIRED' OR status = 'CANCELLED'),
    prompt text NOT NULL,
    assignee text NOT NULL,
    choices_json text NOT NULL,
    token_hash text NOT NULL,                               -- SHA-256; the token itself is nowhere
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz,                                 -- NULL: never
    notified_at timestamptz,
    notify_after timestamptz NOT NULL DEFAULT clock_timestamp(), -- when somebody else may send the notification
    decision text,
    decided_at timestamptz,
    decided_by text,
    decided_via text,                                       -- page, token, api
    comment text,
    CONSTRAINT pk_approvals PRIMARY KEY (workflow_id, approval_id),
    CONSTRAINT ck_approvals_decided CHECK ((status = 'DECIDED') = (decision IS NOT NULL))
);
CREATE INDEX idx_approvals_id ON approvals (approval_id);
CREATE INDEX idx_approvals_token ON approvals (token_hash);
CREATE INDEX idx_approvals_run ON approvals (workflow_id, task_id);
CREATE INDEX idx_approvals_open ON approvals (created_at, approval_id) WHERE status = 'PENDING';
CREATE INDEX idx_approvals_unsent ON approvals (notify_after) WHERE status = 'PENDING' AND notified_at IS NULL;

CREATE TABLE workers (
    worker_id text NOT NULL CONSTRAINT pk_workers PRIMARY KEY,
    service text NOT NULL,                                  -- worker, scheduler, api
    host text NOT NULL,
    pid integer NOT NULL,
    queues text NOT NULL DEFAULT '',
    concurrency integer,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What an operator wants to know the number of: late answers refused, queue rows repaired, leases lost.
CREATE TABLE counters (
    name text NOT NULL CONSTRAINT pk_counters PRIMARY KEY,
    value bigint NOT NULL DEFAULT 0
);

CREATE TABLE idempotency_keys (
    key text NOT NULL CONSTRAINT pk_idempotency_keys PRIMARY KEY,
    workflow_id text NOT NULL,                              -- no reference: a key outlives its run
    payload_hash text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE api_keys (
    key_id text NOT NULL CONSTRAINT pk_api_keys PRIMARY KEY,
    secret_hash text NOT NULL,                              -- SHA-256 of the secret part
    name text NOT NULL,
    scopes_json text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);

CREATE TABLE schedules (
    schedule_id text NOT NULL CONSTRAINT pk_schedules PRIMARY KEY, -- the workflow's name unless another is given
    workflow_name text NOT NULL,
    definition_hash text NOT NULL CONSTRAINT fk_schedules_definition_hash REFERENCES workflow_definitions,
    expression text NOT NULL,                               -- five cron fields, or "@every 30m"
    timezone text NOT NULL DEFAULT 'UTC',
    inputs_json text NOT NULL DEFAULT '{}',
    start_date timestamptz,
    catchup boolean NOT NULL DEFAULT false,
    paused boolean NOT NULL DEFAULT false,
    max_active_runs integer NOT NULL DEFAULT 1,
    next_slot timestamptz,                                  -- NULL: none is left
    last_slot timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX idx_schedules_next ON schedules (next_slot) WHERE NOT paused AND next_slot IS NOT NULL;

CREATE TABLE artifacts (
    artifact_id text NOT NULL CONSTRAINT pk_artifacts PRIMARY KEY, -- SHA-256 of the content
    content bytea NOT NULL,
    size bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

ALTER TABLE idempotent_results ALTER COLUMN result_json DROP NOT NULL; -- NULL: somebody works under this key
ALTER TABLE idempotent_results ADD COLUMN task_id text;                -- the task that holds or held it
