"""One page about the evaluations, comparisons, trainings and explanations of a folder."""
