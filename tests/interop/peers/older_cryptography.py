"""Lets AsyncSSH load RSA keys on the cryptography package of Debian 12, which lacks one of the arguments that it gives."""

import inspect

from cryptography.hazmat.primitives.asymmetric import rsa

plain = rsa.RSAPrivateNumbers.private_key
if "unsafe_skip_rsa_key_validation" not in inspect.signature(plain).parameters:

    def private_key(self, backend=None, *, unsafe_skip_rsa_key_validation=False):
        return plain(self, backend)

    rsa.RSAPrivateNumbers.private_key = private_key
