"""One subcommand for each thing that is compared; each prints what it sees."""

import importlib.metadata
import importlib.resources
import locale
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def output() -> None:
    print("parity")
    print("to stderr", file=sys.stderr)


def leave(status: str) -> None:
    sys.exit(int(status))


def leave_text() -> None:
    sys.exit("a text for stderr")


def fail() -> None:
    raise ValueError("nobody catches this")


def version() -> None:
    print(importlib.metadata.version("parity-app"))
    print(importlib.metadata.metadata("parity-app")["Requires-Python"])


def plugins() -> None:
    for point in importlib.metadata.entry_points(group="parity.plugins"):
        print(point.name, point.value, point.load()())
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="parity")
    print(script.value)


def python(*words: str) -> None:
    """What a program does that starts its own interpreter."""
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    print(done.returncode, done.stdout)


def data() -> None:
    folder = importlib.resources.files("parity_app").joinpath("data")
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        print(ascii(item.name), item.read_bytes())


def file() -> None:
    print(__file__)
    print(Path(__file__).exists())
    print((Path(__file__).parent / "data" / "plain.txt").read_text())


def path() -> None:
    print(*sys.path, sep="\n")


def executable() -> None:
    print(sys.executable)
    print(bool(sys.executable) and Path(sys.executable).exists())


def argv() -> None:
    print(sys.argv)


def name() -> None:
    print(__name__, __package__, __spec__ and __spec__.name)


def square(number: int) -> int:
    return number * number


def pool(method: str) -> None:
    with multiprocessing.get_context(method).Pool(2) as workers:
        print(workers.map(square, range(5)))


def process(method: str) -> None:
    one = multiprocessing.get_context(method).Process(target=leave, args=("7",))
    one.start()
    one.join()
    print(one.exitcode)


def wait(what: str) -> None:
    if what == "handled":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
        signal.signal(signal.SIGINT, lambda *_: sys.exit(10))
    print("waiting", flush=True)
    time.sleep(60)


def own_signal(number: str) -> None:
    os.kill(os.getpid(), int(number))


def handlers() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGHUP):
        print(number.name, getattr(signal.getsignal(number), "__name__", signal.getsignal(number)))


def streams() -> None:
    print([stream is None for stream in (sys.stdin, sys.stdout, sys.stderr)], file=sys.stdout or sys.stderr)


def encoding() -> None:
    print(sys.stdout.encoding, sys.stdout.errors, sys.stderr.errors, sys.getfilesystemencoding())
    print(locale.getpreferredencoding(), sys.flags.utf8_mode, os.environ.get("LC_CTYPE"))
    print("größe")


def environment() -> None:
    print(*sorted(n for n in os.environ if n.startswith(("PYTHON", "LD_")) or n == "LC_CTYPE"))


def child() -> None:
    print(subprocess.run(["/bin/sh", "-c", "echo child; exit 5"], check=False).returncode)


def main() -> None:
    word, *rest = sys.argv[1:]
    globals()[word.replace("-", "_")](*rest)


if __name__ == "__main__":
    main()
