"""The engine: documents, graph, readiness, handlers, executors and the LOCAL mode that drives them."""
