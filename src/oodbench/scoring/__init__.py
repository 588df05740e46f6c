"""From outputs to the record: the one way for fresh runs, finished runs and external outputs; ensembles over seeds."""
