"""Answers for every simulated pod, in one process: routers on :9902 and :8000, Triton on :8000, told apart by the address
that was called.

    python -m tests.simulated.standin --kubeconfig FILE --control-port PORT [--seed N]
"""
