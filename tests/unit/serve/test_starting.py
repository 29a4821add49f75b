"""What `fpbench serve` wants before it listens, and where it then does."""

import socket
import sys
import threading

import pytest

from fpbench.api import MissingResource, SpecError
from fpbench.serve import Token, address_of, bound, is_loopback, read_token, server_of
from fpbench.serve.rates import Rates

GOOD = "0123456789abcdef"


@pytest.mark.parametrize(
    "text", ["", GOOD[1:], GOOD[1:] + "é", f"{GOOD} x", f"{GOOD}\n", "x" * 1025]
)
def test_tokens_that_are_none_are_refused_unseen(text):
    with pytest.raises(SpecError) as error:
        Token(text, "here")
    assert "at least 16 printable" in str(error.value)
    assert not text or text not in str(error.value)


def test_one_token_alone_is_admitted():
    token = Token(GOOD, "here")
    assert token.admits(GOOD.encode())
    for other in (b"", GOOD[:-1], GOOD + "0", GOOD.upper(), "é", "\0" * 16):
        assert not token.admits(other if isinstance(other, bytes) else other.encode())
    assert GOOD not in repr(vars(token))


def test_a_token_file_is_its_owners_alone(tmp_path):
    file = tmp_path / "token"
    file.write_text(GOOD + "\n")
    for mode in (0o640, 0o604, 0o620, 0o644):
        file.chmod(mode)
        with pytest.raises(SpecError, match=f"got mode {mode:o}; chmod 600"):
            read_token(file)
    file.chmod(0o600)
    assert read_token(file).admits(GOOD.encode())
    for place in (tmp_path, tmp_path / "none"):
        with pytest.raises(SpecError, match="expected a file with a token"):
            read_token(place)


def test_the_command_wants_one_token_and_no_argument_holds_it(command, monkeypatch, tmp_path):
    asked = ("serve", "--registry", tmp_path / "users.db", "--method", "run:perfect")
    monkeypatch.delenv("FPBENCH_TOKEN", raising=False)
    code, _, err = command(*asked)
    assert (code, "FPBENCH_TOKEN or --token-file, got neither" in err) == (2, True)
    monkeypatch.setenv("FPBENCH_TOKEN", GOOD)
    code, _, err = command(*asked, "--token-file", tmp_path / "token")
    assert (code, "got both" in err) == (2, True)
    monkeypatch.setenv("FPBENCH_TOKEN", "short")
    code, _, err = command(*asked)
    assert (code, "at least 16" in err, "short" in err) == (2, True, False)
    assert command(*asked, "--token", GOOD)[0] == 2


def test_what_is_not_installed_is_said(command, monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.partition("fpbench.")[2].startswith("serve")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    monkeypatch.delattr("fpbench.serve")
    monkeypatch.setenv("FPBENCH_TOKEN", GOOD)
    code, _, err = command("serve", "--registry", tmp_path / "users.db", "--method", "run:perfect")
    assert (code, "uv sync --extra serve (or pip install 'fpbench[serve]')" in err) == (7, True)


def test_it_listens_to_this_machine_and_says_what_is_taken():
    with bound("127.0.0.1", 0) as door:
        assert is_loopback(door)
        port = door.getsockname()[1]
        assert address_of(door) == f"http://127.0.0.1:{port}/"
        with pytest.raises(MissingResource, match=f"port {port}, got .*name another"):
            bound("127.0.0.1", port)
    with bound("0.0.0.0", 0) as door:  # noqa: S104
        assert not is_loopback(door)
    if socket.has_ipv6:
        with bound("::1", 0) as door:
            assert is_loopback(door)
            assert address_of(door).startswith("http://[::1]:")


def test_rates_are_of_a_minute_and_of_an_address():
    now = [0.0]
    rates = Rates(6, lambda: now[0])
    passed = []
    for second in range(180):  # one that asks every second gets six at once, then one in ten
        now[0] = float(second)
        if not rates.wait_s("10.0.0.1"):
            passed.append(second)
    assert passed[:7] == [0, 1, 2, 3, 4, 5, 10]
    assert len(passed) == 6 + 17
    wait = rates.wait_s("10.0.0.1")
    now[0] += wait - 0.01
    assert rates.wait_s("::ffff:10.0.0.1") == pytest.approx(0.01)  # the same client
    now[0] += 0.01
    assert rates.wait_s("10.0.0.1") == 0
    # A customer has 2^64 addresses of IPv6.
    assert [rates.wait_s(f"2001:db8::{n}") > 0 for n in range(8)] == 6 * [False] + 2 * [True]
    assert rates.wait_s("2001:db8:0:1::1") == 0
    for client in range(10_500):
        rates.wait_s(f"10.1.{client // 256}.{client % 256}")
    assert len(rates._free) == 10_000


def test_connections_that_stall_end(tmp_path):
    async def app(scope, receive, send):
        raise AssertionError

    with (
        socket.socket(socket.AF_UNIX) as door,  # tests have no network
        socket.socket(socket.AF_UNIX) as client,
    ):
        door.bind(str(tmp_path / "door"))
        door.listen()
        server = server_of(app, connection_s=0.2)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
        thread.start()
        client.settimeout(10)
        client.connect(str(tmp_path / "door"))
        client.sendall(b"GET / HTTP/1.1\r\nHost:")
        assert client.recv(1) == b""
        server.should_exit = True
        thread.join(10)
    assert not thread.is_alive()
