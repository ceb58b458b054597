"""Reports from conclusions: pure functions that read evidence and run nothing.

`scorecard` decides the content and its order, as blocks; `markdown` and `text` write the blocks; `junit` is separate.
A page in HTML would be one more way to write the same blocks.
"""
