"""The command predict: sources, runs, drawings and files of its results."""
