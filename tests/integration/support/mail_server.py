"""A mail server, by aiosmtpd, that keeps what it takes and refuses whom the test names."""

import email
import email.policy
import ssl

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from ports import free_port


class MailServer:
    """STARTTLS unless `certificate` is None; `implicit`: TLS from the first byte. With a `login`
    (user, password) nobody sends without it."""

    def __init__(self, certificate=None, implicit=False, login=None, port=None):
        self.messages = []  # email.message.EmailMessage, with .recipients
        self.refused = {}  # address: answer
        self.login = login
        self.tries = 0
        context = None
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.file, certificate.key)
        options = {"auth_required": bool(login), "authenticator": self._authenticate}
        if context and not implicit:
            options |= {"tls_context": context, "require_starttls": True}
        else:
            options |= {"auth_require_tls": False}
        self.controller = Controller(self, hostname="127.0.0.1", port=port or free_port(),
                                     ssl_context=context if implicit else None, **options)
        self.url = f"{'smtps' if implicit else 'smtp'}://127.0.0.1:{self.controller.port}"

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self.controller.start()

    def stop(self):
        if self.controller.server is not None:
            self.controller.stop()

    def _authenticate(self, _server, _session, _envelope, _mechanism, data):
        given = (data.login.decode(), data.password.decode())
        return AuthResult(success=given == self.login)

    async def handle_RCPT(self, _server, _session, envelope, address, _options):
        self.tries += 1
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server, _session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        message.recipients = envelope.rcpt_tos
        message.raw = envelope.content
        self.messages.append(message)
        return "250 taken"
