"""Highway Core: a workflow engine that runs the same document in this process or durably on PostgreSQL."""
