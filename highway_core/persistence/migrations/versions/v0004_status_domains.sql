-- Statuses as domains. A CHECK constraint of a table is read anew by every statement that writes to it, which was a fifth
-- of what PostgreSQL had to do for a commit; the constraint of a domain is kept ready by the connection.
CREATE DOMAIN run_mode AS text CONSTRAINT ck_workflows_mode CHECK (value = ANY ('{LOCAL,DURABLE}'));
CREATE DOMAIN run_status AS text CONSTRAINT ck_workflows_status CHECK (
    value = ANY ('{PENDING,running,PAUSED,completed,failed,cancelled}'));
CREATE DOMAIN task_status AS text CONSTRAINT ck_tasks_status CHECK (
    value = ANY ('{PENDING,QUEUED,running,WAITING_FOR_TIMER,WAITING_FOR_EVENT,WAITING_FOR_CHILDREN,completed,failed,'
        'skipped,upstream_failed,cancelled}'));
CREATE DOMAIN queue_status AS text CONSTRAINT ck_task_queue_status CHECK (
    value = ANY ('{QUEUED,running,WAITING_FOR_TIMER,WAITING_FOR_EVENT,PAUSED}'));
ALTER TABLE workflows
    DROP CONSTRAINT ck_workflows_mode, DROP CONSTRAINT ck_workflows_status,
    ALTER COLUMN mode TYPE run_mode, ALTER COLUMN status TYPE run_status;
ALTER TABLE tasks DROP CONSTRAINT ck_tasks_status, ALTER COLUMN status TYPE task_status;
ALTER TABLE task_queue DROP CONSTRAINT ck_task_queue_status, ALTER COLUMN status TYPE queue_status;
