"""How well two annotations of the same recordings agree."""
