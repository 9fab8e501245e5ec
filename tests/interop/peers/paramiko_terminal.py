"""A paramiko client with a terminal that it resizes and presses ^C on. The settings are the argument, in JSON."""

import json
import sys

import paramiko

settings = json.loads(sys.argv[1])
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect(
    "127.0.0.1", settings["port"], username="amiko", key_filename=settings["key"], allow_agent=False, look_for_keys=False
)
channel = client.get_transport().open_session()
channel.get_pty("vt220", 101, 31)
channel.exec_command(settings["command"])
said = b""


def until(wanted):
    global said
    while wanted not in said:
        data = channel.recv(65536)
        if not data:
            raise SystemExit(f"it ended: {said}")
        said += data


until(b"ready")
channel.resize_pty(102, 32)
until(b"32 102")
channel.sendall(b"\x03")
until(b"int")
print(json.dumps({"said": said.decode(), "code": channel.recv_exit_status()}))
