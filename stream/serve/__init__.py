"""`affectstream serve`: a page for the browser, and the same events for programs.

    server     uvicorn: listening, signals, shutdown
      http/    who may connect and ask: connections, hosts, tokens, the sessions of others
      app      the endpoints
      ingest/  what clients send: WebRTC, or a file's bytes
      hub      all sessions
      session  one of them
      clients/ what clients receive

`batching`, `metrics`, `record` and `memory` serve the sessions; `options` and `limits` bound them.
"""
