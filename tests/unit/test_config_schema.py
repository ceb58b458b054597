"""The schema itself: it is valid, says what everything means, and one entry is all that a format needs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from py_portable.config.schema import Schema
from py_portable.formats import FORMATS, schema_text
from py_portable.plan import verdicts

ROOT = Path(__file__).parents[2]
SCHEMA: dict[str, Any] = json.loads(schema_text())


def nodes(node: Any, path: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """All mappings of the schema, with where they stand."""
    if isinstance(node, dict):
        yield path, node
        for key, child in node.items():
            yield from nodes(child, f"{path}/{key}")
    elif isinstance(node, list):
        for i, child in enumerate(node):
            yield from nodes(child, f"{path}/{i}")


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_reference_leads_somewhere_and_every_definition_is_used() -> None:
    used = {node["$ref"] for _, node in nodes(SCHEMA) if "$ref" in node}
    assert used == {f"#/$defs/{name}" for name in SCHEMA["$defs"]}


def test_every_key_is_described_and_every_mapping_is_closed() -> None:
    for path, node in nodes(SCHEMA):
        if "properties" in node and not path.endswith("/properties"):
            assert node.get("additionalProperties") is False, path
            for key, child in node["properties"].items():
                target = SCHEMA["$defs"].get(child.get("$ref", "").removeprefix("#/$defs/"), {})
                described = child.get("description") or target.get("description")
                assert described or key == "format" or child == {"const": 1}, f"{path}/{key}"


def test_every_pattern_means_the_whole_text_and_says_what_it_wants() -> None:
    patterns = [(path, node) for path, node in nodes(SCHEMA) if isinstance(node.get("pattern"), str)]
    assert len(patterns) > 10
    for path, node in patterns:
        assert node["pattern"].startswith("^") and node["pattern"].endswith("$"), path
        assert node["errorMessage"].startswith("expected "), path
        assert "maxLength" in node, path


def test_every_number_is_bounded() -> None:
    for path, node in nodes(SCHEMA):
        if node.get("type") in ("integer", "number"):
            assert "maximum" in node, path
            assert "minimum" in node or "exclusiveMinimum" in node, path


def test_a_format_is_one_definition() -> None:
    branches = [branch["$ref"] for branch in SCHEMA["$defs"]["artifact"]["oneOf"]]
    names = [name for name, one in FORMATS.items() if one.summary]
    assert branches == [f"#/$defs/format-{name}" for name in names]
    assert list(Schema(FORMATS).formats) == names
    for name in names:
        entry = SCHEMA["$defs"][f"format-{name}"]
        assert entry["title"] == name
        elsewhere = {key: value for key, value in SCHEMA["$defs"].items() if key != f"format-{name}"}
        assert f'"const": "{name}"' not in json.dumps(elsewhere)


@pytest.mark.parametrize("file", ["portable.yaml", "docs/config.md"])
def test_a_validator_that_is_not_ours_accepts_the_examples(file: str) -> None:
    text = (ROOT / file).read_text("utf-8")
    if file.endswith(".md"):
        block = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
        assert block
        text = block[1]
    jsonschema.validate(yaml.safe_load(text), SCHEMA)


def test_the_example_in_the_documentation_is_the_sample_app() -> None:
    text = (ROOT / "docs/config.md").read_text("utf-8")
    block = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert block
    shown, real = yaml.safe_load(block[1]), yaml.safe_load((ROOT / "portable.yaml").read_text("utf-8"))
    for smoke in real["app"]["smoke"]:
        assert smoke.pop("exit") == 0
        assert smoke.pop("timeout") == 20
    assert shown == real


def test_the_tables_of_the_documentation_are_fresh() -> None:
    script = ROOT / "scripts" / "config-docs.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_stale_tables_are_noticed(tmp_path: Path) -> None:
    for name in ("docs", "scripts", "schemas"):
        (tmp_path / name).mkdir()
    script = tmp_path / "scripts" / "config-docs.py"
    script.write_bytes((ROOT / "scripts" / "config-docs.py").read_bytes())
    page = tmp_path / "docs" / "config.md"
    page.write_bytes((ROOT / "docs" / "config.md").read_bytes())
    shutil.copytree(ROOT / "docs" / "formats", tmp_path / "docs" / "formats")
    changed = schema_text().replace("Where and how every artifact is started.", "Where it starts.")
    (tmp_path / "schemas" / "portable.schema.json").write_text(changed, "utf-8")

    def run(*args: str) -> tuple[int, str]:
        done = subprocess.run([sys.executable, script, *args], capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    assert run("--check") == (1, "docs/config.md is stale: run scripts/config-docs.py\n")
    assert run() == (0, "")
    assert "Where it starts." in page.read_text("utf-8")
    assert run("--check") == (0, "")


def test_an_image_can_be_expected_to_fail_for_each_reason_that_a_cell_can_fail_for() -> None:
    accepted = SCHEMA["$defs"]["expectation"]["enum"]
    page = (ROOT / "docs/verdicts.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE)
    # What comes after a start that passed: an image is the reason of none of it.
    others = ("UNPROVEN", "XPASS", "the start passed")
    failing = [f"fail:{reason}" for reason, seen in rows if not seen.startswith(others)]
    assert len(failing) > 5
    assert set(failing) <= set(accepted) == set(verdicts.EXPECTATIONS)
    assert not {f"fail:{reason}" for reason, seen in rows if seen.startswith(others)} & set(accepted)
    assert {reason for reason, _ in rows} <= {*verdicts.REASONS}
