"""The command line of the sample app."""

from importlib import import_module, metadata, resources

import click

CHECKS = {"psycopg2": "libpq", "pycurl": "libcurl", "myextension": "extension"}


@click.group()
@click.version_option(version=metadata.version("myapp"), prog_name="myapp")
def main() -> None:
    """Show that an app with C dependencies starts and works."""


@main.command()
def run() -> None:
    """Call into every library and say that it works."""
    for library, module in CHECKS.items():
        # By a name made at run time, on purpose: packagers that only follow import statements miss these modules.
        import_module(f"myapp.checks.{module}").check()
        click.echo(f"{library} works!")


@main.command()
def show() -> None:
    """Print the text that travels with the package as data."""
    click.echo(resources.files("myapp").joinpath("data", "greeting.txt").read_text(encoding="utf-8"), nl=False)


if __name__ == "__main__":
    main()
