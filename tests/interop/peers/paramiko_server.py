"""A paramiko server for the tests. Its argument is JSON: port, host_keys, authorized, username, password, rekey_bytes."""

import base64
import json
import os
import socket
import subprocess
import sys
import threading

import paramiko

config = json.loads(sys.argv[1])


def load_key(file):
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key_file(file)
        except Exception:
            continue
    raise ValueError(file)


class Server(paramiko.ServerInterface):
    def __init__(self):
        self.authorized = {line.split()[1] for line in config["authorized"]}

    def get_allowed_auths(self, username):
        return "publickey,password,keyboard-interactive"

    def check_auth_publickey(self, username, key):
        good = username == config["username"] and base64.b64encode(key.asbytes()).decode() in self.authorized
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def check_auth_password(self, username, password):
        good = username == config["username"] and password == config["password"]
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def check_auth_interactive(self, username, submethods):
        query = paramiko.InteractiveQuery("login", "for a test")
        query.add_prompt("Password: ", False)
        return query

    def check_auth_interactive_response(self, responses):
        return paramiko.AUTH_SUCCESSFUL if list(responses) == [config["password"]] else paramiko.AUTH_FAILED

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED if kind == "session" else paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_exec_request(self, channel, command):
        threading.Thread(target=run, args=(channel, command), daemon=True).start()
        return True


def answer(call):
    """A method of the file system below whose exceptions become statuses."""

    def wrapped(*args):
        try:
            result = call(*args)
            return paramiko.SFTP_OK if result is None else result
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)

    return wrapped


class File(paramiko.SFTPHandle):
    @answer
    def stat(self):
        return paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))

    @answer
    def chattr(self, attr):
        change(self.readfile.fileno(), attr)


def change(file, attr):
    if attr._flags & attr.FLAG_SIZE:
        os.truncate(file, attr.st_size)
    if attr._flags & attr.FLAG_PERMISSIONS:
        os.chmod(file, attr.st_mode & 0o7777)
    if attr._flags & attr.FLAG_AMTIME:
        os.utime(file, (attr.st_atime, attr.st_mtime))


class Files(paramiko.SFTPServerInterface):
    @answer
    def list_folder(self, path):
        entries = []
        for name in os.listdir(path):
            entry = paramiko.SFTPAttributes.from_stat(os.lstat(os.path.join(path, name)))
            entry.filename = name
            entries.append(entry)
        return entries

    @answer
    def stat(self, path):
        return paramiko.SFTPAttributes.from_stat(os.stat(path))

    @answer
    def lstat(self, path):
        return paramiko.SFTPAttributes.from_stat(os.lstat(path))

    @answer
    def open(self, path, flags, attr):
        fd = os.open(path, flags, 0o666 if attr.st_mode is None else attr.st_mode & 0o777)
        handle = File(flags)
        handle.readfile = handle.writefile = os.fdopen(fd, "r+b" if flags & 3 else "rb", buffering=0)
        return handle

    @answer
    def remove(self, path):
        os.remove(path)

    @answer
    def rename(self, old, new):
        if os.path.lexists(new):
            return paramiko.SFTP_FAILURE
        os.rename(old, new)

    @answer
    def posix_rename(self, old, new):
        os.rename(old, new)

    @answer
    def mkdir(self, path, attr):
        os.mkdir(path, 0o777 if attr.st_mode is None else attr.st_mode & 0o777)

    @answer
    def rmdir(self, path):
        os.rmdir(path)

    @answer
    def chattr(self, path, attr):
        change(path, attr)

    def canonicalize(self, path):
        return os.path.realpath(path)

    @answer
    def readlink(self, path):
        return os.readlink(path)

    @answer
    def symlink(self, target, path):
        os.symlink(target, path)


def run(channel, command):
    child = subprocess.Popen(
        command, shell=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )

    def feed():
        try:
            while data := channel.recv(32768):
                while data:
                    data = data[child.stdin.write(data) :]
            child.stdin.close()
        except OSError:
            pass

    def drain(pipe, send):
        while data := pipe.read(32768):
            send(data)

    threads = [
        threading.Thread(target=drain, args=(child.stdout, channel.sendall), daemon=True),
        threading.Thread(target=drain, args=(child.stderr, channel.sendall_stderr), daemon=True),
    ]
    threading.Thread(target=feed, daemon=True).start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    channel.send_exit_status(child.wait())
    channel.close()


def serve(conn):
    transport = paramiko.Transport(conn)
    transport.load_server_moduli()
    if config.get("rekey_bytes"):
        transport.packetizer.REKEY_BYTES = config["rekey_bytes"]
    transport.use_compression(config.get("compress", False))
    for key in host_keys:
        transport.add_server_key(key)
    transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Files)
    try:
        transport.start_server(server=Server())
        channels = []  # One that nobody holds closes itself.
        while transport.is_active():
            channels.append(transport.accept(1))
    except Exception as error:
        print(repr(error), file=sys.stderr, flush=True)


host_keys = [load_key(file) for file in config["host_keys"]]
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", config["port"]))
listener.listen(50)
while True:
    conn, _ = listener.accept()
    threading.Thread(target=serve, args=(conn,), daemon=True).start()
