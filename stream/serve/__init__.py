"""A server for live sessions: a page in the browser, and the same events for programs."""
