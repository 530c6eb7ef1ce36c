"""How much of a bundle changes, fitted to some people and chosen on others."""
