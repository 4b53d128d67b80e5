"""Every way in which a rollout can go, under constant HTTP and gRPC load on real Triton pods; the clients count.

python -m tests.rollouts story                 all chapters, one after another under one load, and the table
python -m tests.rollouts story promote abort   only these
python -m tests.rollouts soak --minutes 60     random chapters until the time is over
python -m tests.rollouts bad                   canaries that are bad, each in its way: none is promoted, and what each cost

prepared  the service, its versions and their revisions     chapters   what is done in each, and what must come of it:
pods      how many pods there were at most                             placed, baked, beside, edited; expectations
                                                            telling    chapters under one load → counts by chapter
models    versions that are bad, made in a Job by faulty    bad        one bad canary under load → what the clients saw
evidence  every answer and every weight → the moments       report     tables, for a terminal and as JSON

tests/takeover tells the first rollouts of a newcomer, tests/survive what faults cost; their parts are used here.
"""
