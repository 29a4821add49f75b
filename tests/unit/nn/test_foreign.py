import copy
import os
import pickle  # noqa: TID251 - that it refuses
import signal
import subprocess
import sys
import time
from pathlib import Path

import fpbench_foreign
import numpy as np
import pytest

from fpbench.api import ContractError, MissingResource, StageError
from fpbench.nn.foreign import Program
from fpbench.nn.opaque import Opaque

IMAGES = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
ECHO = """
import json, sys
sys.stderr.write("ready\\n")
for line in sys.stdin.buffer:
    about = json.loads(line)["arrays"][0]
    n = 1
    for side in about["shape"]:
        n *= side
    answer = json.dumps({"arrays": [about]}).encode() + b"\\n" + sys.stdin.buffer.read(n)
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()
"""


@pytest.fixture
def program(tmp_path):
    """A program of this text; ended behind the test."""
    made = []

    def make(text, timeout_s=30.0, **options):
        (tmp_path / "server.py").write_text(text)
        command = (sys.executable, "-S", "server.py")
        made.append(Program("method m", command, str(tmp_path), timeout_s, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def echo(program, images=IMAGES):
    return program.ask("mark", 8, [images], "uint8", images.shape)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_is_started_once_and_takes_more_than_a_pipe_holds(program):
    starts = []
    asked = program(ECHO, before=lambda: starts.append(1))
    assert (echo(asked) == IMAGES).all()
    many = np.random.default_rng(0).integers(0, 256, (64, 3, 64, 64), np.uint8)
    assert (echo(asked, many) == many).all()
    assert echo(asked, IMAGES[:0]).shape == (0, 3, 4, 4)
    assert starts == [1]


ANSWERS = {
    "sys.stderr.write('no GPU here\\n'); sys.exit(3)": (
        StageError,
        "got its end with exit code 3; start it by hand: .*server.py; it said: no GPU here",
    ),
    "sys.stdout.close(); os.close(1); time.sleep(600)": (StageError, "closed its streams"),
    "time.sleep(600)": (StageError, r"got none within \S+ s; see why it hangs, or raise timeout_s"),
    "say(b'Loading model ...\\n')": (
        ContractError,
        r"a line of JSON .* got b'Loading model \.\.\.",
    ),
    "say(b'x' * 70000)": (ContractError, "a line of JSON .* print nothing else"),
    "say(b'[1, 2]\\n')": (ContractError, "a line of JSON with one array or an error"),
    "say(b'{\"arrays\": []}\\n')": (ContractError, "a line of JSON with one array or an error"),
    "say(HEAD.replace(b'96', b'95'))": (ContractError, r"expected uint8 \(96,\) .* got .*95"),
    "say(HEAD.replace(b'uint8', b'int64'))": (ContractError, "expected uint8 .* got .*int64"),
    "say(HEAD + b'x' * 97)": (ContractError, "expected 96 bytes .* got more of them"),
    'say(b\'{"error": "E: too small"}\\n\')': (StageError, "got the error E: too small"),
}
FAULTY = """
import os, sys, time
HEAD = b'{"arrays": [{"dtype": "uint8", "shape": [96]}]}\\n'
def say(what):
    sys.stdout.buffer.write(what)
    sys.stdout.buffer.flush()
sys.stdin.buffer.readline()
FAULT
sys.stdin.read()
"""


@pytest.mark.parametrize("fault", ANSWERS)
def test_whatever_it_does_is_an_error_that_says_what(program, fault):
    kind, said = ANSWERS[fault]
    late = 0.5 if said.startswith("got none") else 30.0
    asked = program(FAULTY.replace("FAULT", fault), late)
    with pytest.raises(kind, match=said) as error:
        echo(asked, IMAGES.ravel())
    assert str(error.value).startswith("method m: expected ")


def test_after_a_failure_it_is_started_again_and_no_zombie_stays(program, tmp_path):
    text = "import os\nopen('pid', 'w').write(str(os.getpid()))\n"
    asked = program(text)
    for _ in range(2):
        with pytest.raises(StageError, match="exit code 0"):
            echo(asked)
        assert not alive(int((tmp_path / "pid").read_text()))
    (tmp_path / "server.py").write_text(text + ECHO)
    assert (echo(asked) == IMAGES).all()
    asked.close()
    assert not alive(int((tmp_path / "pid").read_text()))


def test_what_is_not_there_is_named(tmp_path):
    for command, folder, said in (
        (("no-such-program",), tmp_path, "expected to start no-such-program, got .*; install it"),
        ((sys.executable,), tmp_path / "gone", "expected the folder .*gone"),
    ):
        with pytest.raises(MissingResource, match=said):
            echo(Program("method m", command, str(folder), 1))


HANGS = """
import time
import server

def mark(images, code):
    open("marks", "w").close()
    time.sleep(600)

server.serve(mark, server.read)
"""
PARENT = """
import sys
import numpy as np
from fpbench.nn.foreign import Program

images, code = np.zeros((1, 3, 8, 8), np.uint8), np.zeros(8, bool)
asked = Program("m", (sys.executable, "hangs.py"), ".", 600)
asked.ask("read", 8, [images], "float32", (1, 8))
print(asked._process.pid, flush=True)
asked.ask("mark", 8, [images, code], "uint8", images.shape)
"""


def test_it_ends_with_its_parent_whatever_it_is_at(tmp_path):
    server = Path(fpbench_foreign.__file__).with_name("server.py").read_text()
    for name, text in (("server", server), ("hangs", HANGS), ("parent", PARENT)):
        (tmp_path / f"{name}.py").write_text(text)
    parent = subprocess.Popen(
        [sys.executable, "parent.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    with parent:
        pid = int(parent.stdout.readline())
        until = time.monotonic() + 30
        while not (tmp_path / "marks").exists() and time.monotonic() < until:
            time.sleep(0.01)
        assert alive(pid)
        parent.send_signal(signal.SIGKILL)
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.01)
    assert not alive(pid)


def test_opaque_modules_are_handed_on_as_they_are():
    module = Opaque()
    assert copy.deepcopy([module])[0] is module
    with pytest.raises(TypeError, match="expected to be opened anew in each process"):
        pickle.dumps(module)
