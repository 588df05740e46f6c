"""The numbers of all finished runs as the tables of a paper: Markdown, LaTeX and one long CSV.

load, fields: folders -> runs. results: a run. settings, labels, notes, caveats, scores, formulas: words. columns,
cells: a row's numbers in a column. marks: what is best, and close to it. means, sections, by, matrix, calibration: runs
-> tables. published, published_table: published rows, and runs of their protocol. ranks: the order of the losses under
two protocols. render: tables -> text. write: tables -> files. paper/: LaTeX to paste into a paper. long_format: runs ->
runs.csv, means.csv.
A run is read from its config.yaml, its metrics.json and its resamples. Differences between runs are found by comparing
their configurations, and a metric is described by its record, so that a new loss or metric needs no line here.
Shares in [0, 1] in files and in code; percent only where a cell is printed.
"""
