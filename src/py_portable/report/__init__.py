"""Reports from conclusions: pure functions that read evidence and run nothing.

`scorecard` says what is told and in which order, as blocks; `markdown` and `text` write blocks down; `junit` stands
beside them. A page in HTML would be one more way to write down the same blocks.
"""
