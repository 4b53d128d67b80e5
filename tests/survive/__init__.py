"""What a fault on a whole cluster costs the clients, and what status says meanwhile: real kubelet, Triton, Envoy, API server.

python -m tests.survive                    the long form of every story, and the table
python -m tests.survive deaths cuts        only these
python -m tests.survive --dns-ttl 30 removals   with the DNS caching of a stock cluster

service   one ModelDeployment: apply, ask, wait     watch    what its conditions said, and when
traffic   load, small and 3 MB bodies, counted      scene    the cluster prepared, a story told under load
node      processes of pods and daemons, by pid     faults   kill, cut, freeze, stop; always undone
record    fault → requests, failures, words         report   … → table, page
killed, deaths, cuts, outage                        the stories: faults in their order, each with its recovery
"""
