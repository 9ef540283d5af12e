"""The simulator as somebody starts it from the command line."""

import socket

import pytest

from exporter.command_line import main


@pytest.mark.parametrize("command", ["simulate", "demo"])
def test_a_taken_port_is_told(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main([command, f"--web.listen-address={address}"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"openai-usage-exporter: cannot listen on {address}: Address already in use")
    assert error.endswith("Free the port, or name another address with --web.listen-address.\n")
