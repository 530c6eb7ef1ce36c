"""`--workers`: several processes that serve behind one port.

The parent (`serve.supervisor`) accepts connections, hands each to the worker with the fewest sessions, and
starts a worker again that dies. Each worker (`serve.worker_process`) is a whole server with its own engines.
A session stays in the worker that opened it: the number of the worker is in its id. Whichever worker gets a
request about it passes the request on (`router`) through a socket between the two (`tunnel`).
"""
