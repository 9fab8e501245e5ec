"""Reads and writes files of keys with paramiko or AsyncSSH: one process for all of them.

Arguments: the library, a folder, the passphrase. What is read is the files of the folder by their names' endings; each answer is a line
of JSON: the file's name and its public key, or the error. AsyncSSH then writes each key of the folder `openssh` in formats of its own.
"""
import json
import os
import sys

library, folder, passphrase = sys.argv[1:]


def told(name, public):
    print(json.dumps([name, public]), flush=True)


def names(prefix):
    return sorted(name for name in os.listdir(folder) if name.startswith(prefix))


if library == "paramiko":
    import paramiko

    for name in names("private_"):
        key = paramiko.PKey.from_path(os.path.join(folder, name), passphrase.encode() if "locked" in name else None)
        told(name, f"{key.get_name()} {key.get_base64()}")
else:
    import asyncssh

    for name in names("private_"):
        path = os.path.join(folder, name)
        key = asyncssh.read_private_key(path, passphrase if "locked" in name else None)
        told(name, " ".join(key.export_public_key("openssh").decode().split()[:2]))
        if "openssh_clear" not in name:
            continue
        number = name.split("_")[1]
        for kind, options in [
            ("pkcs8-pem", {}),
            ("pkcs8-pem", {"passphrase": passphrase, "cipher_name": "aes256-cbc", "hash_name": "sha256"}),
            ("pkcs8-pem", {"passphrase": passphrase, "cipher_name": "aes128-cbc", "hash_name": "sha512"}),
            ("pkcs8-der", {}),
            ("openssh", {"passphrase": passphrase, "cipher_name": "aes256-gcm@openssh.com", "rounds": 2}),
        ]:
            written = os.path.join(folder, f"written_{number}_{len(names('written_'))}")
            with open(written, "wb") as file:
                file.write(key.export_private_key(kind, **options))
        for kind in ("openssh", "rfc4716", "pkcs8-pem"):
            with open(os.path.join(folder, f"writtenpublic_{number}_{kind}"), "wb") as file:
                file.write(key.export_public_key(kind))
    for name in names("public_"):
        key = asyncssh.read_public_key(os.path.join(folder, name))
        told(name, " ".join(key.export_public_key("openssh").decode().split()[:2]))
