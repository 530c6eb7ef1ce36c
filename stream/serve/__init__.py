"""`affectstream serve`: a page for the browser, and the same events for programs.

    server     uvicorn: listening, signals, shutdown       protocols   its HTTP and WebSocket connections
      accepting  how many connections it opens
      app      the endpoints                               guard       who may use them
                                                           access      who reaches which session
      media/   what clients send: WebRTC, or a file's bytes
      hub      all sessions                                session     one of them
      clients/ what clients receive

`batching`, `metrics`, `record` and `memory` serve the sessions; `options`, `limits` and `logs` bound them.
"""
