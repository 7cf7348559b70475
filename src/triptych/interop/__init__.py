"""To and from the formats and runtimes of others: checkpoints converted, graphs exported."""
