"""benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from py_portable.cli.options import GivenCount, common, given, open_session
from py_portable.cli.show import clean, echo_json, lines, table

if TYPE_CHECKING:
    from py_portable.benchmark.measure import Measured
    from py_portable.benchmark.pairs import Estimate
    from py_portable.benchmark.turns import Compared

LEAST_PAIRS = 8


class WithArgs(click.Command):
    """What stands after `--` is the app's; the artifacts before it are as many as one likes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            where = args.index("--")
            ctx.obj = tuple(args[where + 1 :])
            args = args[:where]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- ARGS...]"]


@click.command(cls=WithArgs)
@click.argument("artifacts", nargs=-1, envvar="PY_PORTABLE_ARTIFACTS")
@click.option(
    "--image", help="The image in which to start the artifacts.  [default: the middle one of the config]"
)
@click.option(
    "--pairs",
    type=GivenCount(LEAST_PAIRS, 30),
    default=30,
    show_default=True,
    help="How many pairs of starts to measure.",
)
@click.option(
    "--module", help="The module that `python -m` starts.  [default: the module of the console script]"
)
@click.option(
    "--seed",
    type=GivenCount(0, 0),
    default=0,
    show_default=True,
    help="The seed for the random order of the starts.",
)
@click.option(
    "--hyperfine",
    is_flag=True,
    help="Also measure the absolute time of whole cells, with the program hyperfine.",
)
@click.option(
    "--as-made",
    is_flag=True,
    help="Build nothing: measure the artifacts as they were made on another machine, from a DIST folder that"
    " `build --carry-all` wrote there.",
)
@common
@click.pass_context
def benchmark(
    ctx: click.Context,
    artifacts: tuple[str, ...],
    image: str | None,
    pairs: int,
    module: str | None,
    seed: int,
    hyperfine: bool,
    as_made: bool,
    common: dict[str, Any],
) -> None:
    """Measure how long the artifacts take to start.

    Each is compared with `python -m` and the interpreter that it was made with.

    ARGS are passed to the app. The default is --help.

    \b
    Example:
      py-portable benchmark binary -- --version
    """
    from py_portable.benchmark import measure

    wanted = measure.BenchmarkRequest(
        given(artifacts, "artifact"),
        image or None,
        ctx.obj or ("--help",),
        module or None,
        pairs,
        seed,
        hyperfine,
        as_made,
    )
    # As data its talk would only be in the way.
    session = open_session({**common, "quiet": common["quiet"] or common["as_json"]})
    measured = measure.measure(session, wanted)
    if common["as_json"]:
        told = {
            "noisy": bool(measured.noisy),
            "same": [one.told(measured.image) for one in measured.same],
            "benchmark": measured.rows,
            "lacking": dict(measured.lacking),
        }
        echo_json(told)
    else:
        _show(measured)
    for one in measured.noisy:
        click.echo(
            clean(
                f"the measurement is too noisy: {one.name} compared with itself is "
                f"{one.ratio.median:.3f} [{one.ratio.low:.3f}, {one.ratio.high:.3f}], {one.reason}."
            ),
            err=True,
        )
    for name, why in measured.lacking.items():
        click.echo(clean(f"Unproven: {name} was not compared: {why}"), err=True)
    if measured.noisy:
        click.echo(
            "Do not trust the numbers of this run. Run it again while nothing else runs on the "
            "machine, or with more --pairs.",
            err=True,
        )
    if measured.noisy or measured.lacking:
        raise click.exceptions.Exit(1)


def _show(measured: Measured) -> None:
    from py_portable.benchmark.pairs import sentence

    if measured.hyperfine is not None:
        click.echo(lines(measured.hyperfine))
    for one in measured.found:
        click.echo(clean(sentence(_label(one), one.pairing.reference.name, one.ratio)))
    rows = [
        (
            "the interpreter again" if one.pairing.same else one.pairing.subject.name,
            one.pairing.subject.format or "-",
            one.pairing.subject.start,
            one.pairing.reference.name,
            f"{one.wall.median:.1f}",
            f"{one.cpu.median:.1f}",
            _interval(one.ratio),
            _interval(one.cpu_ratio),
        )
        for one in (*measured.same, *measured.found)
    ]
    head = (
        "artifact",
        "format",
        "start",
        "against",
        "wall ms",
        "cpu ms",
        "ratio median [low, high]",
        "of cpu",
    )
    click.echo("")
    click.echo(clean(f"{len(measured.found[0].ratios)} pairs on {measured.image}"))
    click.echo(table(head, rows))
    click.echo("")
    click.echo(clean(f"evidence: {measured.evidence}"))


def _interval(ratio: Estimate) -> str:
    return f"{ratio.median:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"


def _label(one: Compared) -> str:
    subject = one.pairing.subject
    return subject.name if subject.start == "later" else f"{subject.name} ({subject.start} start)"


COMMANDS = (benchmark,)
