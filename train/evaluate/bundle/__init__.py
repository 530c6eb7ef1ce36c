"""A bundle on data that has labels: its metrics, where it fails, what it costs, as files and a page."""
