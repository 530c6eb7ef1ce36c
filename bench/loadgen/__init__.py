"""MLPerf's load generator drives the engines of a bundle."""
