"""Constant load on a served model, counted by the client: who answered, what failed, what was wrong, how long it took.

python -m tests.load --http 127.0.0.1:8000 --grpc 127.0.0.1:8001 --model fraud --artefact 1=DIR --artefact 2=DIR

targets   which addresses may be asked     questions  artefacts → requests and expected answers
senders   one protocol each                engine     the open loop
tally     answers → counts → Report        plot       a Report over time, against set weights
diary     every single answer with its moments, for who asks about a second and not about a sum
background  Load: the same in a process of its own, for tests
"""
