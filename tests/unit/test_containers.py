"""docker and podman: the words of a container, and whole runs against a program that stands for docker."""

from __future__ import annotations

import csv
import json
import os
import shlex
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.base.process import require
from py_portable.engines import builds, daemon, transfer
from py_portable.engines.containers import Containers
from py_portable.engines.daemon import KEPT_PREFIX
from py_portable.engines.engine import Bind, Job
from py_portable.engines.guard import CONFINE, HELPERS
from py_portable.engines.select import reproduce
from py_portable.errors import MachineError, StepError
from py_portable.prove.conditions import NO_HOME, PLAIN, READ_ONLY
from py_portable.prove.record import parse
from py_portable.prove.start import job as proof_job
from tests.unit.stub_docker import INFO, Stub, fields, parsed

DOCKER = Containers("docker", Path("/helpers"))
HOLD = builds.hold


def words(job: Job) -> tuple[dict[str, list[str]], str, list[str]]:
    """The options, the image and the rest of the line by hand; every option is one that the stub knows."""
    argv = DOCKER.argv(job)
    assert argv[:3] == ("docker", "run", "--rm")
    return parsed(list(argv[3:]))


# --- the words


def test_a_proof(tmp_path: Path) -> None:
    job = proof_job(
        tmp_path, PLAIN, ["/app/x", "a b", "--rm"], [Bind(Path("/made here"), "/app")], Path("/helpers"), account=()
    )
    options, image, rest = words(job)
    assert options.pop("--env") == [f"{name}={value}" for name, value in PLAIN.env.items()]
    assert options == {
        "--pull": ["never"], "--log-driver": ["none"], "--user": ["0:0"], "--workdir": ["/"], "--network": ["none"],
        "--hostname": ["cell"], "--cap-drop": ["ALL"], "--cap-add": ["SETUID", "SETGID", "SETPCAP", "KILL"],
        "--security-opt": ["no-new-privileges"], "--shm-size": [str(64 << 20)],
        "--tmpfs": [f"/tmp:rw,exec,nosuid,nodev,size={2 << 30},mode=1777"],
        "--mount": [
            "type=bind,source=/made here,target=/app,readonly",
            "type=bind,source=/helpers,target=/run/py-portable,readonly",
        ],
        "--memory": [str(3 << 30)], "--memory-swap": [str(3 << 30)], "--pids-limit": ["4096"],
        "--entrypoint": ["/run/py-portable/cell-run"],
    }  # fmt: skip
    assert image == daemon.image_of(tmp_path, daemon.Home("/home/cell", 10001))
    assert rest == [*CONFINE["proof"], "--uid", "10001", "--gid", "10001", "--", "/app/x", "a b", "--rm"]


def test_a_read_only_root_and_no_home(tmp_path: Path) -> None:
    options, image, _ = words(proof_job(tmp_path, READ_ONLY, ["/x"], [], Path("/helpers"), account=()))
    assert "--read-only" in options
    assert options["--tmpfs"] == [f"/tmp:rw,exec,nosuid,nodev,size={READ_ONLY.tmp_bytes},mode=1777"]
    options, without, _ = words(proof_job(tmp_path, NO_HOME, ["/x"], [], Path("/helpers"), account=()))
    assert without != image and "--read-only" not in options


def test_a_build(tmp_path: Path) -> None:
    job = Job(
        profile="build", root=tmp_path, argv=("make", "all"), cwd="/build", hostname="build", root_access="throw-away"
    )
    options, image, rest = words(job)
    assert (
        options["--network"] == ["none"] and options["--workdir"] == ["/build"] and options["--hostname"] == ["build"]
    )
    assert options["--tmpfs"] == ["/tmp:rw,exec,nosuid,nodev,mode=1777"] and "--read-only" not in options
    assert "CHOWN" in options["--cap-add"]
    assert not {"SYS_ADMIN", "MKNOD", "SYS_CHROOT", "NET_ADMIN", "NET_RAW", "SYS_PTRACE"} & {*options["--cap-add"]}
    assert image == daemon.image_of(tmp_path) and rest == [*CONFINE["build"], "--", "make", "all"]
    assert not {"--memory", "--pids-limit"} & {*options}, "a build has what the machine has"
    assert words(replace(job, network=True))[0]["--network"] == ["host"]
    options, *_ = words(replace(job, binds=(Bind(tmp_path, "/tmp", True),)))
    assert "--tmpfs" not in options and options["--mount"][0] == f"type=bind,source={tmp_path},target=/tmp"


def test_no_option_comes_from_the_job(tmp_path: Path) -> None:
    job = Job(
        profile="build", root=tmp_path, argv=("--privileged", "--env"), env={"--privileged": "x"}, helpers=tmp_path
    )
    options, _, rest = words(job)
    assert rest == [*CONFINE["build"], "--", "--privileged", "--env"] and options["--env"] == ["--privileged=x"]


ODD = st.text(st.characters(codec="utf-8", exclude_characters="\0/") | st.sampled_from(",=\"\n\r'\\ "), min_size=1)


@given(ODD, ODD, st.booleans())
def test_any_path_can_be_shown(source: str, target: str, writable: bool) -> None:
    value = transfer.mount(Bind(Path(f"/x{source}"), f"/y{target}", writable))
    (row,) = csv.reader([value], strict=True)
    assert row == ["type=bind", f"source=/x{source}", f"target=/y{target}", *(() if writable else ("readonly",))]
    # What Go's encoding/csv needs (the engines' reader): quotes only around whole fields, and a line break within.
    unquoted = "".join(value.split('"')[::2])
    assert not set(unquoted) & set("\r\n")


def test_a_plain_path_has_no_quotes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert transfer.mount(Bind(Path("a b"), "/c:d", True)) == f"type=bind,source={tmp_path}/a b,target=/c:d"


@given(st.dictionaries(st.sampled_from("ABC"), st.text(st.characters(codec="utf-8", exclude_characters="\0"))))
def test_the_line_by_hand_can_be_pasted(env: dict[str, str]) -> None:
    job = Job(profile="build", root=Path("/none"), argv=("a b", "$c", "`d`"), env=env)
    line = reproduce(DOCKER, job)
    assert tuple(shlex.split(line)) == DOCKER.argv(job)
    assert ("\n" in line) == any("\n" in value for value in env.values())


def test_helpers_are_needed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs the compiled helpers"):
        Containers("docker").run(Job(profile="build", root=tmp_path, argv=("x",)), timeout=1)


# --- whole runs


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stub:
    stub = Stub(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{stub.folder}:/usr/bin:/bin:/usr/sbin:/sbin")
    return stub


@pytest.fixture(autouse=True)
def believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stub starts things on the machine itself: no build would ever pass."""
    monkeypatch.setattr(builds, "hold", lambda *_: None)


@pytest.fixture
def docker(stub: Stub, helpers: Path) -> Containers:
    return Containers("docker", helpers)


@pytest.fixture
def build(tmp_path: Path) -> Job:
    """A build that writes, by a bind whose target is where the folder lies: nothing here has roots."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "file").write_text("of the root")
    out = tmp_path / "out"
    out.mkdir()
    script = 'echo "$A"; echo said >&2; : >"$OUT/made"; exit "${STATUS:-0}"'
    return Job(
        profile="build",
        root=tmp_path / "root",
        argv=("/bin/sh", "-c", script),
        env={"A": "hunter2\nsecond line", "OUT": str(out), "EMPTY": ""},
        binds=(Bind(out, str(out), writable=True),),
    )


def test_a_whole_run(docker: Containers, stub: Stub, build: Job, tmp_path: Path) -> None:
    ended = docker.run(build, timeout=30, log=tmp_path / "log")
    assert ended.ok and parse(ended.record).status == 0
    assert (ended.stdout.text, ended.stderr.text) == ("hunter2\nsecond line\n", "said\n")
    assert (tmp_path / "out" / "made").exists()
    seen = stub.commands("run")[0]
    assert "--volume" not in seen and fields(parsed(seen[1:])[0]["--mount"][0])["target"] == "/seen"
    (run,) = stub.commands("run")[1:]
    options, image, rest = parsed(run[1:])
    assert options["--entrypoint"] == [f"{HELPERS}/cell-run"] and image == daemon.image_of(build.root)
    assert tuple(rest[:4]) == CONFINE["build"]
    assert rest[4:8] == ["--channel", "stdio", "--limit-ms", "30000"] and rest[-4:-1] == ["--", "/bin/sh", "-c"]
    assert "--interactive" in options and "--rm" in options and "--env" not in options
    (name,) = options["--name"]
    assert name.startswith(f"py-portable-{os.getpid()}-")
    assert sorted(label.partition("=")[0] for label in options["--label"]) == ["py-portable.owner", "py-portable.run"]
    assert stub.commands("rm") == [], "--rm has done it"
    with tarfile.open(stub.folder / "imported.tar") as archive:
        assert "cell-run" in str(archive.getnames()) or "file" in str(archive.getnames())


def test_a_program_that_isolates_nothing_gets_no_build(
    docker: Containers, build: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builds, "hold", HOLD)
    # What other tests of this process have shown is told, too.
    before = list(builds.told())
    with pytest.raises(
        MachineError, match="docker does not isolate builds as required, so no build is started"
    ) as caught:
        docker.run(build, timeout=30)
    assert "it does not see the caller's other files" in caught.value.what
    assert not (tmp_path / "out" / "made").exists()
    assert list(builds.told()) == before


def test_the_environment_is_in_no_words_and_in_no_log(
    docker: Containers, stub: Stub, build: Job, tmp_path: Path
) -> None:
    quiet = replace(build, argv=("/bin/sh", "-c", "test ${#A} -gt 5"))
    for job in (quiet, replace(quiet, argv=("/bin/false",), keep=True), replace(quiet, profile="proof", binds=())):
        docker.run(job, timeout=30, log=tmp_path / "log")
    stub.blind()
    docker.run(quiet, timeout=30, log=tmp_path / "log")
    heard = (stub.folder / "heard").read_text()
    assert "run" in heard and "hunter2" not in heard + (tmp_path / "log").read_text()
    assert not [words for words in stub.heard if words[0] in ("run", "create") and "--env" in words]


def test_a_failing_command_is_its_own_and_its_container_goes(docker: Containers, stub: Stub, build: Job) -> None:
    ended = docker.run(replace(build, env={**build.env, "STATUS": "9"}), timeout=30)
    assert ended.status == 9 and parse(ended.record).status == 9 and ended.kept is None
    (name,) = parsed(stub.commands("run")[1][1:])[0]["--name"]
    assert stub.commands("rm") == [["rm", "--force", "--volumes", name]]


def test_the_time_limit(docker: Containers, stub: Stub, build: Job) -> None:
    ended = docker.run(replace(build, argv=("/bin/sleep", "1000")), timeout=0.3)
    assert ended.timed_out and parse(ended.record).limit and len(stub.commands("rm")) == 1
    with pytest.raises(StepError, match="x did not end within"):
        require(ended, what="x")


@pytest.mark.parametrize("blind", [False, True])
def test_what_is_kept(docker: Containers, stub: Stub, build: Job, blind: bool) -> None:
    if blind:
        stub.blind()
    job = replace(build, keep=True)
    assert docker.run(job, timeout=30).kept is None
    assert len(stub.commands("rm")) == 1 and stub.commands("rename") == [], "nothing is kept of a success"
    ended = docker.run(replace(job, argv=("/bin/false",)), timeout=30)
    ((_, name, kept),) = stub.commands("rename")
    assert kept == f"{KEPT_PREFIX}{name.removeprefix('py-portable-')}" and len(stub.commands("rm")) == 1
    assert ended.kept == f"docker commit {kept} {kept} && docker run --rm -it --entrypoint /bin/sh {kept}"
    made = stub.commands("create") if blind else stub.commands("run")[1:]
    assert not any("--rm" in words for words in made)


def test_a_container_that_never_started_is_not_kept(docker: Containers, stub: Stub, build: Job) -> None:
    docker.run(build, timeout=30)
    stub.says("run", 125, "", "docker: Error response from daemon: no space left on device.\n")
    ended = docker.run(replace(build, keep=True), timeout=30)
    assert (ended.status, ended.record, ended.kept) == (125, b"", None)
    assert "no space left" in ended.stderr.text and len(stub.commands("rm")) == 1 and not stub.commands("rename")


def test_an_import_that_fails_is_the_jobs_own_trouble(
    docker: Containers, stub: Stub, build: Job, tmp_path: Path
) -> None:
    stub.says("import", 1, "", "Error response from daemon: write /x: no space left on device\n")
    ended = docker.run(build, timeout=30, log=tmp_path / "log")
    assert (ended.status, ended.record, ended.ok) == (125, b"", False)
    assert ended.stderr.text.splitlines() == [
        "docker import failed with exit status 1",
        "Error response from daemon: write /x: no space left on device",
    ]
    assert (tmp_path / "log").read_bytes() == ended.stderr.data


def test_a_daemon_that_went_away(docker: Containers, stub: Stub, build: Job, tmp_path: Path) -> None:
    stub.says("info", 1, "", "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?\n")
    ended = docker.run(build, timeout=30)
    assert ended.status == 125 and ended.stderr.text.startswith("docker: the daemon does not answer")
    (stub.folder / "docker").unlink()
    os.environ["PATH"] = str(tmp_path)
    ended = docker.run(build, timeout=30)
    assert ended.status == 125 and ended.stderr.text.startswith("docker is not installed")


def test_an_environment_that_is_too_large(docker: Containers, build: Job) -> None:
    ended = docker.run(replace(build, env={f"V{i}": "x" * 100_000 for i in range(11)}), timeout=30)
    assert ended.status == 125 and ended.stderr.text.startswith("the environment of a command has 11")


def test_an_image_is_brought_once(docker: Containers, stub: Stub, build: Job) -> None:
    for _ in range(3):
        assert docker.run(build, timeout=30).ok
    assert sorted(words[-1] for words in stub.commands("import")) == sorted(
        {daemon.image_of(build.root), daemon.image_of(docker.helpers or Path())}
    )
    for words in stub.commands("import"):
        assert words[1:3] == ["--change", "LABEL py-portable.root=1"]


def test_a_home_is_in_what_is_brought(docker: Containers, stub: Stub, build: Job) -> None:
    docker.run(build, timeout=30)
    docker.run(replace(build, home="/home/cell", uid=10001), timeout=30)
    with tarfile.open(stub.folder / "imported.tar") as archive:
        home = archive.getmember("./home/cell")
        assert (home.mode, home.uid, home.gid, home.isdir()) == (0o700, 10001, 10001, True)
        assert archive.extractfile("./file") is not None


# --- a daemon that sees no file of the caller


def test_files_are_carried_in_and_out(docker: Containers, stub: Stub, build: Job, tmp_path: Path) -> None:
    stub.blind()
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "read").write_text("read this")
    (tmp_path / "link").symlink_to("real")
    binds = (*build.binds, Bind(tmp_path / "link", "/shown/there"))
    # What runs here sees the stub's folder, not a root of its own: it looks there.
    script = f'cd {stub.folder}/containers/*/root && cat shown/there/read && echo new >".$OUT/made" && exit 5'
    job = replace(build, argv=("/bin/sh", "-c", script), binds=binds)
    ended = docker.run(job, timeout=30)
    assert (ended.status, ended.stdout.text) == (5, "read this")
    assert (tmp_path / "out" / "made").read_text() == "new\n"
    (create,) = stub.commands("create")
    options, _, rest = parsed(create[1:])
    assert "--mount" not in options and "--read-only" not in options, "what is written has to be in the container"
    assert "--owner" not in rest
    (name,) = options["--name"]
    assert stub.commands("start") == [["start", "--attach", "--interactive", name]]
    assert [words[-1] for words in stub.commands("cp")] == [f"{name}:/", str(tmp_path / "out")]
    assert stub.commands("rm") == [["rm", "--force", "--volumes", name]]


def test_a_read_only_container_gets_an_image_of_its_own(docker: Containers, stub: Stub, build: Job) -> None:
    stub.blind()
    ended = docker.run(replace(build, argv=("/bin/echo", "x"), binds=(), root_access="read-only"), timeout=30)
    assert ended.ok and ended.stdout.text == "x\n"
    filler, made = (parsed(words[1:]) for words in stub.commands("create"))
    assert "--read-only" in made[0] and made[1].startswith("localhost/py-portable-root:py-portable-")
    assert filler[0]["--network"] == ["none"] and filler[0]["--label"] == made[0]["--label"]
    names = [filler[0]["--name"][0], made[0]["--name"][0]]
    assert names[0] == f"{names[1]}-filler"
    assert [words[3:] for words in stub.commands("rm")] == [[name] for name in names]
    assert stub.commands("image")[-1] == ["image", "rm", "--force", made[1]]


@pytest.mark.parametrize("status", [1, 125, 126, 127])
def test_a_daemon_that_does_not_start_the_callers_file_does_not_see_it(
    helpers: Path, stub: Stub, status: int, tmp_path: Path
) -> None:
    image = daemon.bring("docker", helpers)
    assert transfer.sees("docker", image, helpers) and transfer.sees("docker", image, helpers)
    assert len(stub.commands("run")) == 1, "asked once a process"
    stub.says("run", status, "", "crun: setrlimit: Operation not permitted: OCI permission denied\n")
    assert not transfer.sees("docker", f"{image}-{status}", helpers)


@pytest.mark.parametrize("command", ["create", "cp", "commit"])
def test_a_copy_that_fails_is_the_jobs_own_trouble(docker: Containers, stub: Stub, build: Job, command: str) -> None:
    stub.blind()
    stub.says(command, 1, "", "Error response from daemon: it has a bad day\n")
    job = replace(build, binds=(), root_access="read-only")
    ended = docker.run(job, timeout=30)
    assert (ended.status, ended.record) == (125, b"")
    first, last = ended.stderr.text.splitlines()
    assert first.startswith(f"docker {command}") and last == "Error response from daemon: it has a bad day"
    made = {words[words.index("--name") + 1] for words in stub.commands("create")}
    assert command == "create" or made <= {words[-1] for words in stub.commands("rm")}


@pytest.mark.parametrize(
    ("uid", "rootless", "profile", "given"),
    [
        (0, False, "build", False),
        (1000, False, "build", True),
        (1000, True, "build", False),
        (1000, False, "proof", False),
    ],
)
def test_whose_a_builds_files_become(
    docker: Containers, stub: Stub, build: Job, monkeypatch: pytest.MonkeyPatch, uid: int, rootless: bool, profile: str, given: bool
) -> None:  # fmt: skip
    monkeypatch.setattr("os.geteuid", lambda: uid)
    monkeypatch.setattr("os.getegid", lambda: 7)
    options = ["name=rootless"] if rootless else []
    stub.says("info", stdout=json.dumps({**INFO, "SecurityOptions": options}))
    stub.says("run")  # "I see your files", and nothing is started
    stub.says("start")
    docker.run(replace(build, profile=profile), timeout=30)  # type: ignore[arg-type]
    words = (stub.commands("run")[1:] or stub.commands("create"))[0]
    out = build.binds[0].target
    owned = ["--owner", f"{uid}:7", "--owned", out]
    assert (owned == words[words.index("--limit-ms") + 2 :][:4]) is given and ("--owner" in words) is given
    if rootless:
        assert stub.commands("create"), "what a mapped root writes would be nobody's: it is carried"


# --- the probe


def test_the_probe_says_why_nothing_starts(docker: Containers, stub: Stub) -> None:
    for command in ("run", "start"):
        stub.says(
            command, 126, "", "docker: Error response from daemon: OCI runtime create failed: setrlimit: denied\n"
        )
    with pytest.raises(MachineError) as caught:
        docker.probe()
    assert caught.value.what.startswith("docker: it cannot start a container on this machine: docker: Error")
    assert caught.value.hint == "run it on a machine where it can, or use --engine bubblewrap"
    stub.says("start", 126, "", "")
    with pytest.raises(MachineError, match="the canary did not start: no message was printed") as caught:
        docker.probe()
    assert caught.value.hint == "look at: docker run --rm hello-world"


def test_the_probe_names_what_is_lacking(stub: Stub) -> None:
    # Without helpers: those of the other tests lie where only their owner gets.
    info = Containers("docker").probe()
    assert (info.name, info.version, info.isolation) == ("docker", "24.0.7", "partial")
    assert {"hostname", "pids", "root"} <= set(info.lacks), "the stub isolates nothing"
    assert stub.commands("ps"), "what dead runs left is swept first"
