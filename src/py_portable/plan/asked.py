"""The question that a cell answers: a digest of how the config starts it and of what the start must show. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from py_portable.config import Config, Smoke, options


def question(config: Config, artifact: str, smoke: Smoke) -> str:
    """`sha256:…`: arguments, lines, exit status and time limit of the smoke command, and how the artifact is started.

    With another question the same artifact is another cell, and an earlier result does not answer it.
    """
    made = config.artifacts[artifact]
    app = config.app
    return _digest(
        {
            "smoke": asdict(smoke),
            "app": [app.script, app.entry_point, list(app.extras), *([list(app.with_)] if app.with_ else [])],
            "format": made.format,
            "options": options.told(made.options),
        }
    )


def foreign(smoke: Smoke) -> str:
    """The digest for `prove`, which has no config."""
    return _digest({"smoke": asdict(smoke)})


def _digest(told: object) -> str:
    text = json.dumps(told, sort_keys=True, default=str)
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"
