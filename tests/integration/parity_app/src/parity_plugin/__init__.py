"""A plugin that only the metadata knows."""


def greet() -> str:
    return "greetings of the plugin"
