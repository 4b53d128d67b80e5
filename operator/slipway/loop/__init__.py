"""L3: one pass of the loop, observe → plan → apply → report, and the queue that rings it."""
