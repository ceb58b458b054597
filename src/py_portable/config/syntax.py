"""Translates PyYAML's messages about broken YAML into plain words."""

from __future__ import annotations

import re

import yaml

from py_portable.config.problems import Problem, show

# (pattern over PyYAML's words, what is said instead); {0} is the first group, {start} where it began.
_NEVER_ENDS = "the quoted text that starts here never ends"
_PLAIN = (
    (
        r"mapping values are not allowed",
        'a ":" that cannot be here: put the text in quotes, or correct the indentation',
    ),
    (r"found character '\\t'", "a tab cannot be used to indent: use spaces"),
    (r"found character '(.*)' that cannot start", "text that starts with {0} needs quotes"),
    (r"could not find expected ':'", 'expected ":" after the key'),
    (
        r"expected <block end>",
        "this does not fit the lines above: correct the indentation, or add what is missing",
    ),
    (r"found unexpected end of stream", _NEVER_ENDS),
    (r"expected ',' or '(\]|\})'", 'expected "," or "{0}" to continue what starts at {start}'),
    (r"but found '<stream end>'", "the file ends too early"),
    (r"expected the node content, but found '(.*?)'", "expected a value; found {0}"),
    (r"but found another document", 'a second document ("---"): one file describes one app'),
    (r"found undefined alias '(.*)'", "there is no anchor &{0} above this alias"),
    (r"found duplicate anchor '(.*?)'", "the anchor &{0} appears twice"),
    (r"found unknown escape character '(.*)'", r"\{0} means nothing in double quotes: use single quotes"),
)


def explain(error: yaml.MarkedYAMLError) -> Problem:
    """A syntax error of PyYAML as a problem with its place."""
    said = "; ".join(part for part in (error.problem, error.context) if part)
    mark = error.problem_mark or error.context_mark
    start = error.context_mark or error.problem_mark
    text = f"is not valid YAML: {show(said)[1:-1]}"
    for pattern, plain in _PLAIN:
        if match := re.search(pattern, said, re.DOTALL):
            begin = f"{start.line + 1}:{start.column + 1}" if start else "?"
            text = plain.format(*(group[:40] for group in match.groups()), start=begin)
            mark = start if plain == _NEVER_ENDS else mark
            break
    return Problem((), text, mark.line + 1, mark.column + 1) if mark else Problem((), text, 0, 0)
