"""From outputs to the record, in one way for fresh runs, finished runs and external outputs; ensembles."""
