"""The figures of the report, a file each: pure functions from arrays to a figure's data, and from the data to a `Plot`."""
