"""A paramiko client that lends a display, whose first packets it checks and answers itself, and its agent. The settings are the argument, in JSON."""

import json
import socket
import sys
import threading

import paramiko
from paramiko.agent import AgentRequestHandler

settings = json.loads(sys.argv[1])
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect(
    "127.0.0.1", settings["port"], username="amiko", key_filename=settings["key"], allow_agent=False, look_for_keys=False
)
transport = client.get_transport()
session = transport.open_session()
real, fake = bytes.fromhex(settings["cookie"]), []


def pump(source, target):
    while True:
        data = source.recv(65536)
        if not data:
            break
        target.sendall(data)
    target.shutdown(socket.SHUT_WR) if isinstance(target, socket.socket) else target.shutdown_write()


def show(channel, _origin):
    def work():
        first = b""
        while len(first) < 48:
            first += channel.recv(65536)
        if first[32:48].hex().encode() != fake[0]:
            return channel.close()
        display = socket.socket(socket.AF_UNIX)
        display.connect(settings["socket"])
        display.sendall(first[:32] + real + first[48:])
        back = threading.Thread(target=pump, args=(display, channel), daemon=True)
        back.start()
        pump(channel, display)
        back.join()
        channel.close()

    threading.Thread(target=work, daemon=True).start()


cookie = session.request_x11(handler=show)
fake.append(cookie if isinstance(cookie, bytes) else cookie.encode())
AgentRequestHandler(session)
session.exec_command(settings["command"])
output = b""
while True:
    data = session.recv(65536)
    if not data:
        break
    output += data
sys.stdout.write(output.decode())
client.close()
