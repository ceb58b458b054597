"""A plan's shards as what a CI service takes. Pure: text from data."""
