"""Many runs: cross-validation and hyper-parameter search."""
