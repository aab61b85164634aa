"""Certificates of a test's own, made by openssl.

    authority = Authority(folder)
    certificate = authority.issue("localhost", "127.0.0.1")
    server.use(certificate.file, certificate.key)  # clients trust authority.file"""

import collections
import ipaddress
import pathlib
import subprocess

DAYS = 2
EXPIRED = -1  # days

Certificate = collections.namedtuple("Certificate", "file key")


def run_openssl(*arguments):
    done = subprocess.run(["/usr/bin/openssl", *map(str, arguments)], capture_output=True,
                          text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {arguments}: {done.stderr}")


def alternative_name(host):
    try:
        return f"IP:{ipaddress.ip_address(host)}"
    except ValueError:
        return f"DNS:{host}"


class Authority:
    """A certificate authority in a folder that must not exist yet; `file` is what its clients
    trust."""

    def __init__(self, folder, name="test authority"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        self.file, self.key = self.folder / "authority.pem", self.folder / "authority.key"
        self.count = 0
        run_openssl("req", "-x509", *self._new_key(self.key), "-out", self.file, "-days", DAYS,
                    "-subj", f"/CN={name}")

    @staticmethod
    def _new_key(path):
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path)

    def issue(self, *hosts, days=DAYS):
        """A server's certificate for these names and addresses."""
        self.count += 1
        base = self.folder / f"server{self.count}"
        request, extensions = base.with_suffix(".csr"), base.with_suffix(".ext")
        certificate = Certificate(base.with_suffix(".pem"), base.with_suffix(".key"))
        extensions.write_text("subjectAltName=" + ",".join(map(alternative_name, hosts)) + "\n")
        run_openssl("req", "-new", *self._new_key(certificate.key), "-out", request,
                    "-subj", f"/CN={hosts[0]}")
        run_openssl("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self.key,
                    "-CAcreateserial", "-days", days, "-extfile", extensions,
                    "-out", certificate.file)
        return certificate
