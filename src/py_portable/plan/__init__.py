"""Config + lock -> an ordered graph of steps. Pure: nothing here runs anything."""
