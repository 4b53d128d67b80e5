"""Take over under load: on real Triton pods and real routers, the next version replaces the last, and clients count.

    python -m tests.takeover              both parts below, on the local cluster; exit code 1 if anything was lost
    python -m tests.takeover story        promote, abort, a bad version, revert, supersede, rollback, routers restarted
    python -m tests.takeover share        20,000 requests at a weight of 10, on one gRPC connection, then over HTTP

tests/e2e/test_takeover.py tells the same story, shorter, and asserts on it.
"""
