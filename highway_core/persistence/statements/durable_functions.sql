-- The hot path of DURABLE mode: one round trip a transition, however many runs it touches. Installed anew by every
-- upgrade, because these functions belong to the version of the code that calls them. @NAME@ is a status of lifecycle.py.
--
-- Lock order: run rows by id, then everything else. A commit names the version of each run that it was worked out from,
-- and the claims (fences) that it uses up; a run for which either is no longer true is left alone and named in the
-- answer, the others are committed.

CREATE OR REPLACE FUNCTION highway_commit(
    p_worker text,
    p_lease double precision,   -- seconds
    p_runs json,                -- [{r, v, n, s, e, o, f}] run, version, last log seq, status, error, result, is final
    p_consume json,             -- [{r, t, k, f, h}] queue rows that we hold and that are done with (h: and that stay)
    p_drop json,                -- [{r, t}] tasks that have no queue rows any more
    p_new json,                 -- [{r, t, v, …}] whole task rows, v: the run's version from now on
    p_tasks json,               -- [{r, t, v, …}] what changes of task rows
    p_queue json,               -- [{r, t, k, …}] queue rows
    p_log json,                 -- [{r, n, at, k, t, ft, a, d}]
    p_rare json                 -- see highway_commit_rare
) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    fresh text[];               -- the runs that are as we know them
    stale text[];
    ended text[];
BEGIN
    SELECT array_agg(locked.workflow_id) INTO fresh
      FROM (SELECT w.workflow_id, w.version, x.v
              FROM json_to_recordset(p_runs) AS x(r text, v bigint) JOIN workflows w ON w.workflow_id = x.r
             ORDER BY w.workflow_id FOR NO KEY UPDATE OF w) AS locked
     WHERE locked.version = locked.v;
    IF p_consume IS NOT NULL THEN
        SELECT array_agg(DISTINCT x.r) INTO stale
          FROM json_to_recordset(p_consume) AS x(r text, t text, k text, f bigint)
         WHERE (SELECT q.status FROM task_queue q WHERE q.workflow_id = x.r AND q.task_id = x.t AND q.kind = x.k
                   AND q.fence = x.f FOR UPDATE) IS DISTINCT FROM @RUNNING@;
        IF stale IS NOT NULL THEN
            SELECT array_agg(one) INTO fresh FROM unnest(fresh) AS one WHERE NOT one = ANY (stale);
        END IF;
    END IF;
    IF fresh IS NULL THEN
        RETURN ARRAY(SELECT x.r FROM json_to_recordset(p_runs) AS x(r text));
    END IF;

    IF p_consume IS NOT NULL THEN
        DELETE FROM task_queue q USING json_to_recordset(p_consume) AS x(r text, t text, k text, h boolean)
         WHERE q.workflow_id = x.r AND q.task_id = x.t AND q.kind = x.k AND x.r = ANY (fresh) AND x.h IS NULL;
    END IF;
    IF p_drop IS NOT NULL THEN
        DELETE FROM task_queue q USING json_to_recordset(p_drop) AS x(r text, t text)
         WHERE q.workflow_id = x.r AND q.task_id = x.t AND x.r = ANY (fresh);
    END IF;
    IF p_new IS NOT NULL THEN
        INSERT INTO tasks AS old (workflow_id, task_id, scope, node, version, operator_type, runtime, function, image,
                command_json, args_json, kwargs_json, result_key, dependencies_json, ordinal, created_at, updated_at,
                status, attempt, fence, started_at, completed_at, ended_seq, error_message, result_value_json,
                wake_up_at, event_token, progress_json, worker_id)
        SELECT x.r, x.t, x.sc, x.nd, x.v, x.op, x.rt, x.fn, x.im, x.cm, x.ar, x.kw, x.rk, x.de, x.od,
               to_timestamp(x.cr), clock_timestamp(), x.st, x.a, x.f, to_timestamp(x.sa), to_timestamp(x.ca), x.es,
               x.er, x.rs, to_timestamp(x.wk), x.tk, x.pg, p_worker
          FROM json_to_recordset(p_new) AS x(r text, t text, v bigint, sc text, nd integer, op text, rt text, fn text,
                im text, cm text, ar text, kw text, rk text, de text, od bigint, cr double precision, st text, a integer,
                f bigint, sa double precision, ca double precision, es bigint, er text, rs text,
                wk double precision, tk text, pg text)
         WHERE x.r = ANY (fresh)
        ON CONFLICT ON CONSTRAINT uix_task_workflow_pair DO UPDATE
           SET scope = excluded.scope, node = excluded.node, version = excluded.version,
               updated_at = excluded.updated_at, status = excluded.status, attempt = excluded.attempt,
               fence = excluded.fence, started_at = excluded.started_at, completed_at = excluded.completed_at,
               ended_seq = excluded.ended_seq, error_message = excluded.error_message,
               result_value_json = excluded.result_value_json, wake_up_at = excluded.wake_up_at,
               event_token = CASE WHEN excluded.status = @WAITING_FOR_EVENT@
                                  THEN coalesce(excluded.event_token, old.event_token) END,
               progress_json = excluded.progress_json,
               worker_id = excluded.worker_id;
    END IF;
    IF p_tasks IS NOT NULL THEN
        UPDATE tasks t
           SET version = x.v, updated_at = clock_timestamp(), status = x.st,
               -- Claims that the run has not heard of had numbers of their own; what is open is bound to those it gave.
               attempt = CASE WHEN x.ca IS NULL THEN x.a ELSE greatest(x.a, t.attempt) END,
               fence = CASE WHEN x.ca IS NULL THEN x.f ELSE greatest(x.f, t.fence) END,
               started_at = to_timestamp(x.sa), completed_at = to_timestamp(x.ca), ended_seq = x.es,
               error_message = x.er, result_value_json = x.rs, wake_up_at = to_timestamp(x.wk),
               event_token = CASE WHEN x.st = @WAITING_FOR_EVENT@ THEN coalesce(x.tk, t.event_token) END,
               progress_json = x.pg, worker_id = p_worker
          FROM json_to_recordset(p_tasks) AS x(r text, t text, v bigint, st text, a integer, f bigint,
                sa double precision, ca double precision, es bigint, er text, rs text, wk double precision, tk text,
                pg text)
         WHERE t.workflow_id = x.r AND t.task_id = x.t AND x.r = ANY (fresh);
    END IF;
    IF p_queue IS NOT NULL THEN
        INSERT INTO task_queue AS old (workflow_id, task_id, kind, status, queue, priority, due_at, event_name, fence,
                attempt, lease_until, worker_id, payload_json)
        SELECT x.r, x.t, x.k, x.st, x.q, x.p, to_timestamp(x.du), x.ev, x.f, x.a,
               CASE WHEN x.st = @RUNNING@ THEN clock_timestamp() + p_lease * interval '1 second' END,
               CASE WHEN x.st = @RUNNING@ THEN p_worker END, x.pl
          FROM json_to_recordset(p_queue) AS x(r text, t text, k text, st text, q text, p integer,
                du double precision, ev text, f bigint, a integer, pl text)
         WHERE x.r = ANY (fresh)
        ON CONFLICT ON CONSTRAINT pk_task_queue DO UPDATE
           SET status = excluded.status, created_at = excluded.created_at, due_at = excluded.due_at,
               event_name = excluded.event_name, fence = excluded.fence, attempt = excluded.attempt,
               lease_until = excluded.lease_until, worker_id = excluded.worker_id,
               payload_json = excluded.payload_json, lease_losses = 0;
    END IF;
    INSERT INTO event_log (workflow_id, seq, at, kind, task_id, from_task, attempt, worker_id, detail)
    SELECT x.r, x.n, to_timestamp(x.at), x.k, x.t, x.ft, x.a, p_worker, x.d
      FROM json_to_recordset(p_log) AS x(r text, n bigint, at double precision, k text, t text, ft text, a integer,
            d text)
     WHERE x.r = ANY (fresh);
    WITH moved AS (
        UPDATE workflows w
           SET version = x.v + 1, log_seq = x.n, updated_at = clock_timestamp(),
               status = coalesce(x.s, w.status),
               error_message = CASE WHEN x.s IS NULL THEN w.error_message ELSE x.e END,
               result_json = CASE WHEN x.s IS NULL THEN w.result_json ELSE x.o END,
               end_time = CASE WHEN x.s IS NULL THEN w.end_time WHEN x.f THEN clock_timestamp() END
          FROM json_to_recordset(p_runs) AS x(r text, v bigint, n bigint, s text, e text, o text, f boolean)
         WHERE w.workflow_id = x.r AND x.r = ANY (fresh)
        RETURNING x.r, x.f)
    SELECT array_agg(moved.r) FILTER (WHERE moved.f) INTO ended FROM moved;
    IF ended IS NOT NULL THEN
        DELETE FROM task_queue WHERE workflow_id = ANY (ended);
    END IF;
    IF p_rare IS NOT NULL THEN
        PERFORM highway_commit_after(fresh, p_rare);
    END IF;
    IF cardinality(fresh) = json_array_length(p_runs) THEN
        RETURN '{}';
    END IF;
    RETURN ARRAY(SELECT x.r FROM json_to_recordset(p_runs) AS x(r text) WHERE NOT x.r = ANY (fresh));
END $$;

-- What a commit holds only now and then: former activations of loops, memory, variables, events, approvals, child runs and messages to other runs.
CREATE OR REPLACE FUNCTION highway_commit_after(fresh text[], p json) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    one text;
BEGIN
    -- Iterations of an attempt that is over are no part of the run's state any more. The queue before the tasks, as a
    -- claim takes them.
    DELETE FROM task_queue q USING json_to_recordset(p -> 'detach') AS x(r text, prefix text)
     WHERE q.workflow_id = x.r AND starts_with(q.task_id, x.prefix) AND x.r = ANY (fresh);
    UPDATE tasks t SET node = NULL, version = w.version
      FROM json_to_recordset(p -> 'detach') AS x(r text, prefix text) JOIN workflows w ON w.workflow_id = x.r
     WHERE t.workflow_id = x.r AND starts_with(t.scope, x.prefix) AND x.r = ANY (fresh);
    INSERT INTO workflow_memory AS old (id, workflow_id, memory_key, memory_value_json, created_at, updated_at, version)
    SELECT 0, x.r, x.k, x.v, clock_timestamp(), clock_timestamp(), x.n
      FROM json_to_recordset(p -> 'memory') AS x(r text, k text, v text, n bigint) WHERE x.r = ANY (fresh)
    ON CONFLICT ON CONSTRAINT uix_workflow_memory_key_unique DO UPDATE
       SET memory_value_json = excluded.memory_value_json, updated_at = excluded.updated_at,
           version = excluded.version;
    UPDATE workflows w SET variables_json = x.v, variables_version = w.version
      FROM json_to_recordset(p -> 'variables') AS x(r text, v text)
     WHERE w.workflow_id = x.r AND x.r = ANY (fresh);
    DELETE FROM idempotent_results i USING json_to_recordset(p -> 'left') AS x(r text, k text, v text)
     WHERE i.idempotency_key = x.k AND x.v IS NULL AND i.workflow_id = x.r AND x.r = ANY (fresh);
    INSERT INTO idempotent_results AS old (idempotency_key, result_json, workflow_id, task_id, created_at)
    SELECT x.k, x.v, x.r, x.t, clock_timestamp()
      FROM json_to_recordset(p -> 'left') AS x(r text, t text, k text, v text)
     WHERE x.v IS NOT NULL AND x.r = ANY (fresh)
    ON CONFLICT ON CONSTRAINT pk_idempotent_results DO UPDATE
       SET result_json = excluded.result_json, workflow_id = excluded.workflow_id, task_id = excluded.task_id;
    UPDATE approvals a SET status = x.st
      FROM json_to_recordset(p -> 'approvals_over') AS x(r text, t text, st text)
     WHERE a.workflow_id = x.r AND a.task_id = x.t AND (a.status || '') = @APPROVAL_PENDING@ AND x.r = ANY (fresh);
    INSERT INTO approvals (approval_id, workflow_id, task_id, fence, status, prompt, assignee, choices_json,
            token_hash, expires_at, notify_after)
    SELECT x.id, x.r, x.t, x.f, @APPROVAL_PENDING@, x.prompt, x.assignee, x.choices, x.hash, to_timestamp(x.expires),
           clock_timestamp() + interval '30 seconds'
      FROM json_to_recordset(p -> 'approvals') AS x(id text, r text, t text, f bigint, prompt text, assignee text,
            choices text, hash text, expires double precision)
     WHERE x.r = ANY (fresh);
    -- The status is compared so that no index of all open approvals seems to fit.
    UPDATE approvals a SET status = @APPROVAL_CANCELLED@
      FROM json_to_recordset(p -> 'ended') AS x(r text)
     WHERE a.workflow_id = x.r AND (a.status || '') = @APPROVAL_PENDING@ AND x.r = ANY (fresh);
    PERFORM highway_start(p -> 'children', fresh);
    INSERT INTO task_queue AS old (workflow_id, task_id, kind, status, queue, priority, payload_json)
    SELECT x.r, x.t, x.k, @QUEUED@, w.queue, coalesce(w.priority, 0), x.pl
      FROM (SELECT x.by, x.r, x.t, x.k, x.pl
              FROM json_to_recordset(p -> 'messages') AS x(by text, r text, t text, k text, pl text)
             UNION ALL -- A child that was not started, because another run has its id: its parent hears so.
            SELECT x.by, x.pr, x.pt, @KIND_CHILD@ || ':' || x.pb, x.id
              FROM json_to_recordset(p -> 'children') AS x(by text, id text, pr text, pt text, pb text)
              JOIN workflows c ON c.workflow_id = x.id
             WHERE (c.parent_workflow_id, c.parent_task_id, c.parent_branch) IS DISTINCT FROM (x.pr, x.pt, x.pb)) AS x
      JOIN workflows w ON w.workflow_id = x.r AND w.end_time IS NULL
     WHERE x.by = ANY (fresh) AND (x.k <> @KIND_CANCEL@ OR w.parent_workflow_id = x.by)
    -- Said again while somebody works on what was said before: he has not heard this, so he must come too late.
    ON CONFLICT ON CONSTRAINT pk_task_queue DO UPDATE
       SET status = excluded.status, fence = old.fence + 1, lease_until = NULL, worker_id = NULL,
           created_at = excluded.created_at, payload_json = excluded.payload_json;
    -- A paused run keeps its place in the queue and is not claimed.
    UPDATE task_queue q SET status = CASE WHEN x."on" THEN @RUN_PAUSED@ ELSE @QUEUED@ END
      FROM json_to_recordset(p -> 'hold') AS x(r text, "on" boolean)
     WHERE q.workflow_id = x.r AND q.kind IN (@KIND_WORK@, @KIND_START@) AND x.r = ANY (fresh)
       AND q.status = CASE WHEN x."on" THEN @QUEUED@ ELSE @RUN_PAUSED@ END;
    -- Who waits for an event and who emits it must not miss each other: both hold the lock of its name.
    FOR one IN SELECT DISTINCT x.name FROM json_to_recordset(p -> 'names') AS x(name text) ORDER BY 1 LOOP
        PERFORM pg_advisory_xact_lock(hashtextextended(one, 7));
    END LOOP;
    INSERT INTO events (name, payload_json, workflow_id, task_id)
    SELECT x.name, x.payload, x.r, x.t
      FROM json_to_recordset(p -> 'events') AS x(r text, t text, name text, payload text) WHERE x.r = ANY (fresh);
    FOR one IN SELECT DISTINCT x.name FROM json_to_recordset(p -> 'names') AS x(name text) ORDER BY 1 LOOP
        PERFORM highway_deliver(one);
    END LOOP;
END $$;

-- Make those who wait for an event claimable, if there is one. A row that is locked is being decided by its own run.
CREATE OR REPLACE FUNCTION highway_deliver(p_name text) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    amount integer;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM events WHERE name = p_name) THEN
        RETURN 0;
    END IF;
    WITH waiting AS MATERIALIZED (
        SELECT workflow_id, task_id, kind FROM task_queue
         WHERE event_name = p_name AND status = @WAITING_FOR_EVENT@ FOR UPDATE SKIP LOCKED)
    UPDATE task_queue q
       SET status = @QUEUED@, created_at = clock_timestamp(), due_at = NULL
      FROM waiting WHERE q.workflow_id = waiting.workflow_id AND q.task_id = waiting.task_id AND q.kind = waiting.kind;
    GET DIAGNOSTICS amount = ROW_COUNT;
    RETURN amount;
END $$;

-- Store an event that came from outside, and wake who waits for it. The number of those.
CREATE OR REPLACE FUNCTION highway_emit(p_name text, p_payload text, p_by text) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(p_name, 7));
    INSERT INTO events (name, payload_json, created_by) VALUES (p_name, p_payload, p_by);
    RETURN highway_deliver(p_name);
END $$;

-- Create runs, each with the message that begins it. [{by, id, name, hash, st, vars, inp, start, queue, prio, tags, ph,
-- who, depth, pr, pt, pb, sid, slot, dl}]; ``by`` is the run that starts a child, and must be in ``fresh`` if that is given.
CREATE OR REPLACE FUNCTION highway_start(p_rows json, fresh text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
    WITH made AS (
        INSERT INTO workflows (workflow_id, workflow_name, mode, status, start_time, updated_at, start_task,
                variables_json, inputs_json, definition_hash, owner, priority, tags_json, queue, payload_hash,
                created_by, depth, parent_workflow_id, parent_task_id, parent_branch, schedule_id, slot, timeout_seconds,
                log_seq)
        SELECT x.id, x.name, @DURABLE@, @RUN_PENDING@, clock_timestamp(), clock_timestamp(), x.start, x.vars, x.inp,
               x.hash, '', x.prio, x.tags, coalesce(x.queue, 'default'), x.ph, x.who, coalesce(x.depth, 0), x.pr, x.pt,
               x.pb, x.sid, to_timestamp(x.slot), x.dl, 1
          FROM json_to_recordset(p_rows) AS x(by text, id text, name text, hash text, vars text, inp text, start text,
                queue text, prio integer, tags text, ph text, who text, depth integer, pr text, pt text, pb text,
                sid text, slot double precision, dl integer)
         WHERE fresh IS NULL OR x.by = ANY (fresh)
        ON CONFLICT DO NOTHING
        RETURNING workflow_id, queue, priority, created_by),
    queued AS (
        INSERT INTO task_queue (workflow_id, task_id, kind, status, queue, priority)
        SELECT made.workflow_id, '', @KIND_START@, @QUEUED@, made.queue, coalesce(made.priority, 0) FROM made),
    logged AS (
        INSERT INTO event_log (workflow_id, seq, at, kind, detail)
        SELECT made.workflow_id, 1, clock_timestamp(), 'run.' || @RUN_PENDING@, made.created_by FROM made)
    SELECT made.workflow_id FROM made;
END $$;

-- A start by a user. ``p_docs`` [{hash, name, doc}] are the documents that the database may not know yet. A run that has
-- an idempotency key ({…, key}), or an id that its caller chose (its key is then that), is created once for good; the
-- answer is [{id, created, same, status, asked}] in any order: ``asked`` is the id that was asked for, ``id`` that of the
-- run there is; ``same``: the payload is that of the first time.
CREATE OR REPLACE FUNCTION highway_submit(p_docs json, p_rows json) RETURNS json LANGUAGE plpgsql AS $$
DECLARE
    one record;
    known idempotency_keys;
    taken record;
    answer jsonb := '[]';
BEGIN
    IF p_docs IS NOT NULL THEN
        INSERT INTO workflow_definitions (definition_hash, workflow_name, definition_json, created_at)
        SELECT x.hash, x.name, x.doc, clock_timestamp()
          FROM json_to_recordset(p_docs) AS x(hash text, name text, doc text) ORDER BY x.hash
        ON CONFLICT DO NOTHING;
    END IF;
    FOR one IN SELECT row.value AS body, row.value ->> 'id' AS id, row.value ->> 'key' AS key, row.value ->> 'ph' AS hash
                 FROM json_array_elements(p_rows) AS row ORDER BY row.value ->> 'key' LOOP
        IF one.key IS NOT NULL THEN
            INSERT INTO idempotency_keys (key, workflow_id, payload_hash) VALUES (one.key, one.id, one.hash)
            ON CONFLICT DO NOTHING;
            IF NOT FOUND THEN
                SELECT * INTO known FROM idempotency_keys WHERE key = one.key;
                answer := answer || jsonb_build_object('id', known.workflow_id, 'created', false,
                    'same', known.payload_hash = one.hash, 'asked', one.id,
                    'status', (SELECT status FROM workflows WHERE workflow_id = known.workflow_id));
                CONTINUE;
            END IF;
        END IF;
        PERFORM highway_start(json_build_array(one.body), NULL);
        IF FOUND THEN
            answer := answer || jsonb_build_object('id', one.id, 'created', true, 'same', true, 'asked', one.id,
                'status', @RUN_PENDING@);
        ELSE -- The id was given to a run without this key, or the schedule's slot has its run.
            SELECT w.workflow_id, w.status, w.payload_hash IS NOT DISTINCT FROM one.hash AS same INTO taken
              FROM workflows w WHERE w.workflow_id = one.id OR (w.schedule_id = one.body ->> 'sid'
                    AND w.slot = to_timestamp((one.body ->> 'slot')::double precision)) LIMIT 1;
            DELETE FROM idempotency_keys WHERE key = one.key AND NOT taken.same;
            answer := answer || jsonb_build_object('id', taken.workflow_id, 'created', false, 'same', taken.same,
                'asked', one.id, 'status', taken.status);
        END IF;
    END LOOP;
    RETURN answer;
END $$;

-- Take what is to be done: messages as many as there are (up to a batch), work for the free threads. {claims, again}:
-- ``again`` is in how many seconds a rate will let more through, if that is what held work back. MATERIALIZED is not
-- optional: a nested-loop plan may otherwise claim more than it was asked for.
CREATE OR REPLACE FUNCTION highway_claim(p_worker text, p_lease double precision, p_queues text[], p_slots integer,
        p_messages integer) RETURNS json LANGUAGE plpgsql AS $$
DECLARE
    one text;
    part json;
    picked record;
    limited boolean := false;
    again double precision;
    claimed jsonb := '[]';
BEGIN
    IF p_slots > 0 THEN
        -- Of two claims that come at once only one may take the last place; always in this order, or they wait in a ring.
        PERFORM 1 FROM queue_limits WHERE scope = 'workflow' OR name = ANY (p_queues) ORDER BY scope, name FOR UPDATE;
        limited := FOUND;
    END IF;
    FOREACH one IN ARRAY p_queues LOOP
        IF p_messages > 0 THEN
            WITH c AS MATERIALIZED (
                SELECT workflow_id, task_id, kind FROM task_queue
                 WHERE queue = one AND status = @QUEUED@ AND kind <> @KIND_WORK@
                 ORDER BY created_at LIMIT p_messages FOR UPDATE SKIP LOCKED),
            taken AS (
                UPDATE task_queue q SET status = @RUNNING@, fence = q.fence + 1, worker_id = p_worker,
                       lease_until = clock_timestamp() + p_lease * interval '1 second'
                  FROM c WHERE q.workflow_id = c.workflow_id AND q.task_id = c.task_id AND q.kind = c.kind
                RETURNING q.workflow_id AS r, q.task_id AS t, q.kind AS k, q.fence AS f, q.attempt AS a,
                       q.lease_losses AS ll, q.payload_json AS pl, q.event_name AS ev)
            SELECT json_agg(row_to_json(answer)) INTO part
              FROM (SELECT taken.*, w.version AS v,
                           CASE WHEN taken.ev IS NOT NULL THEN (SELECT e.payload_json FROM events e
                                 WHERE e.name = taken.ev ORDER BY e.id DESC LIMIT 1) END AS evp,
                           CASE WHEN taken.k = @KIND_START@ AND w.version = 0 THEN (SELECT row_to_json(fresh) FROM (
                               SELECT w.workflow_id AS r, w.workflow_name AS name, w.version AS v, w.status AS s,
                                      w.log_seq AS n, w.definition_hash AS hash, w.depth, w.queue AS q,
                                      coalesce(w.priority, 0) AS p, w.parent_workflow_id AS pr,
                                      w.parent_task_id AS pt, w.parent_branch AS pb,
                                      extract(epoch FROM w.start_time) AS at, w.error_message AS e,
                                      extract(epoch FROM w.slot) AS slot, w.inputs_json AS inp,
                                      w.variables_json AS vars) AS fresh) END AS run
                      FROM taken JOIN workflows w ON w.workflow_id = taken.r) AS answer;
            IF part IS NOT NULL THEN
                claimed := claimed || part::jsonb;
            END IF;
        END IF;
        CONTINUE WHEN p_slots <= 0;
        IF limited THEN
            SELECT * INTO picked FROM highway_pick(one, p_slots);
            again := least(again, picked.again);
        ELSE
            SELECT array_agg(workflow_id) AS runs, array_agg(task_id) AS paths INTO picked FROM (
                SELECT workflow_id, task_id FROM task_queue
                 WHERE queue = one AND status = @QUEUED@ AND kind = @KIND_WORK@ AND lane IS NULL
                 ORDER BY priority DESC, created_at LIMIT p_slots FOR UPDATE SKIP LOCKED) AS found;
        END IF;
        IF picked.runs IS NOT NULL THEN
            -- What an attempt is begun with must survive a crash of the server: its number and fence are given out once.
            SET LOCAL synchronous_commit TO DEFAULT;
            WITH c AS MATERIALIZED (SELECT * FROM unnest(picked.runs, picked.paths) AS c(workflow_id, task_id)),
            taken AS (
                UPDATE task_queue q SET status = @RUNNING@, fence = q.fence + 1, attempt = q.attempt + 1,
                       worker_id = p_worker, lease_until = clock_timestamp() + p_lease * interval '1 second'
                  FROM c WHERE q.workflow_id = c.workflow_id AND q.task_id = c.task_id AND q.kind = @KIND_WORK@
                RETURNING q.workflow_id AS r, q.task_id AS t, q.kind AS k, q.fence AS f, q.attempt AS a,
                       q.lease_losses AS ll),
            shown AS (
                UPDATE tasks t SET status = @RUNNING@, attempt = taken.a, fence = taken.f, worker_id = p_worker,
                       started_at = coalesce(t.started_at, clock_timestamp()), updated_at = clock_timestamp()
                  FROM taken WHERE t.workflow_id = taken.r AND t.task_id = taken.t AND t.status IN (@QUEUED@, @RUNNING@))
            SELECT json_agg(row_to_json(answer)) INTO part
              FROM (SELECT taken.*, w.version AS v FROM taken JOIN workflows w ON w.workflow_id = taken.r) AS answer;
            claimed := claimed || coalesce(part::jsonb, '[]');
            p_slots := p_slots - cardinality(picked.runs);
        END IF;
    END LOOP;
    RETURN json_build_object('claims', claimed, 'again', again);
END $$;

-- What is claimed for a worker that does not know of it, because the answer of a claim or of a commit got lost: claimed
-- anew, under a higher fence, and no further attempt is counted. ``p_held`` [{r, t, k, f}] is what it knows of.
CREATE OR REPLACE FUNCTION highway_adopt(p_worker text, p_lease double precision, p_held json) RETURNS json
LANGUAGE plpgsql AS $$
DECLARE
    claimed json;
BEGIN
    WITH c AS MATERIALIZED (
        SELECT workflow_id, task_id, kind FROM task_queue q
         WHERE status = @RUNNING@ AND worker_id = p_worker
           AND NOT EXISTS (SELECT 1 FROM json_to_recordset(p_held) AS x(r text, t text, k text, f bigint)
                            WHERE x.r = q.workflow_id AND x.t = q.task_id AND x.k = q.kind AND x.f = q.fence)
         FOR UPDATE SKIP LOCKED),
    taken AS (
        UPDATE task_queue q SET fence = q.fence + 1, lease_until = clock_timestamp() + p_lease * interval '1 second'
          FROM c WHERE q.workflow_id = c.workflow_id AND q.task_id = c.task_id AND q.kind = c.kind
        RETURNING q.workflow_id AS r, q.task_id AS t, q.kind AS k, q.fence AS f, q.attempt AS a,
               q.lease_losses AS ll, q.payload_json AS pl, q.event_name AS ev),
    shown AS (
        UPDATE tasks t SET status = @RUNNING@, attempt = taken.a, fence = taken.f, worker_id = p_worker,
               updated_at = clock_timestamp()
          FROM taken WHERE taken.k = @KIND_WORK@ AND t.workflow_id = taken.r AND t.task_id = taken.t
           AND t.status IN (@QUEUED@, @RUNNING@))
    SELECT json_agg(row_to_json(answer)) INTO claimed
      FROM (SELECT taken.*, w.version AS v,
                   CASE WHEN taken.ev IS NOT NULL THEN (SELECT e.payload_json FROM events e
                         WHERE e.name = taken.ev ORDER BY e.id DESC LIMIT 1) END AS evp
              FROM taken JOIN workflows w ON w.workflow_id = taken.r) AS answer;
    RETURN claimed;
END $$;

-- The work of a queue that may be begun now, where there are limits; the caller holds their rows. What belongs to runs of
-- a limited workflow is set apart under its name (its lane) when it is first met, so that no claim has to read past all
-- that may not begin. Names are looked up by run: a join may begin with all runs of a name. ``again``: see highway_claim.
CREATE OR REPLACE FUNCTION highway_pick(p_queue text, p_slots integer, OUT runs text[], OUT paths text[],
        OUT again double precision) LANGUAGE plpgsql AS $$
DECLARE
    amount integer := highway_room('queue', p_queue, p_queue, p_slots);
    batch integer := p_slots;
    lanes text[];
    rooms integer[];
    gone text[];
BEGIN
    IF amount > 0 AND EXISTS (SELECT 1 FROM queue_limits WHERE scope = 'workflow') THEN
        FOR round IN 1 .. 10 LOOP
            WITH head AS MATERIALIZED (
                SELECT q.workflow_id, q.task_id,
                       (SELECT w.workflow_name FROM workflows w WHERE w.workflow_id = q.workflow_id) AS name
                  FROM task_queue q
                 WHERE q.queue = p_queue AND q.status = @QUEUED@ AND q.kind = @KIND_WORK@ AND q.lane IS NULL
                 ORDER BY q.priority DESC, q.created_at LIMIT batch),
            apart AS MATERIALIZED (
                SELECT q.workflow_id, q.task_id, l.name
                  FROM head JOIN queue_limits l ON l.scope = 'workflow' AND l.name = head.name
                  JOIN task_queue q ON q.workflow_id = head.workflow_id AND q.task_id = head.task_id
                       AND q.kind = @KIND_WORK@ AND q.status = @QUEUED@
                   FOR UPDATE OF q SKIP LOCKED)
            UPDATE task_queue q SET lane = apart.name FROM apart
             WHERE q.workflow_id = apart.workflow_id AND q.task_id = apart.task_id AND q.kind = @KIND_WORK@;
            EXIT WHEN NOT FOUND;
            batch := 500;
            again := CASE WHEN round = 10 THEN 0 END; -- there are more, and others behind them
        END LOOP;
        SELECT array_agg(l.name), array_agg(highway_room('workflow', l.name, p_queue, amount)) INTO lanes, rooms
          FROM queue_limits l
         WHERE l.scope = 'workflow' AND EXISTS (SELECT 1 FROM task_queue q
                WHERE q.lane = l.name AND q.queue = p_queue AND q.status = @QUEUED@ AND q.kind = @KIND_WORK@);
    END IF;
    WITH loose AS MATERIALIZED (
        SELECT q.workflow_id, q.task_id, q.priority, q.created_at,
               (SELECT w.workflow_name FROM workflows w WHERE w.workflow_id = q.workflow_id) AS name
          FROM task_queue q
         WHERE q.queue = p_queue AND q.status = @QUEUED@ AND q.kind = @KIND_WORK@ AND q.lane IS NULL
         ORDER BY q.priority DESC, q.created_at LIMIT amount FOR UPDATE SKIP LOCKED),
    bound AS MATERIALIZED (
        SELECT one.workflow_id, one.task_id, one.priority, one.created_at, given.lane
          FROM unnest(lanes, rooms) AS given(lane, room), LATERAL (
            SELECT q.workflow_id, q.task_id, q.priority, q.created_at FROM task_queue q
             WHERE q.lane = given.lane AND q.queue = p_queue AND q.status = @QUEUED@ AND q.kind = @KIND_WORK@
             ORDER BY q.priority DESC, q.created_at LIMIT given.room FOR UPDATE SKIP LOCKED) AS one),
    best AS (
        SELECT workflow_id, task_id, lane FROM (
            SELECT workflow_id, task_id, priority, created_at, NULL AS lane FROM loose
             WHERE NOT EXISTS (SELECT 1 FROM queue_limits l -- one may have come since the others were set apart
                    WHERE l.scope = 'workflow' AND l.name = loose.name)
            UNION ALL SELECT * FROM bound) AS either
         ORDER BY priority DESC, created_at LIMIT amount)
    SELECT array_agg(workflow_id), array_agg(task_id), array_agg(lane) INTO runs, paths, gone FROM best;
    again := least(again, highway_spend('queue', p_queue, coalesce(cardinality(runs), 0), amount));
    FOR number IN 1 .. coalesce(cardinality(lanes), 0) LOOP
        again := least(again, highway_spend('workflow', lanes[number],
            cardinality(array_positions(gone, lanes[number])), rooms[number]));
    END LOOP;
END $$;

-- How many more tasks a limit lets begin, ``p_most`` at most; no limit lets all of them.
CREATE OR REPLACE FUNCTION highway_room(p_scope text, p_name text, p_queue text, p_most integer) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    lim queue_limits;
    running bigint;
BEGIN
    SELECT * INTO lim FROM queue_limits WHERE scope = p_scope AND name = p_name;
    IF lim.max_running IS NOT NULL AND p_scope = 'queue' THEN
        SELECT count(*) INTO running FROM task_queue
         WHERE queue = p_queue AND status = @RUNNING@ AND kind = @KIND_WORK@;
    ELSIF lim.max_running IS NOT NULL THEN -- in any queue; the name looked up by run, never all runs of that name
        SELECT count(*) INTO running FROM task_queue q
         WHERE q.status = @RUNNING@ AND q.kind = @KIND_WORK@
           AND (SELECT w.workflow_name FROM workflows w WHERE w.workflow_id = q.workflow_id) = p_name;
    END IF;
    RETURN greatest(0, least(p_most, lim.max_running - running, floor(highway_tokens(lim))));
END $$;

-- What a limit's rate has saved up: one second's worth at most. NULL: it has none.
CREATE OR REPLACE FUNCTION highway_tokens(lim queue_limits) RETURNS double precision LANGUAGE sql AS $$
    SELECT least(greatest(lim.rate_per_second, 1), lim.tokens + lim.rate_per_second
        * extract(epoch FROM clock_timestamp() - lim.refilled_at)) WHERE lim.rate_per_second IS NOT NULL
$$;

-- So many tasks have been begun under a limit that let ``p_room`` begin. If it was its rate that let no more: in how many
-- seconds it will.
CREATE OR REPLACE FUNCTION highway_spend(p_scope text, p_name text, p_amount integer, p_room integer)
RETURNS double precision LANGUAGE plpgsql AS $$
DECLARE
    lim queue_limits;
    remaining double precision;
BEGIN
    SELECT * INTO lim FROM queue_limits WHERE scope = p_scope AND name = p_name AND rate_per_second IS NOT NULL;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    remaining := highway_tokens(lim) - coalesce(p_amount, 0);
    IF p_amount > 0 THEN
        UPDATE queue_limits SET tokens = remaining, refilled_at = clock_timestamp()
         WHERE scope = p_scope AND name = p_name;
    END IF;
    RETURN CASE WHEN remaining < 1 AND coalesce(p_amount, 0) >= p_room THEN (1 - remaining) / lim.rate_per_second END;
END $$;

-- The state of runs, whole (v = -1) or what changed after version v, optionally under their locks.
CREATE OR REPLACE FUNCTION highway_load(p_known json, p_lock boolean, p_inline integer) RETURNS json
LANGUAGE plpgsql AS $$
DECLARE
    answer json;
BEGIN
    IF p_lock THEN
        PERFORM 1 FROM workflows WHERE workflow_id IN (SELECT x.r FROM json_to_recordset(p_known) AS x(r text))
          ORDER BY workflow_id FOR NO KEY UPDATE;
    END IF;
    SELECT json_build_object(
        'runs', (SELECT json_agg(row_to_json(one)) FROM (
            SELECT w.workflow_id AS r, w.workflow_name AS name, w.version AS v, w.status AS s, w.log_seq AS n,
                   w.definition_hash AS hash, w.depth, w.queue AS q, coalesce(w.priority, 0) AS p,
                   w.parent_workflow_id AS pr, w.parent_task_id AS pt, w.parent_branch AS pb,
                   extract(epoch FROM w.start_time) AS at, w.error_message AS e, extract(epoch FROM w.slot) AS slot,
                   CASE WHEN x.v < 0 THEN w.inputs_json END AS inp,
                   CASE WHEN w.variables_version > x.v THEN w.variables_json END AS vars
              FROM json_to_recordset(p_known) AS x(r text, v bigint)
              JOIN workflows w ON w.workflow_id = x.r) AS one),
        'tasks', (SELECT json_agg(row_to_json(one)) FROM (
            SELECT t.workflow_id AS r, t.task_id AS t, t.scope AS sc, t.node AS nd, t.status AS st, t.attempt AS a,
                   t.fence AS f, extract(epoch FROM t.created_at) AS cr, extract(epoch FROM t.started_at) AS sa,
                   extract(epoch FROM t.completed_at) AS ca, t.ended_seq AS es, t.error_message AS er,
                   CASE WHEN length(t.result_value_json) <= p_inline THEN t.result_value_json END AS rs,
                   extract(epoch FROM t.wake_up_at) AS wk, t.progress_json AS pg
              FROM json_to_recordset(p_known) AS x(r text, v bigint)
              JOIN tasks t ON t.workflow_id = x.r AND t.version > x.v AND (t.node IS NOT NULL OR x.v >= 0)) AS one),
        'memory', (SELECT json_agg(row_to_json(one)) FROM (
            SELECT m.workflow_id AS r, m.memory_key AS k, m.memory_value_json AS v
              FROM json_to_recordset(p_known) AS x(r text, v bigint)
              JOIN workflow_memory m ON m.workflow_id = x.r AND m.version > x.v) AS one),
        -- Those that are not over; a condition on the rows themselves would mislead the planner.
        'children', (SELECT json_agg(row_to_json(one)) FILTER (WHERE one.open) FROM (
            SELECT c.parent_workflow_id AS r, c.parent_task_id AS t, c.workflow_id AS c, c.end_time IS NULL AS open
              FROM json_to_recordset(p_known) AS x(r text, v bigint)
              JOIN workflows c ON c.parent_workflow_id = x.r WHERE x.v < 0) AS one)
    ) INTO answer;
    RETURN answer;
END $$;

-- The circuit breaker of a task, shared by all workers: closed (isolated_until is NULL), isolated (it lies ahead) or on
-- trial (it is past). Let a call through: [isolations, 1 if it is the one trial call], or NULL. A trial lasts as long as
-- the lease of the attempt that makes it, so that nobody waits for one who is gone.
CREATE OR REPLACE FUNCTION highway_breaker_admit(p_workflow text, p_task text, p_run text, p_path text, p_fence bigint)
RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    b circuit_breakers;
BEGIN
    SELECT * INTO b FROM circuit_breakers WHERE workflow_name = p_workflow AND task_id = p_task;
    IF b.isolated_until <= clock_timestamp() THEN
        SELECT * INTO b FROM circuit_breakers WHERE workflow_name = p_workflow AND task_id = p_task FOR UPDATE;
    END IF;
    IF b.isolated_until IS NULL THEN
        RETURN ARRAY[coalesce(b.isolations, 0), 0];
    END IF;
    IF b.isolated_until > clock_timestamp() OR EXISTS (
            SELECT 1 FROM task_queue q WHERE q.workflow_id = b.trial_run AND q.task_id = b.trial_path
               AND q.kind = @KIND_WORK@ AND q.fence = b.trial_fence AND q.status = @RUNNING@) THEN
        RETURN NULL;
    END IF;
    UPDATE circuit_breakers SET trial_run = p_run, trial_path = p_path, trial_fence = p_fence
     WHERE workflow_name = p_workflow AND task_id = p_task;
    RETURN ARRAY[b.isolations, 1];
END $$;

-- What came of a call that was let through; NULL tells nothing about the other side. It is heard in the phase in which it
-- was let through, a trial as long as nobody else makes it. p_limit: how many in a row it takes to open a closed breaker,
-- or to close one on trial.
CREATE OR REPLACE FUNCTION highway_breaker_record(p_workflow text, p_task text, p_run text, p_path text, p_fence bigint,
        p_isolations bigint, p_trial boolean, p_good boolean, p_limit integer, p_seconds double precision)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    isolated timestamptz := clock_timestamp() + p_seconds * interval '1 second';
BEGIN
    IF p_trial THEN
        UPDATE circuit_breakers
           SET trial_run = NULL, trial_path = NULL, trial_fence = NULL,
               failures = 0,
               successes = CASE WHEN p_good AND successes + 1 < p_limit THEN successes + 1
                                WHEN p_good IS NULL THEN successes ELSE 0 END,
               isolations = isolations + (p_good IS FALSE)::integer,
               isolated_until = CASE WHEN p_good IS FALSE THEN isolated
                                     WHEN p_good IS NULL OR successes + 1 < p_limit THEN isolated_until END
         WHERE workflow_name = p_workflow AND task_id = p_task AND isolations = p_isolations
           AND trial_run = p_run AND trial_path = p_path AND trial_fence = p_fence;
    ELSIF p_good THEN
        UPDATE circuit_breakers SET failures = 0
         WHERE workflow_name = p_workflow AND task_id = p_task AND isolations = p_isolations
           AND isolated_until IS NULL AND failures > 0;
    ELSIF p_good IS FALSE THEN
        INSERT INTO circuit_breakers AS old (workflow_name, task_id, failures, isolations, isolated_until)
        VALUES (p_workflow, p_task, 1, (p_limit = 1)::integer, CASE WHEN p_limit = 1 THEN isolated END)
        ON CONFLICT ON CONSTRAINT pk_circuit_breakers DO UPDATE
           SET failures = old.failures + 1, isolations = old.isolations + (old.failures + 1 >= p_limit)::integer,
               isolated_until = CASE WHEN old.failures + 1 >= p_limit THEN isolated END
         WHERE old.isolations = p_isolations AND old.isolated_until IS NULL;
    END IF;
END $$;

-- Put back work whose worker is gone; bounded, and safe with any number of callers. The number of rows. (An index can be
-- asked about statement_timestamp(), and not about clock_timestamp(), which changes from row to row.)
CREATE OR REPLACE FUNCTION highway_rescue(p_limit integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    amount integer;
    moment timestamptz := clock_timestamp(); -- a volatile function in the condition would scan the index
BEGIN
    WITH lost AS MATERIALIZED (
        SELECT workflow_id, task_id, kind FROM task_queue
         WHERE status = @RUNNING@ AND lease_until < statement_timestamp()
         ORDER BY lease_until LIMIT p_limit FOR UPDATE SKIP LOCKED)
    UPDATE task_queue q
       SET status = @QUEUED@, lease_until = NULL, worker_id = NULL, lease_losses = q.lease_losses + 1,
           created_at = clock_timestamp()
      FROM lost WHERE q.workflow_id = lost.workflow_id AND q.task_id = lost.task_id AND q.kind = lost.kind;
    GET DIAGNOSTICS amount = ROW_COUNT;
    IF amount > 0 THEN
        INSERT INTO counters AS old (name, value) VALUES ('leases_lost', amount)
        ON CONFLICT ON CONSTRAINT pk_counters DO UPDATE SET value = old.value + excluded.value;
    END IF;
    RETURN amount;
END $$;

-- Make what is due claimable: timers, retries, timeouts, deadlines. The number of rows.
CREATE OR REPLACE FUNCTION highway_wake(p_limit integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    amount integer;
    moment timestamptz := clock_timestamp();
BEGIN
    WITH due AS MATERIALIZED (
        SELECT workflow_id, task_id, kind FROM task_queue
         WHERE due_at <= statement_timestamp() AND status IN (@WAITING_FOR_TIMER@, @WAITING_FOR_EVENT@)
         ORDER BY due_at LIMIT p_limit FOR UPDATE SKIP LOCKED)
    UPDATE task_queue q SET status = @QUEUED@, created_at = q.due_at, due_at = NULL
      FROM due WHERE q.workflow_id = due.workflow_id AND q.task_id = due.task_id AND q.kind = due.kind;
    GET DIAGNOSTICS amount = ROW_COUNT;
    RETURN amount;
END $$;

-- Make a failed or cancelled run go on from the tasks that were not completed: they are as if they had not begun, but for
-- their fences and attempts, which only grow. The status that the run had; NULL if there is no such run.
CREATE OR REPLACE FUNCTION highway_reopen(p_run text, p_by text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    w workflows;
BEGIN
    SELECT * INTO w FROM workflows WHERE workflow_id = p_run FOR NO KEY UPDATE;
    IF NOT FOUND OR w.status NOT IN (@RUN_FAILED@, @RUN_CANCELLED@) THEN
        RETURN w.status;
    END IF;
    UPDATE tasks SET node = NULL, version = w.version + 1
     WHERE workflow_id = p_run AND EXISTS (SELECT 1 FROM tasks loop
            WHERE loop.workflow_id = p_run AND loop.node IS NOT NULL AND loop.status <> @COMPLETED@
              AND starts_with(tasks.scope, loop.task_id || '['));
    UPDATE tasks SET status = @PENDING@, version = w.version + 1, fence = fence + 1, completed_at = NULL,
           started_at = NULL, ended_seq = NULL, error_message = NULL, result_value_json = NULL, wake_up_at = NULL,
           progress_json = NULL
     WHERE workflow_id = p_run AND node IS NOT NULL AND status <> @COMPLETED@;
    UPDATE workflows SET status = @RUN_RUNNING@, end_time = NULL, error_message = NULL, result_json = NULL,
           timeout_seconds = NULL, version = w.version + 1, log_seq = w.log_seq + 1, updated_at = clock_timestamp()
     WHERE workflow_id = p_run;
    INSERT INTO event_log (workflow_id, seq, at, kind, detail)
    VALUES (p_run, w.log_seq + 1, clock_timestamp(), 'operator.retry', p_by);
    RETURN w.status;
END $$;

-- Every statement here finds its rows by an index, few at a time, and its plan is kept for the life of a connection. The
-- planner, left to itself, reads whole tables where it believes them small (it plans in the first second of a database
-- and its plans stay), or because it expects a hundred rows of every parameter.
DO $$
DECLARE
    one text;
BEGIN
    FOREACH one IN ARRAY ARRAY['highway_commit', 'highway_emit', 'highway_deliver', 'highway_start', 'highway_submit',
                               'highway_claim', 'highway_adopt', 'highway_load', 'highway_rescue', 'highway_wake',
                               'highway_reopen', 'highway_breaker_admit', 'highway_breaker_record'] LOOP
        EXECUTE format('ALTER FUNCTION %I SET enable_seqscan = off', one);
        EXECUTE format('ALTER FUNCTION %I SET enable_hashjoin = off', one);
        EXECUTE format('ALTER FUNCTION %I SET enable_mergejoin = off', one);
        EXECUTE format('ALTER FUNCTION %I SET plan_cache_mode = force_generic_plan', one);
        EXECUTE format('ALTER FUNCTION %I SET jit = off', one);
    END LOOP;
END $$;
