-- The open tasks of one run are found by their run. Of two indexes over open tasks the planner takes either if it believes
-- that there are hardly any, which is what it counted last where everything had ended; through this one it would then read
-- all open tasks of the database, for each run. Now this one fits only who asks for a status.
DROP INDEX idx_tasks_status;
CREATE INDEX idx_tasks_status ON tasks (status) WHERE completed_at IS NULL AND status <> 'completed';
