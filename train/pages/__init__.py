"""Pages about evaluations and comparisons: tables and charts in the look of the scoring report."""
