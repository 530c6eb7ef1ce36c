"""The runtimes that run compiled graphs, each as an `Engine`."""
