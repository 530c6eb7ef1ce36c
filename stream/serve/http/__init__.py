"""Who may connect and ask: bounds on connections, deadlines, hosts and origins, tokens, log lines."""
